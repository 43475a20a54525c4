//! `sam3i segment`: pictures and sentences in, masks out.
//!
//! Everything that can be checked is checked before time is spent: the command line, then the checkpoint's list of tensors,
//! then each picture; the weights are read when the first picture is found good.

use crate::ask::TileArgs;
use crate::batch::{self, Opened, Step, Tally, Writer};
use crate::device::{Chosen, DeviceArgs};
use crate::files::{Files, OutputArgs};
use crate::inputs::{InputArgs, Listed};
use crate::model::{ModelArgs, missing_adapters};
use crate::outcome::Outcome;
use crate::output::prepare_directory;
use crate::profile::{Profile, tables};
use crate::progress::Progress;
use crate::prompts::{PromptArgs, check_points};
use crate::questions::Questions;
use crate::stop;
use crate::terminal::{self, Messages};
use crate::workers::{self, Work};
use anyhow::{Result, ensure};
use sam3i::{Checkpoint, Level, SegmentOptions};
use std::sync::Arc;

/// What `sam3i segment --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i segment photo.jpg -p \"the mug left of the laptop\" --model sam3i.safetensors
  sam3i segment *.jpg -p mug --level complex -p \"what would keep you dry?\" --out-dir out
      # the mug at the level simple, the question at the level complex
  sam3i segment photo.jpg --box 100,150,500,450 --neg-box 40,183,318,204
  sam3i segment photo.jpg -p chair --level concept --json | jq '.prompts[].instances[].score'
  sam3i segment photos -p dog -p cat --format json,coco,yolo --skip-existing
      # photos and all below; what an earlier run finished is passed over
  sam3i segment 'scans/**/*.png' --prompts prompts.jsonl --tile 1008 --overlap 128 --format geojson
  ffmpeg -i film.mp4 -f image2pipe -c:v png - | sam3i segment - -p dog --out-dir frames

Boxes are left,top,right,bottom in pixels of the picture as it is shown.
Exit codes: 0 done, 1 nothing found (only with --fail-empty), 2 an error; one bad picture does not
stop the others.";

/// Arguments of `sam3i segment`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    tile: TileArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Tell on stderr where the time went, by stage and by op
    #[arg(long, help_heading = "Output")]
    profile: bool,
}

/// What counts as found.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "What counts as found")]
struct KeepArgs {
    /// Least score, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = fraction, default_value = "0.5")]
    threshold: f32,
    /// Least probability of a mask's pixel, 0 to 1
    #[arg(long, value_name = "P", value_parser = fraction, default_value = "0.5")]
    mask_threshold: f32,
    /// Only the N best of each prompt
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Only masks of at least this many pixels
    #[arg(long, value_name = "PIXELS", default_value = "0")]
    min_area: usize,
    /// Keep only the best of masks whose IoU is above this, over all prompts of a picture [default: keep all]
    #[arg(long, value_name = "IOU", value_parser = fraction)]
    nms: Option<f32>,
}

fn fraction(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "it must be a number from 0 to 1, such as 0.5".to_owned())
}

impl KeepArgs {
    fn options(&self) -> SegmentOptions {
        let options = SegmentOptions::default()
            .threshold(self.threshold)
            .mask_threshold(self.mask_threshold)
            .min_area(self.min_area);
        match self.top_k {
            Some(most) => options.top_k(most as usize),
            None => options,
        }
    }
}

/// What is wrong with `segment - --prompts -`.
const STDIN_TWICE: &str = "--prompts -: standard input holds the pictures or their list; give the prompts in a file, or the pictures by name";

/// Runs `sam3i segment`.
pub fn run(args: &Args) -> Result<Outcome> {
    terminal::start_logging(args.output.verbose);
    let verbose = args.output.verbose > 0;
    let messages = Messages::new(args.output.quiet, verbose);
    let prompts_from_stdin = args.prompts.reads_stdin()?;
    ensure!(!(prompts_from_stdin && args.inputs.reads_stdin()), STDIN_TWICE);
    let questions = args.prompts.questions()?;
    args.tile.check(&questions)?;
    let listed = args.inputs.list(args.output.dir().as_deref())?;
    ensure!(!(prompts_from_stdin && listed.has_stream()), STDIN_TWICE);
    tell_unknown(&questions, &listed, messages);
    let files = args.output.files(&listed.inputs, &questions)?;
    if let Some(files) = &files {
        files.tell_numbered(messages);
    }
    args.tile.check_formats(files.as_ref(), args.output.dump_tensors.is_some())?;
    let checkpoint = open(args, &questions, messages)?;
    let chosen = args.device.start(Some(&checkpoint), messages)?;
    let levels: Vec<Level> = questions.all().map(|query| query.level).collect();
    let all = (!listed.has_stream()).then_some(listed.inputs.len());
    let copies = workers::count(&checkpoint, &chosen.device, all);
    args.device.check_memory(&chosen, &checkpoint, &levels, copies, messages)?;
    stop::watch()?;
    let questions = Arc::new(questions);
    Batch { args, messages, questions, chosen, profile: Arc::default() }.run(listed, files, checkpoint)
}

