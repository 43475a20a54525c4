//! Where the time goes: the trace of every op, added up by stage and op.

use sam3i::engine::Device;
use sam3i::engine::trace::{Observer, OpRecord};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The stages of the model that ops belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The image trunk and its feature pyramid.
    Image,
    /// The text encoder.
    Text,
    /// Examples, fusion, decoder and scores.
    Grounding,
    /// Pixel features and masks.
    Masks,
}

impl Stage {
    /// The stage of an op, from the trace's scopes; what runs between them is known by its name.
    fn of(record: &OpRecord) -> Self {
        match record.scope.split('.').next().unwrap_or("") {
            "vit" | "fpn" => Self::Image,
            "text" => Self::Text,
            "seg" => Self::Masks,
            "" if ["embedding", "bilinear_threshold"].contains(&record.op) => Self::Masks,
            _ => Self::Grounding,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Image => "image",
            Self::Text => "text",
            Self::Grounding => "grounding",
            Self::Masks => "masks",
        })
    }
}

/// What an op did in a stage.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    calls: u64,
    time: Duration,
    processor_time: Duration,
    gpu_time: Option<Duration>,
    flops: u64,
    peak_bytes: usize,
}

/// An observer that adds up. Each op is also a log event of `sam3i::op` at the level trace.
#[derive(Debug, Default)]
pub struct Profile {
    totals: Mutex<BTreeMap<(Stage, &'static str), Total>>,
    device: Option<Device>,
}

/// A line of a profile.
#[derive(Clone, Debug, Serialize)]
pub struct OpLine {
    /// Where it ran.
    pub stage: Stage,
    /// The op.
    pub op: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// Milliseconds, all calls together.
    pub ms: f64,
    /// Milliseconds of processor time, all threads together; 0 where the system does not tell.
    pub processor_ms: f64,
    /// Milliseconds a GPU took, by its own clock, without the way there and back; `None` on other devices and where it has no clock.
    pub gpu_ms: Option<f64>,
    /// Billions of floating-point operations a second, of the GPU's time where it is known; `None` if it has none.
    pub gflops: Option<f64>,
    /// Its part of the time of all ops, 0 to 1.
    pub share: f64,
}

impl Observer for Profile {
    fn op(&self, record: OpRecord) {
        let OpRecord { op, time, processor_time, gpu_time, flops, .. } = record;
        let (scope, shapes) = (&record.scope, &record.shapes);
        tracing::trace!(target: "sam3i::op", op, %scope, %shapes, ms = milliseconds(time), flops);
        let mut totals = self.totals();
        let total = totals.entry((Stage::of(&record), op)).or_default();
        total.calls += 1;
        total.time += time;
        total.processor_time += processor_time;
        if let Some(time) = gpu_time {
            *total.gpu_time.get_or_insert_default() += time;
        }
        total.flops += flops;
        let live = self.device.as_ref().map_or(0, |device| device.memory().live);
        total.peak_bytes = total.peak_bytes.max(live);
    }
}

impl Profile {
    fn totals(&self) -> MutexGuard<'_, BTreeMap<(Stage, &'static str), Total>> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A profile that also watches the memory of a device.
    pub fn of(device: &Device) -> Self {
        Self { device: Some(device.clone()), ..Self::default() }
    }

    /// Floating-point operations of a stage, and processor time.
    pub fn work(&self, stage: Stage) -> (u64, Duration) {
        let totals = self.totals();
        let of = totals.iter().filter(|((s, _), _)| *s == stage);
        of.fold((0, Duration::ZERO), |(flops, time), (_, t)| (flops + t.flops, time + t.processor_time))
    }

    /// The most tensor memory in use after an op of a stage, weights included.
    pub fn peak_bytes(&self, stage: Stage) -> usize {
        let totals = self.totals();
        totals.iter().filter(|((s, _), _)| *s == stage).map(|(_, t)| t.peak_bytes).max().unwrap_or(0)
    }

