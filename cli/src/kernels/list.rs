//! `sam3i kernels list`.

use crate::device::DeviceArgs;
use crate::terminal::{Messages, print};
use anyhow::Result;
use sam3i::Device;
use sam3i_cases::list::{OPS, Op};
use serde::Serialize;
use std::fmt::Write;

/// Arguments of `sam3i kernels list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// One JSON object instead of a text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    device: String,
    /// The type weights are kept in.
    weights: String,
    ops: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    computes: &'static str,
    traced_as: &'static [&'static str],
    gpu_kernels: Vec<&'static str>,
    forms: String,
    takes: String,
    /// At calls of the published model, where the op has several forms on a GPU and the device is one.
    #[cfg(feature = "gpu")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gpu_calls: Vec<super::forms::Call>,
}

/// Runs `sam3i kernels list`.
pub fn run(args: &Args) -> Result<()> {
    let device = args.device.start(None, Messages::new(true, false))?.device;
    let lines = OPS.iter().map(|op| line(op, &device));
    let report = Report {
        schema: 1,
        device: device.to_string(),
        weights: device.dtype().to_string(),
        ops: lines.collect(),
    };
    if args.json { print(&(serde_json::to_string(&report)? + "\n")) } else { print(&report.text()?) }
}

fn line(op: &Op, device: &Device) -> Line {
    #[cfg(feature = "gpu")]
    let gpu_calls = super::forms::calls(op, device);
    let takes = op.cpu.on(device);
    Line {
        name: op.name,
        computes: op.formula,
        traced_as: op.traced,
        gpu_kernels: op.gpu.iter().map(|kernel| kernel.name).collect(),
        forms: format!("reference; {}", op.cpu.all()),
        #[cfg(feature = "gpu")]
        takes: match &gpu_calls[..] {
            [] => takes,
            calls => format!("{takes}: {}", super::forms::taken(calls)),
        },
        #[cfg(not(feature = "gpu"))]
        takes,
        #[cfg(feature = "gpu")]
        gpu_calls,
    }
}

impl Report {
    fn text(&self) -> Result<String> {
        let mut text = format!("{:<16} {:<52} {} takes\n", "op", "forms", self.device);
        for Line { name, forms, takes, .. } in &self.ops {
            writeln!(text, "{name:<16} {forms:<52} {takes}")?;
        }
        writeln!(text, "\n{:<16} {:<65} gpu kernels", "op", "computes")?;
        for Line { name, computes, gpu_kernels, .. } in &self.ops {
            writeln!(text, "{name:<16} {computes:<65} {}", gpu_kernels.join(", "))?;
        }
        #[cfg(feature = "gpu")]
        self.write_gpu_calls(&mut text)?;
        Ok(text)
    }

    #[cfg(feature = "gpu")]
    fn write_gpu_calls(&self, text: &mut String) -> Result<()> {
        if self.ops.iter().any(|line| !line.gpu_calls.is_empty()) {
            writeln!(
                text,
                "\nforms on {}, of ops that have several, at calls of the published model, weights in {}",
                self.device, self.weights
            )?;
        }
        for Line { name, gpu_calls, .. } in self.ops.iter().filter(|line| !line.gpu_calls.is_empty()) {
            writeln!(text, "\n{name}")?;
            super::forms::write(gpu_calls, text)?;
        }
        Ok(())
    }
}
