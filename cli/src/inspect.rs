//! `sam3i inspect`: what a weight file is, has and lacks.

use crate::model;
use crate::terminal::{grouped, print};
use anyhow::Result;
use sam3i::Config;
use sam3i::checkpoint::{Checkpoint, Comparison, WeightFile};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Arguments of `sam3i inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint: a directory, a .pt or .safetensors file, or nano, the one that is built in
    file: PathBuf,
    /// One JSON object instead of a text
    #[arg(long)]
    json: bool,
}

/// Runs `sam3i inspect`.
pub fn run(args: &Args) -> Result<()> {
    let checkpoint = model::open(&args.file, None)?;
    let report = Report::new(&checkpoint)?;
    if args.json {
        return print(&(serde_json::to_string(&report)? + "\n"));
    }
    print(&report.text()?)
}

/// The object `--json` prints. Fields may be added; they don't change meaning without a new `schema`.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    file: String,
    container: String,
    layout: String,
    bytes: u64,
    complete: bool,
    notes: Vec<String>,
    config: &'a Config,
    config_source: &'static str,
    tensors: u64,
    params: u64,
    dtypes: Vec<Group>,
    modules: Vec<Group>,
    adapters: BTreeMap<&'static str, bool>,
    adapter_parts: Vec<AdapterPart>,
    point_prompts: bool,
    ignored: Ignored,
    missing: Vec<String>,
    unexpected: Vec<String>,
    misshapen: Vec<Misshapen>,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Group {
    name: String,
    tensors: u64,
    params: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct AdapterPart {
    family: &'static str,
    adapter: &'static str,
    part: &'static str,
    state: &'static str,
}

#[derive(Serialize)]
struct Ignored {
    dead: usize,
    interactive: usize,
}

#[derive(Serialize)]
struct Misshapen {
    name: String,
    found: Vec<usize>,
    expected: Vec<usize>,
}

/// Tensors, values and bytes by a name.
#[derive(Default)]
struct Groups(BTreeMap<String, [u64; 3]>);

impl Groups {
    fn add(&mut self, name: String, shape: &[usize], bytes: u64) {
        let [tensors, params, total] = self.0.entry(name).or_default();
        let values = shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
        *tensors += 1;
        *params = params.saturating_add(values);
        *total = total.saturating_add(bytes);
    }

    fn list(self) -> Vec<Group> {
        let group =
            |(name, [tensors, params, bytes]): (String, [u64; 3])| Group { name, tensors, params, bytes };
        self.0.into_iter().map(group).collect()
    }
}

impl<'a> Report<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let comparison = checkpoint.compare(&checkpoint.expected());
        let complete = comparison.is_empty();
        let Comparison { missing, unexpected, misshapen, .. } = comparison;
        let misshapen = misshapen
            .into_iter()
            .map(|m| Misshapen { name: m.name, found: m.found, expected: m.expected })
            .collect();
        let ignored = checkpoint.ignored();
        let files = checkpoint.files();
        Ok(Self {
            schema: 1,
            file: checkpoint.path().display().to_string(),
            container: files.first().map(|file| file.container().to_string()).unwrap_or_default(),
            layout: checkpoint.layout().to_string(),
            bytes: files.iter().map(WeightFile::file_bytes).sum(),
            complete,
            notes: checkpoint.describe(),
            config: checkpoint.config(),
            config_source: checkpoint.config_source().name(),
            tensors: checkpoint.names().count() as u64,
            params: checkpoint.param_count() as u64,
            dtypes: dtypes(files),
            modules: modules(checkpoint),
            adapters: checkpoint.adapters().families().into(),
            adapter_parts: adapter_parts(checkpoint)?,
            point_prompts: checkpoint.point_prompts(),
            ignored: Ignored { dead: ignored.dead, interactive: ignored.interactive },
            missing,
            unexpected,
            misshapen,
            metadata: files.first().map(|file| file.metadata().clone()).unwrap_or_default(),
        })
    }

    fn text(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "{} ({}, {} bytes)", self.file, self.container, grouped(self.bytes))?;
        for note in &self.notes {
            writeln!(text, "{note}")?;
        }
        let Ignored { dead, interactive } = self.ignored;
        writeln!(
            text,
            "passed over: {dead} tensors without effect, {interactive} of the tracker or click predictor"
        )?;
        writeln!(text, "\nsizes ({}): {}", self.config_source, serde_json::to_string(self.config)?)?;
        table(&mut text, "element type", &self.dtypes)?;
        table(&mut text, "module", &self.modules)?;
        if !self.adapter_parts.is_empty() {
            writeln!(text, "\n{:<16} {:<10} {:<10} state", "adapters", "", "part")?;
        }
        for AdapterPart { family, adapter, part, state } in &self.adapter_parts {
            writeln!(text, "{family:<16} {adapter:<10} {part:<10} {state}")?;
        }
        self.problems(&mut text)?;
        Ok(text)
    }

    fn problems(&self, text: &mut String) -> Result<()> {
        if self.complete {
            writeln!(text, "\ncomplete: every tensor the model needs is there, and no other")?;
        }
        for (kind, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            for name in names {
                writeln!(text, "{kind}: {name}")?;
            }
        }
        for Misshapen { name, found, expected } in &self.misshapen {
            writeln!(text, "wrong shape: {name} is {found:?}, not {expected:?}")?;
        }
        Ok(())
    }
}

fn table(text: &mut String, title: &str, groups: &[Group]) -> Result<()> {
    writeln!(text, "\n{title:<28} {:>8} {:>15} {:>15}", "tensors", "parameters", "bytes")?;
    for Group { name, tensors, params, bytes } in groups {
        writeln!(text, "{name:<28} {tensors:>8} {:>15} {:>15}", grouped(*params), grouped(*bytes))?;
    }
    Ok(())
}

/// Every tensor of the files, those passed over included.
fn dtypes(files: &[WeightFile]) -> Vec<Group> {
    let mut groups = Groups::default();
    for entry in files.iter().flat_map(WeightFile::entries) {
        groups.add(entry.dtype.to_string(), &entry.shape, entry.bytes as u64);
    }
    groups.list()
}

/// The model's tensors by the module they belong to.
fn modules(checkpoint: &Checkpoint) -> Vec<Group> {
    let mut groups = Groups::default();
    for name in checkpoint.names() {
        let deep = name.starts_with("backbone.") || name.starts_with("transformer.");
        let module = name.splitn(3, '.').take(if deep { 2 } else { 1 }).collect::<Vec<_>>().join(".");
        let shape = checkpoint.shape(name).unwrap_or(&[]);
        let size = checkpoint.dtype(name).and_then(|dtype| dtype.size()).unwrap_or(0);
        let bytes = shape.iter().product::<usize>() * size;
        groups.add(module, shape, bytes as u64);
    }
    groups.list()
}

fn adapter_parts(checkpoint: &Checkpoint) -> Result<Vec<AdapterPart>> {
    let parts = checkpoint.adapter_parts()?;
    let part = |p: sam3i::checkpoint::AdapterPart| AdapterPart {
        family: p.family,
        adapter: p.adapter,
        part: p.part,
        state: p.state.name(),
    };
    Ok(parts.into_iter().map(part).collect())
}
