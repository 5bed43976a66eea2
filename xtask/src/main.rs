//! `cargo xtask models | demo | result | test | arm | bindings | bench`.

mod arm;
mod bench;
mod bindings;
mod demo;
mod examples;
mod jobs;
mod models;
mod process;
mod result;
mod test;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch the real models into .cache/models and check their SHA-256
    Models,
    /// The main job on a real model: answer, critique, adapt, answer better; under ten minutes on two cores
    Demo,
    /// The result of the method: a critic and policies by every method, trained on some topics and measured on others
    Result(Box<result::Params>),
    /// Format, lints, licences, and every test on every device that there is
    Test,
    /// Tests of kernels and whole models for 64-bit ARM, on an emulated processor
    Arm,
    /// The library in C, Python and Kotlin: built, run and compared
    Bindings(bindings::Params),
    /// Side by side with the peers that the environment names; a table and a picture in benches/
    Bench(bench::Params),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Models => models::fetch(),
        Command::Demo => demo::run(),
        Command::Result(p) => result::run(&p),
        Command::Test => test::run(),
        Command::Arm => arm::run(),
        Command::Bindings(p) => bindings::run(&p),
        Command::Bench(p) => bench::run(&p),
    }
}
