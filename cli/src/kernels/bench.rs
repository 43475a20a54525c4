//! `sam3i kernels bench`: speed at the published model's shapes, beside the machine's own peaks.

use super::{OURS, Selection, YOURS, has_own_form};
use crate::terminal::print;
use anyhow::{Result, ensure};
use sam3i_cases::job::{Job, Taken, shortest_in_turns};
use sam3i_cases::list::Op;
use sam3i_cases::peak::Peak;
use sam3i_cases::variant::Variant;
use serde::Serialize;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What the reference is timed at without being asked: a few seconds of its plain loops.
const REFERENCE_FLOPS: u64 = 2_000_000_000;
/// Bytes of a copy that no cache holds.
const MEMORY: u64 = 256 << 20;

/// Arguments of `sam3i kernels bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) which: Selection,
    /// Seconds for each line; the shortest run counts
    #[arg(long, value_name = "SECONDS", default_value = "0.5")]
    seconds: f64,
    /// Time the reference at large shapes too, which takes minutes
    #[arg(long)]
    slow: bool,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

/// A variant and the most its device can do.
struct Runner {
    variant: Variant,
    peak: Option<Rc<Peak>>,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    op: &'static str,
    shape: &'static str,
    variant: &'a str,
    ms: f64,
    /// Of all threads together; absent on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    processor_ms: Option<f64>,
    gflops: Option<f64>,
    gigabytes_a_second: f64,
    /// Of what the machine's arithmetic, or a copy of as many bytes, allows, whichever is tighter.
    share_of_peak: Option<f64>,
    /// Of a text of the user's: more than 1 is faster than that variant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    times_as_fast_as: BTreeMap<&'a str, f64>,
}

/// Runs `sam3i kernels bench`.
pub fn run(args: &Args) -> Result<()> {
    ensure!((0.0..=3600.0).contains(&args.seconds), "--seconds: give 0 to 3600");
    let variants = args.which.variants(true)?;
    let ops = args.which.ops()?;
    let runners = runners(args, variants)?;
    if !args.json && runners.iter().any(|runner| runner.variant.name.ends_with(OURS)) {
        print(
            "gpu is what sam3i runs; gpu-ours our text of the kernel, run as yours is: with all checks, in its form\n",
        )?;
    }
    for op in ops {
        for job in op.published() {
            bench(args, op, &job, &runners)?;
        }
    }
    args.which.ensure_all_ran(runners.iter().map(|runner| &runner.variant))
}

/// The variants with their peaks, which are told. A GPU's are the same whatever text it runs.
fn runners(args: &Args, variants: Vec<Variant>) -> Result<Vec<Runner>> {
    let mut peaks: BTreeMap<String, Option<Rc<Peak>>> = BTreeMap::new();
    let mut runners = Vec::new();
    for variant in variants {
        let machine = variant.name.trim_end_matches(YOURS).trim_end_matches(OURS).to_owned();
        if let Some(known) = peaks.get(&machine) {
            runners.push(Runner { variant, peak: known.clone() });
            continue;
        }
        let peak = Peak::measure(&variant.device)?.map(Rc::new);
        if let Some(peak) = peak.as_ref().filter(|_| !args.json) {
            let (flops, gigabytes) = (peak.flops / 1e9, peak.copied(MEMORY) / 1e9);
            let threads = match variant.device.threads() {
                1 => String::new(),
                several => format!(", {several} threads"),
            };
            print(&format!(
                "peak of {machine}{threads}: {flops:.1} GFLOP/s; copies from memory {gigabytes:.1} GB/s\n"
            ))?;
        }
        peaks.insert(machine, peak.clone());
        runners.push(Runner { variant, peak });
    }
    Ok(runners)
}

