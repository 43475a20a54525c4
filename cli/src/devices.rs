//! `sam3i devices`: what can compute on this machine.

#[cfg(not(feature = "gpu"))]
use crate::device::NO_GPU;
use crate::device::instruction_set;
use crate::terminal::{grouped, print};
use anyhow::Result;
use sam3i::Device;
use sam3i::engine::Isa;
use serde::Serialize;
use std::fmt::Write;

/// Arguments of `sam3i devices`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON object instead of a text
    #[arg(long)]
    json: bool,
}

/// The object `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: u32,
    devices: Vec<DeviceReport>,
}

/// A device; what is unknown or means nothing there is left out.
#[derive(Default, Serialize)]
struct DeviceReport {
    name: String,
    available: bool,
    note: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    processor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instruction_sets: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instruction_set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_available_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dtypes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<Adapter>,
}

/// What is known of a GPU.
#[derive(Serialize)]
struct Adapter {
    name: String,
    kind: &'static str,
    interface: String,
    driver: String,
    most_buffer_bytes: u64,
    most_binding_bytes: u64,
    workgroup_memory_bytes: u32,
    workgroup_threads: u32,
    storage_bindings: u32,
    shader_f16: bool,
    subgroup_sizes: Option<[u32; 2]>,
    cooperative_matrices: Vec<u32>,
    timestamps: bool,
}

/// Runs `sam3i devices`.
pub fn run(args: &Args) -> Result<()> {
    let mut report = Report { schema: 1, devices: vec![cpu()?, reference()] };
    report.devices.extend(gpus());
    if args.json {
        return print(&(serde_json::to_string(&report)? + "\n"));
    }
    let mut text = String::new();
    for device in &report.devices {
        device.write(&mut text)?;
    }
    print(&text)
}

fn cpu() -> Result<DeviceReport> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let isa = instruction_set()?;
    Ok(DeviceReport {
        name: "cpu".to_owned(),
        available: true,
        note: "what --device auto takes where there is no GPU in hardware".to_owned(),
        processor: value_of(&cpuinfo, "model name").map(str::to_owned),
        cores: std::thread::available_parallelism().ok().map(usize::from),
        instruction_sets: Isa::available().iter().map(Isa::to_string).collect(),
        instruction_set: Some(isa.to_string()),
        memory_bytes: kilobytes(&meminfo, "MemTotal"),
        memory_available_bytes: kilobytes(&meminfo, "MemAvailable"),
        dtypes: if Device::has_bf16(isa) { vec!["f32", "bf16", "int8"] } else { vec!["f32", "int8"] },
        adapter: None,
    })
}

fn reference() -> DeviceReport {
    DeviceReport {
        name: "reference".to_owned(),
        available: true,
        note: "plain loops in one thread: slow, what the others are checked against".to_owned(),
        dtypes: vec!["f32"],
        ..DeviceReport::default()
    }
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<DeviceReport> {
    vec![DeviceReport { name: "gpu".to_owned(), note: NO_GPU.to_owned(), ..DeviceReport::default() }]
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<DeviceReport> {
    let found = sam3i::engine::gpu::adapters();
    if found.is_empty() {
        let note = "there is none, or no driver for Vulkan, Metal or DX12".to_owned();
        return vec![DeviceReport { name: "gpu".to_owned(), note, ..DeviceReport::default() }];
    }
    let auto = found.iter().position(|facts| !facts.is_software);
    let report = |(i, facts): (usize, sam3i::engine::gpu::AdapterFacts)| DeviceReport {
        name: format!("gpu:{i}"),
        available: true,
        note: match facts.is_software {
            _ if auto == Some(i) => "what --device auto takes".to_owned(),
            true => "a program, no hardware: slow, for tests; auto never takes it".to_owned(),
            false => "taken by --device and its number or name".to_owned(),
        },
        dtypes: vec!["f32", "f16"],
        adapter: Some(Adapter {
            name: facts.name,
            kind: facts.kind,
            interface: facts.interface,
            driver: facts.driver,
            most_buffer_bytes: facts.most_buffer,
            most_binding_bytes: facts.most_binding,
            workgroup_memory_bytes: facts.most_shared,
            workgroup_threads: facts.most_threads,
            storage_bindings: facts.most_bindings,
            shader_f16: facts.f16,
            subgroup_sizes: facts.subgroups,
            cooperative_matrices: facts.matrices,
            timestamps: facts.timestamps,
        }),
        ..DeviceReport::default()
    };
    found.into_iter().enumerate().map(report).collect()
}

impl Adapter {
    fn features(&self) -> String {
        let subgroups = self.subgroup_sizes.map(|[least, most]| format!("subgroups of {least} to {most}"));
        let matrices = self.cooperative_matrices.iter().map(|n| format!("{n} x {n} matrices"));
        let all: Vec<_> =
            [self.shader_f16.then(|| "f16".to_owned()), subgroups].into_iter().flatten().collect();
        let all: Vec<_> = all.into_iter().chain(matrices).collect();
        if all.is_empty() { "none of ours".to_owned() } else { all.join(", ") }
    }

    fn limits(&self) -> String {
        let Self { most_buffer_bytes, most_binding_bytes, workgroup_memory_bytes, .. } = self;
        format!(
            "buffers {} MiB, bindings {} MiB, {} a kernel; workgroups {} KiB, {} threads",
            grouped(most_buffer_bytes >> 20),
            grouped(most_binding_bytes >> 20),
            self.storage_bindings,
            workgroup_memory_bytes >> 10,
            self.workgroup_threads
        )
    }
}

impl DeviceReport {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let available = if self.available { "" } else { "not available: " };
        writeln!(text, "{:<10} {available}{}", self.name, self.note)?;
        let mut line = |name: &str, value: Option<String>| match value {
            Some(value) => writeln!(text, "{:<10}   {name}: {value}", ""),
            None => Ok(()),
        };
        line("processor", self.processor.clone())?;
        line("cores", self.cores.map(|cores| cores.to_string()))?;
        line("adapter", self.adapter.as_ref().map(|a| format!("{} ({}, {})", a.name, a.kind, a.interface)))?;
        line("driver", self.adapter.as_ref().map(|a| a.driver.clone()))?;
        line("features", self.adapter.as_ref().map(Adapter::features))?;
        line("limits", self.adapter.as_ref().map(Adapter::limits))?;
        line("instruction sets", self.instruction_set.as_ref().map(|used| self.sets(used)))?;
        line("memory", self.memory_bytes.map(|bytes| self.memory(bytes)))?;
        line("computes in", self.dtypes.first().map(|_| self.dtypes.join(", ")))
    }

    fn sets(&self, used: &str) -> String {
        format!("{} (uses {used})", self.instruction_sets.join(", "))
    }

    fn memory(&self, bytes: u64) -> String {
        let free = self.memory_available_bytes;
        let free = free.map(|free| format!(", {} MiB of them available", grouped(free >> 20)));
        format!("{} MiB{}", grouped(bytes >> 20), free.unwrap_or_default())
    }
}

/// The value of the first line `key : value` of one of Linux's status files.
pub fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// The bytes of a line `key: N kB`.
pub fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let number = value_of(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_files_are_read_by_key() {
        let text = "MemTotal:       8 kB\nMemFree: x kB\nmodel name\t: Fast One\n";
        assert_eq!(kilobytes(text, "MemTotal"), Some(8192));
        assert_eq!(kilobytes(text, "MemFree"), None);
        assert_eq!(kilobytes(text, "Mem"), None);
        assert_eq!(value_of(text, "model name"), Some("Fast One"));
    }
}
