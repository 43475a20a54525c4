//! `sam3i bench`: how long the stages of a model take, and which ops the time goes to.

use crate::device::{Chosen, DeviceArgs};
use crate::devices::kilobytes;
use crate::model::ModelArgs;
use crate::profile::{OpLine, Profile, Stage, milliseconds, rate, table};
use crate::prompts::level_parser;
use crate::report::ModelReport;
use crate::terminal::{self, Messages, grouped, print};
use anyhow::{Context, Result, ensure};
use sam3i::checkpoint::FileDType;
use sam3i::engine::trace;
use sam3i::picture::DecodeOptions;
use sam3i::{Checkpoint, Config, Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};
use sam3i_cases::peak::Peak;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Masks made for each prompt: as many as a picture with a few answers has, whatever the weights say.
const MASKS: usize = 5;
/// The stages, in their order.
const STAGES: [Stage; 4] = [Stage::Image, Stage::Text, Stage::Grounding, Stage::Masks];
/// Size of the picture that is used when none is named.
const PICTURE: [usize; 2] = [640, 480];

/// Arguments of `sam3i bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sam3i bench --model sam3i.safetensors --runs 5
  sam3i bench --config CONFIG.json --json      # no download: synthetic weights of these sizes
  sam3i bench --device gpu --tune              # once for each GPU, driver and model")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Synthetic weights of these sizes instead of a model, made in a temporary directory
    #[arg(long, value_name = "CONFIG.json", conflicts_with = "model", help_heading = "Model and device")]
    config: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Runs whose median is taken, after one that is not counted
    #[arg(long, value_name = "N", default_value = "3", help_heading = "Measurement")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Levels to ask at, one prompt each; repeat it for more [default: all three]
    #[arg(long, value_name = "LEVEL", value_parser = level_parser(), help_heading = "Measurement")]
    level: Vec<Level>,
    /// The picture [default: a made-up one of 640 x 480 pixels]
    #[arg(long, value_name = "FILE", help_heading = "Measurement")]
    image: Option<PathBuf>,
    /// Measure first which forms of the GPU's kernels are the fastest at this model's sizes, and keep that for later runs
    #[arg(long, help_heading = "Measurement")]
    tune: bool,
    /// One JSON object on stdout instead of a text
    #[arg(long, help_heading = "Measurement")]
    json: bool,
}

/// The object `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: u32,
    model: ModelReport,
    device: String,
    device_detail: String,
    dtype: &'static str,
    runs: u32,
    image: [usize; 2],
    masks_per_prompt: usize,
    stages: Vec<StageLine>,
    ops: Vec<OpLine>,
    memory: Memory,
}

/// A stage: the median of the runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct StageLine {
    stage: String,
    ms: f64,
    /// Processor time of its ops, all threads together; `None` where there are none.
    processor_ms: Option<f64>,
    gflops: Option<f64>,
    /// The part of what this device's arithmetic reached just before and after; of the fastest type it computes in.
    share_of_peak: Option<f64>,
}

/// Most memory in use at a time.
#[derive(Serialize)]
struct Memory {
    tensors_peak_bytes: usize,
    process_peak_bytes: Option<u64>,
    /// The most tensors and weights that were there at a time of the stage.
    stages: Vec<StageMemory>,
}

/// Most memory of a stage.
#[derive(Serialize)]
struct StageMemory {
    stage: Stage,
    tensors_peak_bytes: usize,
}

/// A directory that goes with the value, synthetic weights and all.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the system's temporary directory is only untidy.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `sam3i bench`.
pub fn run(args: &Args) -> Result<()> {
    terminal::start_logging(0);
    let messages = Messages::new(false, false);
    let picture = args.picture()?;
    let scratch = args.config.as_ref().map(|config| synthetic(config, messages)).transpose()?;
    let checkpoint = match &scratch {
        Some(Scratch(directory)) => Checkpoint::open(directory)?,
        None => args.model.open(messages)?,
    };
    let chosen = args.device.start(Some(&checkpoint), messages)?;
    let levels = if args.level.is_empty() { &Level::ALL[..] } else { &args.level };
    args.device.check_memory(&chosen, &checkpoint, levels, 1, messages)?;
    let device = chosen.device.clone();
    let report = device.run(|| Bench { args, picture, chosen }.run(checkpoint, messages))?;
    if args.json { print(&(serde_json::to_string(&report)? + "\n")) } else { print(&report.text()?) }
}

