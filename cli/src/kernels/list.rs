//! `sam3i kernels list`.

use crate::device::DeviceArgs;
use crate::terminal::{Messages, print};
use anyhow::Result;
use sam3i_cases::list::OPS;
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
}

/// Runs `sam3i kernels list`.
pub fn run(args: &Args) -> Result<()> {
    let device = args.device.start(None, Messages::new(true, false))?.device;
    let lines = OPS.iter().map(|op| Line {
        name: op.name,
        computes: op.formula,
        traced_as: op.traced,
        gpu_kernels: op.gpu.iter().map(|kernel| kernel.name).collect(),
        forms: format!("reference; {}", op.cpu.all()),
        takes: op.cpu.on(&device),
    });
    let report = Report { schema: 1, device: device.to_string(), ops: lines.collect() };
    if args.json { print(&(serde_json::to_string(&report)? + "\n")) } else { print(&report.text()?) }
}

impl Report {
    fn text(&self) -> Result<String> {
        let mut text = format!("{:<15} {:<52} {} takes\n", "op", "forms", self.device);
        for Line { name, forms, takes, .. } in &self.ops {
            writeln!(text, "{name:<15} {forms:<52} {takes}")?;
        }
        writeln!(text, "\n{:<15} {:<65} gpu kernels", "op", "computes")?;
        for Line { name, computes, gpu_kernels, .. } in &self.ops {
            writeln!(text, "{name:<15} {computes:<65} {}", gpu_kernels.join(", "))?;
        }
        Ok(text)
    }
}