/// Warns of questions about pictures that are not there.
fn tell_unknown(questions: &Questions, listed: &Listed, messages: Messages) {
    if listed.has_stream() {
        return; // what its pictures are called shows as they come
    }
    let unknown = questions.unknown(listed.inputs.iter().map(|input| input.path.as_path()));
    if let Some(first) = unknown.first() {
        let count = unknown.len();
        messages
            .warn(&format!("prompts name {count} pictures that are not among the inputs, such as {first}"));
    }
}

/// Opens the checkpoint, and says what is odd about asking it this.
fn open(args: &Args, questions: &Questions, messages: Messages) -> Result<Checkpoint> {
    let checkpoint = args.model.open(messages)?;
    args.prompts.check_lengths(questions.all(), checkpoint.config(), messages)?;
    check_points(questions, &checkpoint, messages)?;
    for line in checkpoint.describe() {
        messages.detail(&line);
    }
    let levels: Vec<Level> = questions.all().map(|query| query.level).collect();
    if let Some(warning) = missing_adapters(&checkpoint, &levels) {
        messages.warn(&warning);
    }
    Ok(checkpoint)
}

/// A run over pictures.
struct Batch<'a> {
    args: &'a Args,
    messages: Messages,
    questions: Arc<Questions>,
    chosen: Chosen,
    profile: Arc<Profile>,
}

impl Batch<'_> {
    fn run(&self, listed: Listed, mut files: Option<Files>, checkpoint: Checkpoint) -> Result<Outcome> {
        let output = &self.args.output;
        let mut tally = Tally { failed: !listed.problems.is_empty(), ..Tally::default() };
        listed.problems.iter().for_each(|problem| terminal::error(problem));
        let all = (!listed.has_stream()).then_some(listed.inputs.len());
        let layout = files.as_ref().map(|files| files.layout().clone());
        let logits = files.as_ref().is_some_and(Files::want_logits);
        let pictures =
            batch::read(listed.inputs, &self.args.inputs.decode_options(), layout, &self.questions);

        // What fails before the first good picture is told at once: nothing is loaded or written for it.
        let mut pictures = pictures.peekable();
        while let Some(Opened { input, step: Step::Failed(error) }) =
            pictures.next_if(|opened| matches!(opened.step, Step::Failed(_)))
        {
            tally.tell(&input, &error);
        }
        if pictures.peek().is_some() {
            files.as_mut().map(Files::prepare).transpose()?;
            if let Some(dir) = &output.dump_tensors {
                prepare_directory(dir, "--dump-tensors")?;
            }
            let progress = Progress::start(all, output.quiet);
            let workers = workers::count(&checkpoint, &self.chosen.device, all);
            let work = self.work(checkpoint, logits, progress.clone())?;
            let mut writer =
                Writer { files: files.as_mut(), json: output.json, messages: self.messages, progress, tally };
            writer.run(workers, |done, permits| work.run(workers, pictures, done, permits))?;
            tally = writer.tally;
        }
        if let Some(files) = &mut files {
            files.finish(self.messages)?;
        }
        if tally.finished > 0 {
            let count = tally.finished;
            self.messages
                .say(&format!("--skip-existing: {count} pictures passed over, their files are there"));
        }
        if self.args.profile || output.verbose > 0 {
            terminal::line(tables(&self.profile.lines(1)).trim_end());
        }
        Ok(tally.outcome(output.fail_empty))
    }

    fn work(&self, checkpoint: Checkpoint, logits: bool, progress: Progress) -> Result<Work<'_>> {
        let logged = tracing::enabled!(target: "sam3i::op", tracing::Level::TRACE);
        let watched = self.args.profile || self.args.output.verbose > 0 || logged;
        Ok(Work {
            questions: &self.questions,
            checkpoint: Arc::new(checkpoint),
            device: &self.chosen.device,
            dtype: self.chosen.dtype,
            resize: self.args.inputs.resize_mode(),
            options: self.args.keep.options().keep_logits(logits),
            tiling: self.args.tile.tiling()?,
            nms: self.args.keep.nms.map(f64::from),
            messages: self.messages,
            profile: watched.then(|| self.profile.clone()),
            dump: self.args.output.dump_tensors.clone(),
            progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_fractions() {
        for (text, expected) in [("0", Some(0.0)), ("1", Some(1.0)), ("0.25", Some(0.25))] {
            assert_eq!(fraction(text).ok(), expected);
        }
        for text in ["-0.1", "1.1", "nan", "inf", "half", ""] {
            assert!(fraction(text).is_err(), "{text}");
        }
    }
}