fn synthetic(config: &Path, messages: Messages) -> Result<Scratch> {
    let config = Config::read(config)?;
    let scratch = Scratch(std::env::temp_dir().join(format!("sam3i-bench-{}", std::process::id())));
    messages.say(&format!("writing synthetic weights to {}", scratch.0.display()));
    sam3i::synth::write_model(&config, &scratch.0, FileDType::F32)?;
    Ok(scratch)
}

impl Args {
    fn picture(&self) -> Result<Picture> {
        if let Some(path) = &self.image {
            return Ok(Picture::open(path, &DecodeOptions::default())?);
        }
        let [width, height] = PICTURE;
        let pixel = |i: usize| [(i % width) as u8, (i / width) as u8, (i % 251) as u8];
        Ok(Picture::new(width, height, (0..width * height).flat_map(pixel).collect())?)
    }
}

/// One measurement of a stage.
struct Sample {
    stage: String,
    time: Duration,
    flops: u64,
    /// Operations a second that the device was able to do at that time, where it can be told.
    peak: Option<f64>,
    /// Of the stage's ops, all threads together.
    processor_time: Duration,
}

struct Bench<'a> {
    args: &'a Args,
    picture: Picture,
    chosen: Chosen,
}

impl Bench<'_> {
    fn run(&self, checkpoint: Checkpoint, messages: Messages) -> Result<Report> {
        let start = Instant::now();
        let model = Model::from_checkpoint(checkpoint, &self.chosen.device)?;
        let mut samples = vec![Sample {
            stage: "load".to_owned(),
            time: start.elapsed(),
            flops: 0,
            peak: None,
            processor_time: Duration::ZERO,
        }];
        let warm_up = self.round(&model, 0, &Arc::default(), &mut || Ok(None))?;
        samples.extend(first_sentences(&warm_up));
        if self.args.tune {
            self.tune(messages)?;
            self.round(&model, 0, &Arc::default(), &mut || Ok(None))?; // compiles what was chosen
        }
        let ops = Arc::new(Profile::of(&self.chosen.device));
        let device = &self.chosen.device;
        let mut peak = || Ok(Peak::measure(device)?.map(|peak| peak.flops));
        for run in 1..=self.args.runs {
            samples.extend(self.round(&model, run, &ops, &mut peak)?);
        }
        Ok(Report {
            schema: 1,
            model: ModelReport::new(&model),
            device: self.chosen.device.name().to_owned(),
            device_detail: self.chosen.device.to_string(),
            dtype: self.chosen.dtype,
            runs: self.args.runs,
            image: [self.picture.width, self.picture.height],
            masks_per_prompt: MASKS.min(model.config().queries),
            stages: medians(&samples),
            ops: ops.lines(self.args.runs),
            memory: Memory {
                tensors_peak_bytes: self.chosen.device.memory().peak,
                process_peak_bytes: process_peak(),
                stages: STAGES
                    .map(|stage| StageMemory { stage, tensors_peak_bytes: ops.peak_bytes(stage) })
                    .into(),
            },
        })
    }

    #[cfg(feature = "gpu")]
    fn tune(&self, messages: Messages) -> Result<()> {
        crate::tune::tune(&self.chosen.device, messages)
    }

    #[cfg(not(feature = "gpu"))]
    fn tune(&self, _: Messages) -> Result<()> {
        anyhow::bail!("--tune: {}", crate::device::NO_GPU)
    }

    /// The picture once, then a sentence at each of the levels that no run asked before, so that no text features are kept.
    /// `peak` is asked before the picture, after it and after each sentence: on a shared machine it changes as the speed does.
    fn round(
        &self,
        model: &Model,
        run: u32,
        ops: &Arc<Profile>,
        peak: &mut dyn FnMut() -> Result<Option<f64>>,
    ) -> Result<Vec<Sample>> {
        let mut before = peak()?;
        let mut between = |samples: &mut [Sample]| -> Result<()> {
            let after = peak()?;
            let mean = before.zip(after).map(|(before, after)| (before + after) / 2.0);
            samples.iter_mut().for_each(|sample| sample.peak = mean);
            before = after;
            Ok(())
        };
        let mut watch = Watch { ops: ops.clone(), before: [(0, Duration::ZERO); 4] };
        let embedding = watch.see(|| model.encode_image(&self.picture.view(), ResizeMode::Exact8))?;
        let mut samples = vec![
            Sample {
                stage: "preprocess".to_owned(),
                time: embedding.preprocess_time(),
                flops: 0,
                peak: None,
                processor_time: Duration::ZERO,
            },
            watch.sample("image".to_owned(), embedding.encode_time(), Stage::Image),
        ];
        between(&mut samples)?;
        let options = SegmentOptions::default().threshold(0.0).top_k(MASKS);
        let levels = if self.args.level.is_empty() { &Level::ALL[..] } else { &self.args.level };
        for &level in levels {
            let prompt = Prompt::text(format!("the thing number {run} in the picture")).level(level);
            let answer = watch.see(|| model.segment(&embedding, &prompt, &options))?;
            ensure!(
                answer.presence.is_finite(),
                "the model's answer is not a number: its weights do not work"
            );
            let timings = answer.timings;
            samples.push(watch.sample(format!("text {level}"), timings.text, Stage::Text));
            samples.push(watch.sample(format!("grounding {level}"), timings.grounding, Stage::Grounding));
            samples.push(watch.sample(format!("masks {level}"), timings.masks, Stage::Masks));
            let asked = samples.len() - 3;
            between(&mut samples[asked..])?;
        }
        Ok(samples)
    }
}

