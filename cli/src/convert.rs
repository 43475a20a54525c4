//! `sam3i convert`: any checkpoint to one .safetensors file under SAM3-I's names.

use crate::model;
use crate::output::{check_file, make_directory_of};
use crate::terminal::{grouped, line};
use crate::weight_type::ConvertedType;
use anyhow::Result;
use sam3i::Config;
use std::path::PathBuf;

/// Arguments of `sam3i convert`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint: a directory, a .pt or .safetensors file, or nano, the one that is built in
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// The element type to write
    #[arg(long, value_enum, default_value = "f32")]
    dtype: ConvertedType,
    /// The model's sizes, if a config.json elsewhere has them
    #[arg(long, value_name = "CONFIG.json")]
    config: Option<PathBuf>,
}

/// Runs `sam3i convert`.
pub fn run(args: &Args) -> Result<()> {
    check_file(&args.output)?;
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let checkpoint = model::open(&args.input, config)?;
    checkpoint.describe().iter().for_each(|text| line(text));
    make_directory_of(&args.output)?;
    checkpoint.convert(&args.output, args.dtype.into())?;
    let bytes = std::fs::metadata(&args.output)?.len();
    line(&format!("wrote {} ({} bytes)", args.output.display(), grouped(bytes)));
    Ok(())
}
