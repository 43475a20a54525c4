//! Compiled kernels, each compiled once for a device.

use crate::{Error, Result};
use sam3i_kernels::gpu::{self, Constant, Kernel};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Set (to anything) to compile kernels with wgpu's checks of bounds and loops: slower, for hunting a kernel's mistake.
pub(super) const CHECKED_VARIABLE: &str = "SAM3I_GPU_CHECKED";

/// A compiled kernel.
pub(super) struct Pipeline {
    /// Its number, for keys.
    pub number: usize,
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

type Key = (&'static str, Vec<Constant>);

/// All compiled kernels of a device.
pub(super) struct Pipelines {
    made: Mutex<HashMap<Key, Arc<Pipeline>>>,
    checked: bool,
    /// Texts of the user's in place of ours.
    overrides: BTreeMap<String, String>,
}

impl Pipelines {
    /// None compiled yet; these texts take the place of our kernels of that name.
    ///
    /// # Errors
    /// [`Error::GpuOption`] for a name that no kernel has.
    pub fn new(overrides: &BTreeMap<String, String>) -> Result<Self> {
        let names: Vec<_> = gpu::all().iter().map(|kernel| kernel.name).collect();
        if let Some(unknown) = overrides.keys().find(|name| !names.contains(&name.as_str())) {
            let reason = format!("there is no such kernel; the kernels are {}", names.join(", "));
            return Err(Error::GpuOption { what: format!("replacing {unknown}"), reason });
        }
        let checked = std::env::var_os(CHECKED_VARIABLE).is_some();
        Ok(Self { made: Mutex::default(), checked, overrides: overrides.clone() })
    }

    /// The kernel with these constants, compiled if it was not yet.
    pub fn get(
        &self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &[Constant],
    ) -> Result<Arc<Pipeline>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kernel.name, constants.to_vec());
        if let Some(pipeline) = made.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.compile(device, kernel, constants, made.len())?);
        made.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// Whether a kernel has been compiled, in any of its variants.
    pub fn has(&self, kernel: &str) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.keys().any(|(name, _)| *name == kernel)
    }

    fn compile(
        &self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &[Constant],
        number: usize,
    ) -> Result<Pipeline> {
        // Those that it lists are validated without a GPU, in every language.
        debug_assert!(
            kernel.lists(constants),
            "{} does not list {constants:?} among its variants",
            kernel.name
        );
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let layout = layout(device, kernel);
        let module = self.module(device, kernel, constants)?;
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(kernel.name),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            })),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                zero_initialize_workgroup_memory: false, // kernels write before they read
            },
            cache: None,
        });
        match pollster::block_on(scope.pop()) {
            None => Ok(Pipeline { number, pipeline, layout }),
            Some(error) if self.overrides.contains_key(kernel.name) => {
                Err(Error::KernelText { kernel: kernel.name, reason: words_of_compiler(&error.to_string()) })
            }
            Some(error) => Err(Error::Gpu {
                what: format!("compiling {} {constants:?}", kernel.name),
                reason: error.to_string(),
            }),
        }
    }

    fn module(
        &self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &[Constant],
    ) -> Result<wgpu::ShaderModule> {
        let replaced = self.overrides.get(kernel.name);
        let text = match replaced {
            None => kernel.specialised(constants),
            Some(text) => gpu::specialised(text, constants).map_err(|constant| Error::KernelText {
                kernel: kernel.name,
                reason: format!("the text needs the line `const {constant}: ..;` at its top, as ours has it"),
            })?,
        };
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source: wgpu::ShaderSource::Wgsl(text) };
        if self.checked || replaced.is_some() {
            return Ok(device.create_shader_module(descriptor));
        }
        // SAFETY: the kernels are our own. Their loops end, and they keep to their operands' bounds, which the ops check
        // before every call; tests run them with the checks on as well.
        let module = unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        };
        Ok(module)
    }
}

/// What a compiler said, without wgpu's account of where it was asked: from the sentence that begins with `Shader` to the next empty
/// line, or what is indented most.
fn words_of_compiler(told: &str) -> String {
    match told.find("\nShader ") {
        Some(at) => told[at..].trim_start().split("\n\n").next().unwrap_or_default().trim_end().to_owned(),
        None => told[told.find("\n      ").unwrap_or(0)..].trim().to_owned(),
    }
}

/// Parameters at a moving offset, then operands to read, then the result.
fn layout(device: &wgpu::Device, kernel: &Kernel) -> wgpu::BindGroupLayout {
    let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty,
        count: None,
    };
    let storage = |read_only| wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Storage { read_only },
        has_dynamic_offset: false,
        min_binding_size: None,
    };
    let parameters = wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: true,
        min_binding_size: wgpu::BufferSize::new(kernel.params.size as u64),
    };
    let mut entries = vec![entry(0, parameters)];
    entries.extend((1..=kernel.inputs).map(|i| entry(i, storage(true))));
    entries.push(entry(kernel.inputs + 1, storage(false)));
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name),
        entries: &entries,
    })
}

#[cfg(test)]
mod tests {
    use super::words_of_compiler;

    #[test]
    fn a_compilers_words_are_told_with_their_line_and_once() {
        let typed = "Validation Error\n\nCaused by:\n  In Device::create_shader_module\n    \nShader validation error: main is \
                     invalid\n  x softmax:64:15\n64 | let\n\n\n      Expression [3] is invalid\n";
        assert_eq!(
            words_of_compiler(typed),
            "Shader validation error: main is invalid\n  x softmax:64:15\n64 | let"
        );
        let bound =
            "Validation Error\n\nCaused by:\n  In Device\n    Error matching\n      Binding is missing\n";
        assert_eq!(words_of_compiler(bound), "Binding is missing");
        assert_eq!(words_of_compiler("out of memory"), "out of memory");
    }
}
