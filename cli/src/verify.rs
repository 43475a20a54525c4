//! `sam3i verify`: one real pass, every op run again on the reference with the same operands.

use crate::device::DeviceArgs;
use crate::model::ModelArgs;
use crate::outcome::Outcome;
use crate::prompts::level_parser;
use crate::terminal::{self, Messages, ReaderLeft, print};
use anyhow::Result;
use clap::ValueEnum;
use sam3i::engine::trace::{self, Observer};
use sam3i::engine::{Compared, CpuOptions, Device};
use sam3i::picture::DecodeOptions;
use sam3i::{Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};
use sam3i_cases::pass::{Judged, judge};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Masks that are made, whatever their scores, so that their ops run.
const MASKS: usize = 3;

/// What `sam3i verify --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i verify picture.png -p \"red apple\" --level concept
  sam3i verify photo.jpg -p mug --model sam3i.safetensors --device cpu --dtype bf16 --against cpu

Each op gets the operands the device computed, so a difference is the op's own. The reference is a thousand times slower
than the cpu device: minutes for nano's size are hours for the published one; --against cpu holds a device against the
cpu device in f32 instead.
Exit codes: 0 every op keeps its tolerance, 2 one does not, or an error.";

/// Arguments of `sam3i verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The picture
    image: PathBuf,
    /// What to look for
    #[arg(short, long, value_name = "TEXT")]
    prompt: String,
    /// The level: concept, simple or complex
    #[arg(long, value_name = "LEVEL", value_parser = level_parser(), default_value = "simple")]
    level: Level,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// The device to hold it against
    #[arg(long, value_enum, default_value = "reference", help_heading = "Model and device")]
    against: Against,
    /// A line for every call, not one for each op and shape
    #[arg(long)]
    all: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What a device is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The plain loops
    Reference,
    /// The fast CPU kernels in f32
    Cpu,
}

/// A call of an op, or several with the same shapes.
#[derive(Clone, Debug, Serialize)]
struct Line {
    op: &'static str,
    shapes: String,
    calls: usize,
    /// Where the worst of them ran.
    stage: String,
    largest_error: f32,
    /// Largest error as a part of the size of the values.
    relative_error: f32,
    /// That may be so large.
    tolerance: f32,
    share_of_tolerance: f32,
    /// Number of the first of them that leaves its tolerance, counted over all ops.
    left_at_call: Option<usize>,
}

/// Holds every op against the second device.
struct Verifier {
    second: Device,
    lines: Mutex<Result<Vec<Line>, sam3i::engine::Error>>,
}

impl Observer for Verifier {
    fn second_device(&self) -> Option<Device> {
        Some(self.second.clone())
    }

    fn compared(&self, compared: &Compared) {
        let mut lines = self.lines();
        let Ok(list) = lines.as_mut() else { return };
        match judge(compared) {
            Ok(judged) => {
                let call = list.len();
                list.push(Line::of(compared, judged, call));
            }
            Err(error) => *lines = Err(error),
        }
    }
}

impl Verifier {
    fn lines(&self) -> MutexGuard<'_, Result<Vec<Line>, sam3i::engine::Error>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn of(compared: &Compared, judged: Judged, call: usize) -> Self {
        let Judged { difference, size, tolerance } = judged;
        let relative = if difference.largest == 0.0 { 0.0 } else { difference.largest / size };
        Self {
            op: compared.op,
            shapes: compared.shapes.to_owned(),
            calls: 1,
            stage: compared.scope.to_owned(),
            largest_error: difference.largest,
            relative_error: relative,
            tolerance,
            share_of_tolerance: difference.share,
            left_at_call: difference.first.map(|_| call),
        }
    }

    /// Takes a later call with the same shapes in.
    fn join(&mut self, other: &Self) {
        let (calls, left) = (self.calls + other.calls, self.left_at_call.or(other.left_at_call));
        if other.share_of_tolerance > self.share_of_tolerance {
            *self = other.clone();
        }
        (self.calls, self.left_at_call) = (calls, left);
    }
}