/// Counts the operations of each stage since it was last asked.
struct Watch {
    ops: Arc<Profile>,
    before: [(u64, Duration); 4],
}

impl Watch {
    /// Runs `f` and sees what it does.
    fn see<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.before = STAGES.map(|s| self.ops.work(s));
        trace::observe(self.ops.clone(), f)
    }

    fn sample(&self, stage: String, time: Duration, of: Stage) -> Sample {
        let ((flops, spent), (flops_before, spent_before)) = (self.ops.work(of), self.before[of as usize]);
        let (flops, processor_time) = (flops - flops_before, spent - spent_before);
        Sample { stage, time, flops, peak: None, processor_time }
    }
}

/// The text stages of the run that is not counted: the first sentence of a level reads that level's weights.
fn first_sentences(warm_up: &[Sample]) -> Vec<Sample> {
    let text = warm_up.iter().filter(|sample| sample.stage.starts_with("text "));
    text.map(|sample| Sample {
        stage: format!("first {}", sample.stage),
        time: sample.time,
        flops: 0,
        peak: None,
        processor_time: Duration::ZERO,
    })
    .collect()
}

/// One line a stage, in the order of their first samples.
fn medians(samples: &[Sample]) -> Vec<StageLine> {
    let mut lines: Vec<StageLine> = Vec::new();
    for Sample { stage, flops, .. } in samples {
        if lines.iter().any(|line| line.stage == *stage) {
            continue;
        }
        let mut times: Vec<_> = samples.iter().filter(|s| s.stage == *stage).map(|s| s.time).collect();
        times.sort();
        let median = times[times.len() / 2];
        lines.push(StageLine {
            stage: stage.clone(),
            ms: milliseconds(median),
            processor_ms: median_of(samples, stage),
            gflops: rate(*flops, median),
            share_of_peak: peak_share(samples, stage),
        });
    }
    lines
}

