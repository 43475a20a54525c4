//! `sam3i segment`: pictures and sentences in, masks out.
//!
//! Everything that can be checked is checked before time is spent: the command line, then the checkpoint's list of tensors,
//! then each picture; the weights are read when the first picture is found good.

use crate::device::{Chosen, DeviceArgs};
use crate::files::{Files, OutputArgs};
use crate::inputs::{Input, InputArgs, is_everyday};
use crate::model::{ModelArgs, missing_adapters};
use crate::outcome::Outcome;
use crate::output::{
    ImageReport, InstanceReport, ModelReport, PromptReport, Report, SCHEMA, Timings as TimingsReport,
};
use crate::profile::{Profile, milliseconds, table};
use crate::prompts::{PromptArgs, Query};
use crate::terminal::{self, Messages};
use anyhow::{Result, ensure};
use sam3i::engine::trace;
use sam3i::{Checkpoint, ImageEmbedding, Level, Model, Picture, SegmentOptions, Segmentation};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What `sam3i segment --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i segment photo.jpg -p \"the mug left of the laptop\" --model sam3i.safetensors
  sam3i segment *.jpg -p mug --level complex -p \"what would keep you dry?\" --out-dir out
      (the mug at the level simple, the question at the level complex)
  sam3i segment photo.jpg --box 100,150,500,450 --neg-box 40,183,318,204
  sam3i segment photo.jpg -p chair --level concept --json | jq '.prompts[].instances[].score'

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
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
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

/// Runs `sam3i segment`.
pub fn run(args: &Args) -> Result<Outcome> {
    terminal::start_logging(args.output.verbose);
    let verbose = args.output.verbose > 0;
    let messages = Messages::new(args.output.quiet, verbose);
    let queries = args.prompts.queries()?;
    let files = args.output.files(args.inputs.inputs())?;
    let chosen = args.device.start(messages)?;
    let checkpoint = open(args, &queries, messages)?;
    let device = chosen.device.clone();
    let batch = Batch { args, messages, queries, files, chosen, profile: Arc::default() };
    // On the device's own threads, so that --threads bounds everything.
    device.run(|| batch.run(checkpoint))
}

/// Opens the checkpoint, and says what is odd about asking it this.
fn open(args: &Args, queries: &[Query], messages: Messages) -> Result<Checkpoint> {
    let checkpoint = args.model.open(messages)?;
    args.prompts.check_lengths(queries, checkpoint.config(), messages)?;
    for line in checkpoint.describe() {
        messages.detail(&line);
    }
    let levels: Vec<Level> = queries.iter().map(|query| query.level).collect();
    if let Some(warning) = missing_adapters(&checkpoint, &levels) {
        messages.warn(&warning);
    }
    Ok(checkpoint)
}

/// A run over pictures.
struct Batch<'a> {
    args: &'a Args,
    messages: Messages,
    queries: Vec<Query>,
    files: Option<Files>,
    chosen: Chosen,
    profile: Arc<Profile>,
}

/// A picture in memory.
struct Opened {
    picture: Picture,
    time: Duration,
}

/// How a batch went so far.
#[derive(Default)]
struct Tally {
    found: usize,
    failed: bool,
}

impl Tally {
    /// The value, or nothing after telling the error.
    fn note<T>(&mut self, input: Input, result: Result<T>) -> Option<T> {
        let told = |error| {
            self.failed = true;
            terminal::error(&about(&input.name(), &terminal::describe(&error)));
        };
        result.map_err(told).ok()
    }

    fn outcome(&self, fail_empty: bool) -> Outcome {
        match (self.failed, self.found) {
            (true, _) => Outcome::SomeFailed,
            (false, 0) if fail_empty => Outcome::NothingFound,
            _ => Outcome::Done,
        }
    }
}

/// The message with the file's name in front, once.
fn about(name: &str, message: &str) -> String {
    if message.starts_with(name) { message.to_owned() } else { format!("{name}: {message}") }
}

impl Batch<'_> {
    fn run(&self, checkpoint: Checkpoint) -> Result<Outcome> {
        let mut tally = Tally::default();
        let mut inputs = self.args.inputs.inputs();
        let good = inputs.find_map(|input| Some((input, tally.note(input, self.open(input))?)));
        if let Some((input, opened)) = good {
            let (model, load) = self.load(checkpoint)?;
            let found = self.answer(&model, input, &opened, load);
            tally.found += tally.note(input, found).unwrap_or(0);
            for input in inputs {
                let found =
                    self.open(input).and_then(|opened| self.answer(&model, input, &opened, Duration::ZERO));
                tally.found += tally.note(input, found).unwrap_or(0);
            }
        }
        if self.args.output.verbose > 0 {
            self.messages.detail(table(&self.profile.lines(1)).trim_end());
        }
        Ok(tally.outcome(self.args.output.fail_empty))
    }

    /// Reads a picture, and checks the prompts against its size.
    fn open(&self, input: Input) -> Result<Opened> {
        let start = Instant::now();
        let picture = input.read(&self.args.inputs.decode_options())?;
        let time = start.elapsed();
        for note in &picture.notes {
            let line = format!("{}: {note}", input.name());
            if is_everyday(note) { self.messages.detail(&line) } else { self.messages.say(&line) }
        }
        for query in &self.queries {
            query.prompt.check(picture.width, picture.height)?;
        }
        Ok(Opened { picture, time })
    }

    /// Loads the model, once it is certain that there is a picture and a place for its files.
    fn load(&self, checkpoint: Checkpoint) -> Result<(Model, Duration)> {
        if let Some(files) = &self.files {
            files.prepare()?;
        }
        let start = Instant::now();
        let model = Model::from_checkpoint(checkpoint, &self.chosen.device)?;
        let load = start.elapsed();
        self.messages.detail(&format!("model loaded in {:.1} s", load.as_secs_f64()));
        Ok((model, load))
    }

    /// Asks everything of a picture and gives the answers out; returns how much was found.
    fn answer(&self, model: &Model, input: Input, opened: &Opened, load: Duration) -> Result<usize> {
        let picture = &opened.picture;
        let (embedding, answers) = self.watched(|| self.ask(model, picture))?;
        let mut report = self.report(model, input, &embedding, &answers);
        report.timings_ms.load = milliseconds(load);
        report.timings_ms.preprocess = milliseconds(opened.time + embedding.preprocess_time());
        let write = |files: &Files| files.write(input, picture, &self.queries, &answers, &report);
        let file = self.files.as_ref().map(write).transpose()?.flatten();
        if self.args.output.json {
            terminal::print(&(serde_json::to_string(&report)? + "\n"))?;
        }
        for (query, answer) in self.queries.iter().zip(&answers) {
            self.messages.say(&summary(&input.name(), query, answer, file.as_deref()));
        }
        Ok(answers.iter().map(|answer| answer.instances.len()).sum())
    }

    /// Runs `f` with the profile watching if anybody will read it.
    fn watched<R>(&self, f: impl FnOnce() -> R) -> R {
        let logged = tracing::enabled!(target: "sam3i::op", tracing::Level::TRACE);
        if self.args.output.verbose > 0 || logged { trace::observe(self.profile.clone(), f) } else { f() }
    }

    fn ask(&self, model: &Model, picture: &Picture) -> Result<(ImageEmbedding, Vec<Segmentation>)> {
        let options = self.args.keep.options();
        let embedding = model.encode_image(&picture.view(), self.args.inputs.resize_mode())?;
        let mut answers = Vec::with_capacity(self.queries.len());
        for query in &self.queries {
            let answer = model.segment(&embedding, &query.prompt, &options)?;
            ensure!(
                answer.presence.is_finite(),
                "the model's answer to {} is not a number: its weights do not work on this picture; check them with \
                 `sam3i inspect`",
                query.title()
            );
            answers.push(answer);
        }
        Ok((embedding, answers))
    }

    fn report(
        &self,
        model: &Model,
        input: Input,
        embedding: &ImageEmbedding,
        answers: &[Segmentation],
    ) -> Report {
        let total = |stage: fn(&Segmentation) -> Duration| milliseconds(answers.iter().map(stage).sum());
        Report {
            schema: SCHEMA,
            image: ImageReport {
                file: input.0.display().to_string(),
                width: embedding.width(),
                height: embedding.height(),
            },
            model: ModelReport::new(model),
            device: self.chosen.device.name().to_owned(),
            dtype: self.chosen.dtype.to_owned(),
            timings_ms: TimingsReport {
                image: milliseconds(embedding.encode_time()),
                text: total(|answer| answer.timings.text),
                grounding: total(|answer| answer.timings.grounding),
                masks: total(|answer| answer.timings.masks),
                ..TimingsReport::default()
            },
            prompts: self.queries.iter().zip(answers).enumerate().map(prompt_report).collect(),
        }
    }
}

fn prompt_report((index, (query, answer)): (usize, (&Query, &Segmentation))) -> PromptReport {
    let instances = answer.instances.iter().enumerate().map(|(id, instance)| InstanceReport {
        id,
        query: instance.query,
        score: instance.score,
        r#box: instance.box_xyxy,
        area: instance.area,
        rle: instance.rle.clone(),
    });
    PromptReport {
        index,
        text: query.text.clone(),
        level: answer.level.to_string(),
        boxes: query.boxes.clone(),
        tokens: answer.tokens,
        truncated: answer.truncated,
        presence: answer.presence,
        instances: instances.collect(),
    }
}

/// A line for people about an answer.
fn summary(name: &str, query: &Query, answer: &Segmentation, file: Option<&Path>) -> String {
    let found = match answer.instances.first() {
        Some(best) => format!("{} found, best {:.2}", answer.instances.len(), best.score),
        None => "nothing found".to_owned(),
    };
    let file = file.map_or_else(String::new, |file| format!(" -> {}", file.display()));
    format!("{name}: {} ({}): {found}{file}", query.title(), answer.level)
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

    #[test]
    fn errors_name_their_file_once() {
        assert_eq!(about("a.png", "a.png: cut off"), "a.png: cut off");
        assert_eq!(about("a.png", "box outside"), "a.png: box outside");
    }

    #[test]
    fn an_error_wins_over_nothing_found() {
        let outcome = |found, failed, fail_empty| Tally { found, failed }.outcome(fail_empty);
        assert_eq!(outcome(0, false, false), Outcome::Done);
        assert_eq!(outcome(0, false, true), Outcome::NothingFound);
        assert_eq!(outcome(1, false, true), Outcome::Done);
        assert_eq!(outcome(0, true, true), Outcome::SomeFailed);
    }
}
