//! The sam3i command: `sam3i VERB ...`.
//!
//! Exit codes are decided here: 0 done, 2 any error, with the reason on stderr.

mod args;
mod convert;
mod eval;
mod inspect;
mod journal;
mod merge;
mod output;
mod overlay;
mod palette;
mod predict;
mod synth;
mod tags;
mod terminal;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // clap itself prints help (exit 0) and wrong usage (exit 2).
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Convert(args) => convert::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Synth(args) => synth::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Eval(args) => eval::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sam3i: {}", terminal::describe(&error));
            ExitCode::from(2)
        }
    }
}
