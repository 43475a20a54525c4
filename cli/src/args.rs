//! The command line: verbs, and the option types several of them share.

use crate::{convert, eval, inspect, merge, predict, synth};
use clap::{Parser, Subcommand, ValueEnum};
use sam3i::checkpoint::FileDType;

/// Segment what a sentence means.
#[derive(Debug, Parser)]
#[command(name = "sam3i", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs, one file each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Convert a checkpoint to one self-describing .safetensors file
    Convert(convert::Args),
    /// Say what a weight file is and what it has and lacks
    Inspect(inspect::Args),
    /// Make a model of any size with synthetic weights
    Synth(synth::Args),
    /// Answer a data set's instructions and write a prediction file
    Predict(Box<predict::Args>),
    /// Join prediction files, of shards for instance
    Merge(merge::Args),
    /// Measure a prediction file: gIoU, cIoU, P@0.5, AP
    Eval(eval::Args),
}

/// The element types weights are written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WeightType {
    /// Single precision
    F32,
    /// Half precision
    F16,
    /// The upper half of single precision
    Bf16,
}

impl From<WeightType> for FileDType {
    fn from(dtype: WeightType) -> Self {
        match dtype {
            WeightType::F32 => Self::F32,
            WeightType::F16 => Self::F16,
            WeightType::Bf16 => Self::Bf16,
        }
    }
}