    /// The ops, those that took longest first; counts and times of one of `runs` runs.
    pub fn lines(&self, runs: u32) -> Vec<OpLine> {
        let totals = self.totals();
        let all: Duration = totals.values().map(|total| total.time).sum();
        let line = |(&(stage, op), total): (&(Stage, &'static str), &Total)| OpLine {
            stage,
            op,
            calls: total.calls / u64::from(runs.max(1)),
            ms: milliseconds(total.time) / f64::from(runs.max(1)),
            processor_ms: milliseconds(total.processor_time) / f64::from(runs.max(1)),
            gpu_ms: total.gpu_time.map(|time| milliseconds(time) / f64::from(runs.max(1))),
            gflops: rate(total.flops, total.gpu_time.unwrap_or(total.time)),
            share: total.time.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE),
        };
        let mut lines: Vec<_> = totals.iter().map(line).collect();
        lines.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        lines
    }
}

/// Two tables for people: by stage, and by op.
pub fn tables(lines: &[OpLine]) -> String {
    let mut text = format!("{:<10} {:>7} {:>11} {:>10} {:>7}\n", "stage", "calls", "ms", "GFLOP/s", "share");
    for stage in [Stage::Image, Stage::Text, Stage::Grounding, Stage::Masks] {
        let of = || lines.iter().filter(|line| line.stage == stage);
        let ms: f64 = of().map(|line| line.ms).sum();
        let gflop: f64 =
            of().filter_map(|line| Some(line.gflops? * line.gpu_ms.unwrap_or(line.ms) / 1e3)).sum();
        let (calls, share) =
            (of().map(|line| line.calls).sum::<u64>(), of().map(|line| line.share).sum::<f64>());
        let rate = if ms > 0.0 && gflop > 0.0 { format!("{:.1}", 1e3 * gflop / ms) } else { "-".to_owned() };
        let share = format!("{:.1} %", 100.0 * share);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{stage:<10} {calls:>7} {ms:>11.3} {rate:>10} {share:>7}");
    }
    text + "\n" + &table(lines)
}

/// The lines as a table for people.
pub fn table(lines: &[OpLine]) -> String {
    let mut text = format!(
        "{:<10} {:<20} {:>7} {:>11} {:>11} {:>11} {:>10} {:>7}\n",
        "stage", "op", "calls", "ms", "cpu ms", "gpu ms", "GFLOP/s", "share"
    );
    for OpLine { stage, op, calls, ms, processor_ms, gpu_ms, gflops, share } in lines {
        let gpu_ms = gpu_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
        let gflops = gflops.map_or_else(|| "-".to_owned(), |gflops| format!("{gflops:.1}"));
        let share = format!("{:.1} %", 100.0 * share);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{stage:<10} {op:<20} {calls:>7} {ms:>11.3} {processor_ms:>11.3} {gpu_ms:>11} {gflops:>10} {share:>7}"
        );
    }
    text
}

/// Milliseconds, to the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Billions of operations a second; `None` where there are none or no time passed.
pub fn rate(flops: u64, time: Duration) -> Option<f64> {
    (flops > 0 && !time.is_zero()).then(|| flops as f64 / time.as_secs_f64() / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_without_arithmetic_has_no_rate() {
        let line = OpLine {
            stage: Stage::Masks,
            op: "bilinear_threshold",
            calls: 1,
            ms: 2.0,
            processor_ms: 2.0,
            gpu_ms: None,
            gflops: None,
            share: 1.0,
        };
        let text = tables(&[line]);
        let masks = text.lines().find(|line| line.starts_with("masks")).expect("a line");
        assert_eq!(masks.split_whitespace().collect::<Vec<_>>(), ["masks", "1", "2.000", "-", "100.0", "%"]);
    }

    #[test]
    fn times_are_rounded_and_rates_need_time() {
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!(rate(2_000_000_000, Duration::from_secs(2)), Some(1.0));
        assert_eq!(rate(0, Duration::from_secs(2)), None);
        assert_eq!(rate(2, Duration::ZERO), None);
    }
}