fn bench(args: &Args, op: &Op, job: &Job, runners: &[Runner]) -> Result<()> {
    if !args.json {
        let (gflop, megabytes) = (job.flops as f64 / 1e9, job.bytes as f64 / 1e6);
        print(&format!("\n{}: {} ({gflop:.3} GFLOP, {megabytes:.1} MB)\n", op.name, job.what))?;
    }
    let runners: Vec<_> = runners.iter().filter(|runner| has_own_form(op, &runner.variant)).collect();
    let too_slow =
        |runner: &Runner| runner.variant.name == "reference" && !args.slow && job.flops > REFERENCE_FLOPS;
    let (left_out, runners): (Vec<_>, Vec<_>) = runners.into_iter().partition(|runner| too_slow(runner));
    if !left_out.is_empty() && !args.json {
        print("  reference      left out: --slow times it\n")?;
    }
    // What is to be compared is timed in turns; otherwise one after the other, for operands take memory.
    let at_a_time = if args.which.overrides.is_empty() { 1 } else { runners.len().max(1) };
    let mut times = BTreeMap::new();
    for runners in runners.chunks(at_a_time) {
        let prepared: Vec<_> =
            runners.iter().map(|runner| job.prepare(&runner.variant.device)).collect::<Result<_, _>>()?;
        let runs: Vec<_> = runners.iter().map(|runner| &runner.variant.device).zip(&prepared).collect();
        let taken = shortest_in_turns(&runs, Duration::from_secs_f64(args.seconds))?;
        for (runner, taken) in runners.iter().zip(taken) {
            tell(args, op, job, runner, taken, &mut times)?;
        }
    }
    Ok(())
}

/// Tells a variant's time, beside those of the variants before it.
fn tell<'a>(
    args: &Args,
    op: &Op,
    job: &Job,
    runner: &'a Runner,
    taken: Taken,
    times: &mut BTreeMap<&'a str, Duration>,
) -> Result<()> {
    let name = runner.variant.name.as_str();
    if name.ends_with(YOURS) && args.which.ran(&runner.variant).next().is_none() {
        let told = format!("  {name:<13} left out: this call does not run your kernel here\n");
        return if args.json { Ok(()) } else { print(&told) };
    }
    let line =
        Line { times_as_fast_as: compared(name, taken.time, times), ..Line::new(op, job, runner, taken) };
    if args.json {
        print(&(serde_json::to_string(&line)? + "\n"))?
    } else {
        line.tell()?
    }
    times.insert(name, taken.time);
    Ok(())
}

/// How many times as fast as others a variant with the user's text is: as our text run as theirs is, as what the GPU runs by itself, as the
/// reference. Nothing for other variants.
fn compared<'a>(name: &str, time: Duration, times: &BTreeMap<&'a str, Duration>) -> BTreeMap<&'a str, f64> {
    let Some(gpu) = name.strip_suffix(YOURS) else { return BTreeMap::new() };
    let ours = format!("{gpu}{OURS}");
    let others = times.iter().filter(|(other, _)| [&ours, gpu, "reference"].contains(other));
    others.map(|(other, theirs)| (*other, theirs.as_secs_f64() / time.as_secs_f64())).collect()
}

impl<'a> Line<'a> {
    fn new(op: &Op, job: &Job, Runner { variant, peak }: &'a Runner, taken: Taken) -> Self {
        let Taken { time, processor } = taken;
        let seconds = time.as_secs_f64();
        Line {
            schema: 1,
            op: op.name,
            shape: job.what,
            variant: &variant.name,
            ms: 1e3 * seconds,
            processor_ms: processor.map(|time| 1e3 * time.as_secs_f64()),
            gflops: (job.flops > 0).then(|| job.flops as f64 / seconds / 1e9),
            gigabytes_a_second: job.bytes as f64 / seconds / 1e9,
            share_of_peak: peak.as_ref().map(|peak| peak.share(job.flops, job.bytes, time)),
            times_as_fast_as: BTreeMap::new(),
        }
    }

    fn tell(&self) -> Result<()> {
        let Line { variant, ms, gigabytes_a_second, .. } = self;
        let gflops = self.gflops.map_or_else(|| "-".to_owned(), |gflops| format!("{gflops:.1}"));
        let share = self.share_of_peak.map_or_else(String::new, |s| format!("{:>6.1} % of peak", 100.0 * s));
        let processor = self.processor_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
        let line = format!(
            "  {variant:<13} {ms:>11.3} ms {processor:>11} ms CPU {gflops:>9} GFLOP/s {gigabytes_a_second:>8.2} GB/s {share}"
        );
        let mut text = line.trim_end().to_owned() + "\n";
        if !self.times_as_fast_as.is_empty() {
            let each = self
                .times_as_fast_as
                .iter()
                .map(|(other, times)| format!("{times:.2} times as fast as {other}"));
            text += &format!("  {:<13} {}\n", "", each.collect::<Vec<_>>().join(", "));
        }
        print(&text)
    }
}
