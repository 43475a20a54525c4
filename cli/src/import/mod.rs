//! `sam3i import`: benchmarks in the layouts they are published in, as annotation files for `predict` and `eval`.

mod coco;
mod instructpart;
mod reasonseg;
mod refcoco;
mod samples;

use crate::output::check_file;
use crate::terminal::Messages;
use anyhow::{Result, ensure};
use samples::Samples;
use std::path::PathBuf;

/// What `sam3i import --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i import refcoco --refs refs.json --instances instances.json --split val -o sam3i_val.json
  sam3i import reasonseg ReasonSeg/val -o sam3i_val.json
  sam3i import instructpart InstructPart/test -o sam3i_val.json
  sam3i import coco paco_lvis_v1_test.json -o sam3i_val.json

docs/data-sets.md says what becomes of what. No converter was tried on the real files yet.";

/// Arguments of `sam3i import`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    layout: Layout,
}

/// The layouts.
#[derive(Debug, clap::Subcommand)]
enum Layout {
    /// RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: a list of references and instances.json
    Refcoco(refcoco::Args),
    /// ReasonSeg: a folder of pictures, each with a JSON file of polygons and instructions
    Reasonseg(reasonseg::Args),
    /// InstructPart: a folder with images, masks and data_*.json
    Instructpart(instructpart::Args),
    /// COCO and its kin, PACO-LVIS among them: a sample for each category in each picture
    Coco(coco::Args),
}

/// Where the annotation file goes.
#[derive(Debug, clap::Args)]
struct Output {
    /// The annotation file to write
    #[arg(short, long, value_name = "ANN.json")]
    output: PathBuf,
}

/// Runs `sam3i import`.
pub fn run(args: &Args) -> Result<()> {
    let messages = Messages::new(false, false);
    let Output { output } = match &args.layout {
        Layout::Refcoco(args) => &args.output,
        Layout::Reasonseg(args) => &args.output,
        Layout::Instructpart(args) => &args.output,
        Layout::Coco(args) => &args.output,
    };
    check_file(output)?;
    let samples: Samples = match &args.layout {
        Layout::Refcoco(args) => refcoco::read(args)?,
        Layout::Reasonseg(args) => reasonseg::read(args, messages)?,
        Layout::Instructpart(args) => instructpart::read(args)?,
        Layout::Coco(args) => coco::read(args)?,
    };
    ensure!(
        samples.len() > 0,
        "nothing in these files becomes a sample; is this the right split and layout?"
    );
    samples.write(output, messages)
}
