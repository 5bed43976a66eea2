//! The `unspoken` program. One JSON object on stdout with `--json`; logs, progress and errors on stderr.

mod args;
mod commands;
mod council;
mod kernel_times;
mod output;
mod plot;
mod records;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match commands::run(&args) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            // One line: the chain of causes without repetition.
            eprintln!("unspoken: {}", output::one_line(&e));
            std::process::ExitCode::FAILURE
        }
    }
}