/// One line for each op and shape, in the order of their first calls.
fn joined(lines: &[Line]) -> Vec<Line> {
    let mut places = HashMap::new();
    let mut joined: Vec<Line> = Vec::new();
    for line in lines {
        let place = *places.entry((line.op, &line.shapes)).or_insert(joined.len());
        match joined.get_mut(place) {
            Some(first) => first.join(line),
            None => joined.push(line.clone()),
        }
    }
    joined
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    device: String,
    against: String,
    dtype: &'static str,
    calls: usize,
    ok: bool,
    ops: Vec<Line>,
}

/// Runs `sam3i verify`.
pub fn run(args: &Args) -> Result<Outcome> {
    terminal::start_logging(0);
    let messages = Messages::new(args.json, false);
    let picture = Picture::open(&args.image, &DecodeOptions::default())?;
    let prompt = Prompt::text(&args.prompt).level(args.level);
    prompt.check(picture.width, picture.height)?;
    let checkpoint = args.model.open(messages)?;
    let chosen = args.device.start(Some(&checkpoint), messages)?;
    args.device.check_memory(&chosen, &checkpoint, &[args.level], 1, messages)?;
    let second = match args.against {
        Against::Reference => Device::reference(),
        Against::Cpu => Device::cpu(&CpuOptions::default())?,
    };
    let verifier = Arc::new(Verifier { second: second.clone(), lines: Mutex::new(Ok(Vec::new())) });
    chosen.device.run(|| {
        trace::observe(verifier.clone(), || {
            let model = Model::from_checkpoint(checkpoint, &chosen.device)?;
            pass(&model, &picture, &prompt)
        })
    })?;
    let lines = std::mem::replace(&mut *verifier.lines(), Ok(Vec::new()))?;
    let report = Report {
        schema: 1,
        device: chosen.device.to_string(),
        against: second.to_string(),
        dtype: chosen.dtype,
        calls: lines.len(),
        ok: lines.iter().all(|line| line.left_at_call.is_none()),
        ops: if args.all { lines } else { joined(&lines) },
    };
    let told =
        if args.json { print(&(serde_json::to_string(&report)? + "\n")) } else { print(&report.text()?) };
    match told {
        // The exit code still counts when nobody reads.
        Err(gone) if gone.is::<ReaderLeft>() && !report.ok => Ok(Outcome::SomeFailed),
        told => told.map(|()| if report.ok { Outcome::Done } else { Outcome::SomeFailed }),
    }
}

fn pass(model: &Model, picture: &Picture, prompt: &Prompt) -> Result<()> {
    let embedding = model.encode_image(&picture.view(), ResizeMode::Exact8)?;
    model.segment(&embedding, prompt, &SegmentOptions::default().threshold(0.0).top_k(MASKS))?;
    Ok(())
}

impl Report {
    fn text(&self) -> Result<String> {
        let mut text = format!("{}, {}, against {}\n", self.device, self.dtype, self.against);
        writeln!(
            text,
            "\n{:<18} {:<36} {:>5} {:>11} {:>9} {:>10}  worst in",
            "op", "shapes", "calls", "worst error", "relative", "tolerance"
        )?;
        let first = self.ops.iter().filter_map(|line| line.left_at_call).min();
        for line in &self.ops {
            let tolerance = match line.tolerance {
                0.0 => "exact".to_owned(),
                tolerance => format!("{tolerance:.0e}"),
            };
            let mark = match line.left_at_call {
                None => "",
                left if left == first => "  <-- THE FIRST TO LEAVE ITS TOLERANCE",
                Some(_) => "  <-- leaves its tolerance",
            };
            let Line { op, shapes, calls, stage, largest_error, relative_error, .. } = line;
            writeln!(
                text,
                "{op:<18} {shapes:<36} {calls:>5} {largest_error:>11.1e} {relative_error:>9.1e} {tolerance:>10}  \
                 {stage}{mark}"
            )?;
        }
        let verdict = if self.ok { "all keep their tolerance" } else { "NOT ALL KEEP THEIR TOLERANCE" };
        writeln!(text, "\n{} calls of ops: {verdict}", self.calls)?;
        Ok(text)
    }
}