/// The median part of the peak that a stage reached; `None` if it does no arithmetic or no peak is known.
fn peak_share(samples: &[Sample], stage: &str) -> Option<f64> {
    let shares = samples.iter().filter(|s| s.stage == stage && s.flops > 0);
    let mut shares: Vec<_> =
        shares.filter_map(|s| Some(s.flops as f64 / s.time.as_secs_f64() / s.peak?)).collect();
    shares.sort_by(f64::total_cmp);
    shares.get(shares.len() / 2).copied()
}

/// The median processor time of a stage, in milliseconds; `None` if its ops took none.
fn median_of(samples: &[Sample], stage: &str) -> Option<f64> {
    let mut times: Vec<_> = samples.iter().filter(|s| s.stage == stage).map(|s| s.processor_time).collect();
    times.sort();
    let median = times[times.len() / 2];
    (!median.is_zero()).then(|| milliseconds(median))
}

/// The most memory this process ever had, where the system tells.
fn process_peak() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

impl Report {
    fn text(&self) -> Result<String> {
        let mut text = String::new();
        let ModelReport { name, params } = &self.model;
        let [width, height] = self.image;
        writeln!(text, "model {name}: {} parameters", grouped(*params))?;
        writeln!(text, "device {}, {}", self.device_detail, self.dtype)?;
        writeln!(
            text,
            "picture {width} x {height}, {} masks a prompt, median of {} runs",
            self.masks_per_prompt, self.runs
        )?;
        writeln!(text, "\n{:<20} {:>11} {:>11} {:>10} {:>8}", "stage", "ms", "cpu ms", "GFLOP/s", "of peak")?;
        for StageLine { stage, ms, processor_ms, gflops, share_of_peak } in &self.stages {
            let processor_ms = processor_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
            let gflops = gflops.map_or_else(|| "-".to_owned(), |gflops| format!("{gflops:.1}"));
            let share_of_peak =
                share_of_peak.map_or_else(|| "-".to_owned(), |part| format!("{:.0} %", 100.0 * part));
            writeln!(text, "{stage:<20} {ms:>11.3} {processor_ms:>11} {gflops:>10} {share_of_peak:>8}")?;
        }
        writeln!(
            text,
            "(`first`: of a sentence that has to read the text encoder's or the level's weights; `of peak`: of \
             multiply-adds of registers alone, measured before and after)"
        )?;
        let Memory { tensors_peak_bytes, process_peak_bytes, stages } = &self.memory;
        let mebibytes = |bytes: u64| grouped(bytes >> 20);
        let tensors = mebibytes(u64::try_from(*tensors_peak_bytes).context("a size")?);
        let process = process_peak_bytes.map(|bytes| format!(", {} MiB of the process", mebibytes(bytes)));
        writeln!(text, "\npeak memory: {tensors} MiB of tensors{}", process.unwrap_or_default())?;
        for StageMemory { stage, tensors_peak_bytes } in stages {
            writeln!(text, "  {stage:<10} {:>6} MiB", mebibytes(*tensors_peak_bytes as u64))?;
        }
        writeln!(text, "\nops of one run:\n{}", table(&self.ops).trim_end())?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_keep_their_order_and_take_the_median() {
        let sample = |stage: &str, ms| Sample {
            stage: stage.to_owned(),
            time: Duration::from_millis(ms),
            flops: 0,
            peak: None,
            processor_time: Duration::ZERO,
        };
        let lines = medians(&[sample("b", 9), sample("a", 1), sample("b", 2), sample("b", 3)]);
        let line = |stage: &str, ms| StageLine {
            stage: stage.to_owned(),
            ms,
            processor_ms: None,
            gflops: None,
            share_of_peak: None,
        };
        assert_eq!(lines, [line("b", 3.0), line("a", 1.0)]);
    }
}
