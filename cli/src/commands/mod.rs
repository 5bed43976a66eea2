//! One file a command.

mod adapt;
mod adapt_report;
mod bench;
mod council;
mod critique;
mod devices;
mod eval;
mod generate;
mod profile;
mod score;
mod tokenize;
mod train_critic;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use unspoken::device::{Device, DeviceChoice};

use crate::args::{self, Args, Command};

/// Runs what was asked.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Devices => devices::run(args),
        Command::Tokenize(a) => tokenize::run(args, a),
        Command::Generate(a) => generate::run(args, a),
        Command::Score(a) => score::run(args, a),
        Command::Critique(a) => critique::run(args, a),
        Command::TrainCritic(a) => train_critic::run(args, a),
        Command::Adapt(a) => adapt::run(args, a),
        Command::Profile(a) => profile::run(args, a),
        Command::Council(a) => council::run(args, a),
        Command::Eval(a) => eval::run(args, a),
        Command::Bench(a) => bench::run(args, a),
    }
}

/// Opens the device that was asked for, and says on stderr which one it is.
fn device(args: &Args) -> Result<Device> {
    let choice = match args.device {
        args::Device::Auto => DeviceChoice::Auto,
        args::Device::Cpu => DeviceChoice::Cpu,
        args::Device::Gpu => DeviceChoice::Gpu,
    };
    let device = Device::open_cached(choice, args.threads, args.gpu_cache.as_deref())?;
    eprintln!("device: {}", device.name());
    Ok(device)
}

/// The file, or the `.jsonl` files of the folder in order.
pub fn jsonl_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    Ok(files)
}
