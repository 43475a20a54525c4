//! `sam3i synth`: a model of any size with weights made from names.

use crate::output::prepare_directory;
use crate::terminal::line;
use crate::weight_type::WeightType;
use anyhow::Result;
use sam3i::Config;
use std::path::PathBuf;

/// Arguments of `sam3i synth`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model's sizes
    #[arg(long, value_name = "CONFIG.json")]
    config: PathBuf,
    /// The directory to write config.json and model.safetensors to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The element type to write
    #[arg(long, value_enum, default_value = "f32")]
    dtype: WeightType,
}

/// Runs `sam3i synth`.
pub fn run(args: &Args) -> Result<()> {
    let config = Config::read(&args.config)?;
    prepare_directory(&args.output, "-o")?;
    sam3i::synth::write_model(&config, &args.output, args.dtype.into())?;
    line(&format!("wrote {}", args.output.display()));
    Ok(())
}
