//! The sam3i command: `sam3i VERB ...`.
//!
//! Exit codes are decided here: 0 done; 1 nothing found, with `--fail-empty` only; 2 any error, with the reason on
//! stderr; 130 ended by Ctrl-C, in good order where the verb watches for it.

// The types behind a GPU are nested deeper than the usual limit of 128 when threads share a model.
#![recursion_limit = "256"]
#![deny(clippy::print_stderr, clippy::print_stdout)] // terminal.rs writes: print! and eprint! panic where nobody reads

mod ahead;
mod answers;
mod args;
mod ask;
mod batch;
mod bench;
mod completions;
mod convert;
mod device;
mod devices;
mod dump;
mod eval;
mod examples;
mod export;
mod files;
mod hub;
mod import;
mod inputs;
mod inspect;
mod journal;
mod kernels;
mod man;
mod memory;
mod merge;
mod model;
mod outcome;
mod output;
mod predict;
mod profile;
mod progress;
mod prompt_file;
mod prompts;
mod query;
mod questions;
mod report;
mod segment;
mod stop;
mod synth;
mod terminal;
#[cfg(feature = "gpu")]
mod tune;
mod verify;
mod weight_type;
mod workers;

use args::{Cli, Command};
use clap::Parser;
use clap::error::{ContextKind, ErrorKind};
use outcome::Outcome;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_vulkan();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(error),
    };
    match run(&cli.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NothingFound) => ExitCode::from(1),
        Ok(Outcome::SomeFailed) => ExitCode::from(2),
        Ok(Outcome::Interrupted) => ExitCode::from(stop::INTERRUPTED),
        Err(error) if error.is::<terminal::ReaderLeft>() => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&terminal::describe(&error));
            ExitCode::from(2)
        }
    }
}

/// Has Mesa's Vulkan layer that asks the desktop for its favourite GPU stay out: it complains on stderr where there is no desktop,
/// and we choose the GPU ourselves.
fn quiet_vulkan() {
    const SWITCH: &str = "NODEVICE_SELECT";
    if std::env::var_os(SWITCH).is_none() {
        // SAFETY: this is the first thing the process does, so no other thread reads the environment.
        unsafe { std::env::set_var(SWITCH, "1") };
    }
}

fn run(command: &Command) -> anyhow::Result<Outcome> {
    let done = match command {
        Command::Segment(args) => return segment::run(args),
        Command::Predict(args) => return predict::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Import(args) => import::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Synth(args) => synth::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Verify(args) => return verify::run(args),
        Command::Kernels(args) => return kernels::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    done.map(|()| Outcome::Done)
}

/// Help and version go to stdout and are no error; wrong usage is told like any other error.
fn usage(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody is left to tell when stdout is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let dashed = dashed_prompt(std::env::args_os()).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    if dashed.is_some() {
        error.remove(ContextKind::Suggested); // it would make a picture of the prompt
    }
    let mut text = error.render().to_string();
    if let Some(prompt) = dashed {
        let tip = "tip: no prompt is behind -p; one that begins with a dash is given as";
        text = text.replacen("\n\nUsage", &format!("\n\n  {tip} --prompt='{prompt}'\n\nUsage"), 1);
    }
    match text.strip_prefix("error: ") {
        Some(message) => terminal::error(message.trim_end()),
        None => terminal::line(text.trim_end()), // the help, for want of arguments
    }
    ExitCode::from(2)
}

/// What stands where a prompt should, if it begins with a dash and so is taken for an option.
fn dashed_prompt(args: impl Iterator<Item = OsString>) -> Option<String> {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let dashed =
        |pair: &&[String]| ["-p", "--prompt"].contains(&pair[0].as_str()) && pair[1].starts_with('-');
    args.windows(2).find(dashed).map(|pair| pair[1].clone())
}
