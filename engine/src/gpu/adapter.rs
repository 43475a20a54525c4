//! Which GPUs there are, and which one is taken.

use super::{GpuChoice, GpuOptions};
use crate::{Error, Result};

/// What is known of an adapter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterFacts {
    /// Its name, as its driver gives it.
    pub name: String,
    /// The interface it is reached by: `vulkan`, `metal`, `dx12`.
    pub interface: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// The driver and its version.
    pub driver: String,
    /// Whether it is no hardware but a program.
    pub is_software: bool,
    /// The vendor's number.
    pub vendor: u32,
    /// The device's number.
    pub device: u32,
    /// Whether shaders may use f16.
    pub f16: bool,
    /// The smallest and largest subgroup, if it has subgroup operations.
    pub subgroups: Option<[u32; 2]>,
    /// Sides of the cooperative matrices it multiplies in f16 and sums in f32.
    pub matrices: Vec<u32>,
    /// Whether it tells how long kernels take.
    pub timestamps: bool,
    /// Bytes of the largest buffer.
    pub most_buffer: u64,
    /// Bytes of the largest tensor a kernel can see.
    pub most_binding: u64,
    /// Bytes of workgroup memory.
    pub most_shared: u32,
    /// Threads of a workgroup.
    pub most_threads: u32,
    /// Buffers a kernel can see.
    pub most_bindings: u32,
}

impl AdapterFacts {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let driver = [info.driver, info.driver_info].join(" ").trim().to_owned();
        Self {
            interface: info.backend.to_string(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "software",
                wgpu::DeviceType::Other => "other",
            },
            is_software: info.device_type == wgpu::DeviceType::Cpu,
            name: info.name,
            driver,
            vendor: info.vendor,
            device: info.device,
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            matrices: matrices(adapter),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            most_buffer: limits.max_buffer_size,
            most_binding: limits.max_storage_buffer_binding_size,
            most_shared: limits.max_compute_workgroup_storage_size,
            most_threads: limits.max_compute_invocations_per_workgroup,
            most_bindings: limits.max_storage_buffers_per_shader_stage,
        }
    }

    fn rank(&self) -> usize {
        ["discrete", "integrated", "virtual", "other", "software"]
            .iter()
            .position(|&kind| kind == self.kind)
            .unwrap_or(usize::MAX)
    }
}

/// Sides of the square f16 matrices with f32 sums that the adapter says it has. Nobody else checks that a kernel keeps to
/// them.
fn matrices(adapter: &wgpu::Adapter) -> Vec<u32> {
    if !adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return Vec::new();
    }
    let fits = |p: &wgpu::CooperativeMatrixProperties| {
        p.m_size == p.n_size
            && p.m_size == p.k_size
            && matches!(p.m_size, 8 | 16)
            && p.ab_type == wgpu::CooperativeScalarType::F16
            && p.cr_type == wgpu::CooperativeScalarType::F32
    };
    adapter.cooperative_matrix_properties().iter().filter(|p| fits(p)).map(|p| p.m_size).collect()
}

/// The adapter that computes nothing, with WebGPU's default limits.
fn noop() -> Vec<(AdapterFacts, wgpu::Adapter)> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        features: Some(wgpu::Features::SUBGROUP),
        limits: Some(wgpu::Limits::default()),
        ..wgpu::NoopBackendOptions::enabled()
    };
    of_instance(&wgpu::Instance::new(descriptor))
}

fn of_instance(instance: &wgpu::Instance) -> Vec<(AdapterFacts, wgpu::Adapter)> {
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.into_iter().map(|a| (AdapterFacts::of(&a), a)).collect()
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    wgpu::Instance::new(descriptor)
}

/// All adapters, best first: discrete, integrated, virtual, others, software.
fn enumerate() -> Vec<(AdapterFacts, wgpu::Adapter)> {
    let mut found = of_instance(&instance());
    found.sort_by_key(|(facts, _)| facts.rank());
    found
}

/// The GPUs of this machine, best first; their places are the numbers of [`GpuChoice::Number`].
#[must_use]
pub fn adapters() -> Vec<AdapterFacts> {
    enumerate().into_iter().map(|(facts, _)| facts).collect()
}

/// The adapter that is asked for.
pub(super) fn choose(options: &GpuOptions) -> Result<(AdapterFacts, wgpu::Adapter)> {
    let found = if options.choice == GpuChoice::Noop { noop() } else { enumerate() };
    let names: Vec<_> = found.iter().map(|(facts, _)| facts.name.clone()).collect();
    let all: Vec<AdapterFacts> = found.iter().map(|(facts, _)| facts.clone()).collect();
    pick(&all, &options.choice)
        .and_then(|i| found.into_iter().nth(i))
        .ok_or_else(|| Error::NoGpu { wanted: wanted(&options.choice), found: listed(&names) })
}

/// The place of the adapter that is asked for.
fn pick(found: &[AdapterFacts], choice: &GpuChoice) -> Option<usize> {
    match choice {
        GpuChoice::Best | GpuChoice::Noop => (!found.is_empty()).then_some(0),
        GpuChoice::Hardware => found.iter().position(|facts| !facts.is_software),
        GpuChoice::Number(number) => (*number < found.len()).then_some(*number),
        GpuChoice::Name(name) => {
            let name = name.to_lowercase();
            found.iter().position(|facts| facts.name.to_lowercase().contains(&name))
        }
    }
}

fn wanted(choice: &GpuChoice) -> String {
    match choice {
        GpuChoice::Best => "a GPU".to_owned(),
        GpuChoice::Noop => "a GPU that computes nothing".to_owned(),
        GpuChoice::Hardware => "a GPU that is no software".to_owned(),
        GpuChoice::Number(number) => format!("GPU {number}"),
        GpuChoice::Name(name) => format!("a GPU named {name:?}"),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none, or no driver for Vulkan, Metal or DX12 is installed".to_owned();
    }
    names.iter().enumerate().map(|(i, name)| format!("{i}: {name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, is_software: bool) -> AdapterFacts {
        AdapterFacts {
            name: name.to_owned(),
            interface: "vulkan".to_owned(),
            kind: if is_software { "software" } else { "discrete" },
            driver: String::new(),
            is_software,
            vendor: 0,
            device: 0,
            f16: false,
            subgroups: None,
            matrices: Vec::new(),
            timestamps: false,
            most_buffer: 1 << 28,
            most_binding: 1 << 27,
            most_shared: 1 << 14,
            most_threads: 256,
            most_bindings: 8,
        }
    }

    #[test]
    fn adapters_are_picked_by_rank_number_and_name() {
        let found = [facts("Big Card 9000", false), facts("llvmpipe", true)];
        assert_eq!(pick(&found, &GpuChoice::Best), Some(0));
        assert_eq!(pick(&found, &GpuChoice::Number(1)), Some(1));
        assert_eq!(pick(&found, &GpuChoice::Number(2)), None);
        assert_eq!(pick(&found, &GpuChoice::Name("LLVM".to_owned())), Some(1));
        assert_eq!(pick(&found, &GpuChoice::Name("other".to_owned())), None);
    }

    #[test]
    fn software_is_no_hardware() {
        let found = [facts("llvmpipe", true)];
        assert_eq!(pick(&found, &GpuChoice::Hardware), None);
        assert_eq!(pick(&found, &GpuChoice::Best), Some(0));
        assert_eq!(pick(&[], &GpuChoice::Best), None);
    }
}
