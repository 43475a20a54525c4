//! `sam3i kernels bench`: speed at the published model's shapes, beside the machine's own peaks.

use super::{Selection, has_own_form};
use crate::terminal::print;
use anyhow::{Result, ensure};
use sam3i_cases::job::{Job, shortest};
use sam3i_cases::list::Op;
use sam3i_cases::peak::Peak;
use sam3i_cases::variant::Variant;
use serde::Serialize;
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
    peak: Option<Peak>,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    op: &'static str,
    shape: &'static str,
    variant: &'a str,
    ms: f64,
    gflops: Option<f64>,
    gigabytes_a_second: f64,
    /// Of what the machine's arithmetic, or a copy of as many bytes, allows, whichever is tighter.
    share_of_peak: Option<f64>,
}

/// Runs `sam3i kernels bench`.
pub fn run(args: &Args) -> Result<()> {
    ensure!((0.0..=3600.0).contains(&args.seconds), "--seconds: give 0 to 3600");
    let ops = args.which.ops()?;
    let mut runners = Vec::new();
    for variant in args.which.variants()? {
        let peak = Peak::measure(&variant.device)?;
        if let Some(peak) = peak.as_ref().filter(|_| !args.json) {
            let (name, threads) = (&variant.name, variant.device.threads());
            let (gflops, gigabytes) = (peak.flops / 1e9, peak.copied(MEMORY) / 1e9);
            print(&format!(
                "peak of {name}, {threads} threads: {gflops:.1} GFLOP/s; copies from memory {gigabytes:.1} GB/s\n"
            ))?;
        }
        runners.push(Runner { variant, peak });
    }
    for op in ops {
        for job in op.published() {
            bench(args, op, &job, &runners)?;
        }
    }
    Ok(())
}

fn bench(args: &Args, op: &Op, job: &Job, runners: &[Runner]) -> Result<()> {
    if !args.json {
        let (gflop, megabytes) = (job.flops as f64 / 1e9, job.bytes as f64 / 1e6);
        print(&format!("\n{}: {} ({gflop:.3} GFLOP, {megabytes:.1} MB)\n", op.name, job.what))?;
    }
    for runner in runners.iter().filter(|runner| has_own_form(op, &runner.variant)) {
        let is_reference = runner.variant.name == "reference";
        if is_reference && !args.slow && job.flops > REFERENCE_FLOPS {
            if !args.json {
                print("  reference      left out: --slow times it\n")?;
            }
            continue;
        }
        let device = &runner.variant.device;
        let prepared = job.prepare(device)?;
        let time = shortest(device, &prepared, Duration::from_secs_f64(args.seconds))?;
        let line = Line::new(op, job, runner, time);
        if args.json { print(&(serde_json::to_string(&line)? + "\n"))? } else { line.tell()? }
    }
    Ok(())
}

impl<'a> Line<'a> {
    fn new(op: &Op, job: &Job, Runner { variant, peak }: &'a Runner, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Line {
            schema: 1,
            op: op.name,
            shape: job.what,
            variant: &variant.name,
            ms: 1e3 * seconds,
            gflops: (job.flops > 0).then(|| job.flops as f64 / seconds / 1e9),
            gigabytes_a_second: job.bytes as f64 / seconds / 1e9,
            share_of_peak: peak.as_ref().map(|peak| peak.share(job.flops, job.bytes, time)),
        }
    }

    fn tell(&self) -> Result<()> {
        let Line { variant, ms, gigabytes_a_second, .. } = self;
        let gflops = self.gflops.map_or_else(|| "-".to_owned(), |gflops| format!("{gflops:.1}"));
        let share = self.share_of_peak.map_or_else(String::new, |s| format!("{:>6.1} % of peak", 100.0 * s));
        let line = format!(
            "  {variant:<13} {ms:>11.3} ms {gflops:>9} GFLOP/s {gigabytes_a_second:>8.2} GB/s {share}"
        );
        print(&(line.trim_end().to_owned() + "\n"))
    }
}
