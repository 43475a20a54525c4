//! The command line: its verbs.

use crate::{
    bench, completions, convert, devices, eval, import, inspect, kernels, man, merge, predict, segment,
    synth, verify,
};
use clap::{Parser, Subcommand};

/// What `sam3i --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i segment photo.jpg -p \"the mug left of the laptop\" --model sam3i.safetensors
  sam3i segment photos -p \"every empty chair\" --json > found.jsonl
  sam3i convert checkpoint.pt -o sam3i.safetensors --dtype bf16
  sam3i synth --config CONFIG.json -o dry-run

`sam3i VERB --help` says more about each verb.
Exit codes: 0 done, 1 nothing found (only with --fail-empty), 2 an error, 130 interrupted.";

/// Segment what a sentence means
#[derive(Debug, Parser)]
#[command(name = "sam3i", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs, one file each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find what a sentence means in pictures: masks, boxes and scores
    Segment(Box<segment::Args>),
    /// Answer a data set's instructions and write a prediction file
    Predict(Box<predict::Args>),
    /// Join prediction files, of shards for instance
    Merge(merge::Args),
    /// Measure a prediction file: gIoU, cIoU, P@0.5, AP
    Eval(eval::Args),
    /// Turn a benchmark's files into an annotation file for predict and eval
    Import(import::Args),
    /// Convert a checkpoint to one self-describing .safetensors file
    Convert(convert::Args),
    /// Say what a weight file is and what it has and lacks
    Inspect(inspect::Args),
    /// Make a model of any size with synthetic weights
    Synth(synth::Args),
    /// Time the stages of a model
    Bench(bench::Args),
    /// Hold every op of one real pass against the reference
    Verify(verify::Args),
    /// List, check and time the kernels
    Kernels(kernels::Args),
    /// List what can compute on this machine
    Devices(devices::Args),
    /// Print a script that completes commands in a shell
    Completions(completions::Args),
    /// Print the manual, or write a page for each verb
    Man(man::Args),
}
