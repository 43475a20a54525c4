//! `sam3i eval`: a prediction file against annotations, in the reference's numbers.

use crate::terminal::{line, print};
use anyhow::Result;
use sam3i::metrics::{Annotations, Evaluation, Mode, NoTarget, evaluate, predictions};
use serde::Serialize;
use std::path::PathBuf;

/// Version of the JSON's form.
const SCHEMA: u32 = 1;

/// Arguments of `sam3i eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The annotation file
    #[arg(long, value_name = "ANN.json")]
    gt: PathBuf,
    /// The prediction file
    #[arg(long, value_name = "PRED.json")]
    pred: PathBuf,
    /// What is held against what: 1to1 (each record against its annotation) or multi-inst (each record of a sample
    /// against all of the sample's annotations)
    #[arg(long, value_name = "MODE")]
    mode: Mode,
    /// What a sample without target is worth: zero (always 0, as the reference has it) or abstain (1 when nothing is
    /// predicted)
    #[arg(long, value_name = "RULE", default_value = "zero")]
    no_target: NoTarget,
    /// Print one JSON object with full precision, parts by level and number of targets, and every sample
    #[arg(long)]
    json: bool,
}

/// An evaluation as `--json` prints it.
#[derive(Serialize)]
struct Output {
    schema: u32,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Runs `sam3i eval`.
pub fn run(args: &Args) -> Result<()> {
    let truth = Annotations::read(&args.gt)?;
    let records = predictions::read(&args.pred)?;
    let evaluation = evaluate(&truth, &records, args.mode, args.no_target)?;
    notes(&evaluation).iter().for_each(|note| line(&format!("note: {note}")));
    if args.json {
        let output = Output { schema: SCHEMA, evaluation };
        return print(&(serde_json::to_string(&output)? + "\n"));
    }
    print(&evaluation.report())
}

/// What the numbers do not say by themselves.
fn notes(evaluation: &Evaluation) -> Vec<String> {
    let Evaluation { mode, skipped, unanswered, .. } = evaluation;
    let mut notes = Vec::new();
    if *skipped > 0 {
        let of = if *mode == Mode::OneToOne { "annotations" } else { "images" };
        notes.push(format!("{skipped} records were left out: the annotation file does not have their {of}"));
    }
    if *unanswered > 0 {
        notes.push(format!("{unanswered} images have no record and score 0"));
    }
    if *mode == Mode::OneToOne {
        let name = "the row mIoU, named so by the reference, is the cumulative IoU (cIoU) of the literature";
        notes.push(name.to_owned());
    }
    notes
}
