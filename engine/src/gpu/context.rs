//! A GPU in use: device and queue, its memory, compiled kernels and what is on its way.

use super::adapter::{self, AdapterFacts};
use super::forms::{Forms, Seen, Site};
use super::health::Health;
use super::memory::{self, Buffer, Pool, Raw, failed};
use super::ops::matrices::{self, MatrixUnits, Trials, UnitForm};
use super::pipelines::Pipelines;
use super::recorder::{Recorder, SLOT};
use super::{GpuBounds, GpuCounts, GpuOptions, Weight, tuned};
use crate::memory::MemoryUse;
use crate::{DType, Error, Result, trace};
use sam3i_kernels::gpu::{self, Constant, Kernel, MOST_GROUPS, Needs, folded};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A GPU. Cheap to clone: clones are the same.
#[derive(Clone)]
pub(crate) struct Gpu(Arc<Inner>);

pub(super) struct Inner {
    pub pool: Pool,
    device: wgpu::Device,
    facts: AdapterFacts,
    options: GpuOptions,
    dtype: DType,
    limits: wgpu::Limits,
    pipelines: Pipelines,
    forms: Forms,
    recorder: Mutex<Recorder>,
    health: Health,
    /// Bound where a kernel does not read an operand.
    nothing: Raw,
    staging: Mutex<Vec<wgpu::Buffer>>,
    /// What is known of the forms on matrix units.
    trials: Trials,
}

/// A dispatch.
pub(crate) struct Call<'a> {
    pub kernel: &'static Kernel,
    pub constants: &'a [Constant],
    pub params: &'a [u8],
    /// `None` where the kernel does not read the operand.
    pub inputs: &'a [Option<&'a Buffer>],
    pub output: &'a Buffer,
    pub groups: [u32; 3],
    /// Flops, about.
    pub work: u64,
}

impl Gpu {
    /// Starts the adapter that is asked for.
    pub fn start(options: &GpuOptions) -> Result<Self> {
        let dtype = options.dtype.unwrap_or(DType::F32);
        if !matches!(dtype, DType::F32 | DType::F16) {
            return Err(Error::GpuDType { dtype });
        }
        let (facts, adapter) = adapter::choose(options)?;
        let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        let mut features = wanted & adapter.features();
        if !facts.matrices.is_empty() {
            features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        }
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("sam3i"),
            required_features: features,
            required_limits: limits.clone(),
            // SAFETY: cooperative matrices are used only in shapes the adapter names, and in our own kernels.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| failed(&format!("starting {}", facts.name), e))?;
        let kernels = (Pipelines::new(&options.overrides)?, Forms::new(options, &facts)?);
        Ok(Self::of(device, &queue, facts, limits, dtype, options, kernels))
    }

    fn of(
        device: wgpu::Device,
        queue: &wgpu::Queue,
        facts: AdapterFacts,
        limits: wgpu::Limits,
        dtype: DType,
        options: &GpuOptions,
        (pipelines, forms): (Pipelines, Forms),
    ) -> Self {
        let health = Health::default();
        health.watch(&device);
        let recorder = Mutex::new(Recorder::new(&device, queue, &health, options.bounds.submissions));
        let nothing = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("nothing"),
            size: 16,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        Self(Arc::new(Inner {
            pool: Pool::new(options, &limits),
            facts,
            options: options.clone(),
            dtype,
            limits,
            pipelines,
            forms,
            recorder,
            health,
            nothing: Raw { number: 0, buffer: nothing },
            staging: Mutex::default(),
            trials: Trials::default(),
            device,
        }))
    }

    /// How it was started.
    pub fn options(&self) -> &GpuOptions {
        &self.0.options
    }

    /// What is known of its adapter.
    pub fn facts(&self) -> &AdapterFacts {
        &self.0.facts
    }

    /// The type weights of products are stored in.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Its memory in use.
    pub fn memory(&self) -> MemoryUse {
        self.0.pool.usage()
    }

    /// Gives memory that is kept for reuse back.
    pub fn trim(&self) {
        self.0.pool.trim();
        self.recorder().trim();
    }

    fn recorder(&self) -> std::sync::MutexGuard<'_, Recorder> {
        self.0.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A result; where it is an error and the device turns out to be lost, that one, for it explains the other.
    fn or_lost<T>(&self, result: Result<T>) -> Result<T> {
        result.or_else(|error| {
            drop(self.0.device.poll(wgpu::PollType::Poll)); // lets the news arrive
            self.0.health.check()?;
            Err(error)
        })
    }

    /// What is asked of it at a time.
    pub fn bounds(&self) -> GpuBounds {
        self.0.options.bounds
    }

    /// Workgroups for `n` items, so many a workgroup, folded over two axes where one is too short.
    pub fn line(&self, n: usize, each: u32) -> [u32; 3] {
        folded(n, each, self.bounds().groups)
    }

    /// Memory for so many words, with unspecified contents.
    pub fn buffer(&self, words: usize) -> Result<Buffer> {
        let bytes = 4 * words as u64;
        match self.0.pool.reuse(bytes) {
            Some(raw) => Ok(Buffer::new(raw, self.0.clone())),
            None => self.or_lost(self.fresh(bytes, false)),
        }
    }

    /// Memory with these values. It must be fresh: what is written to it is there before anything that has been recorded and
    /// not submitted, so an old one's readers would see it too early.
    pub fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Result<Buffer> {
        let bytes = bytemuck::cast_slice(values);
        let buffer = self.or_lost(self.fresh(bytes.len() as u64, true))?;
        self.or_lost(memory::fill(&buffer.raw().buffer, bytes))?;
        self.recorder().uploaded(bytes.len())?;
        Ok(buffer)
    }

    /// A new buffer. What is kept for reuse makes room for it; where the driver has no more memory, all of it.
    fn fresh(&self, bytes: u64, mapped: bool) -> Result<Buffer> {
        let (pool, device) = (&self.0.pool, &self.0.device);
        pool.make_room(bytes)?;
        self.forget_gone();
        let made = match pool.create(device, bytes, mapped) {
            Err(Error::GpuMemory { .. }) => {
                pool.trim();
                self.forget_gone();
                self.finish()?; // until then the driver has it all in use
                pool.create(device, bytes, mapped)
            }
            made => made,
        };
        Ok(Buffer::new(made?, self.0.clone()))
    }

    /// Forgets the bind groups of buffers that were given up: they hold on to them.
    fn forget_gone(&self) {
        let gone = self.0.pool.gone();
        if !gone.is_empty() {
            self.recorder().forget(&gone);
        }
    }

    /// A weight `[rows, k]` of a product, in the device's type, or in f32 where that is asked for.
    pub fn weight(&self, k: usize, values: &[f32], in_f32: bool) -> Result<Weight> {
        Weight::new(self, k, values, self.0.dtype == DType::F16 && !in_f32)
    }

    /// A form on matrix units by its op and name, and with what matrices it runs. It is tried now, if it was not before; none if it
    /// failed, or there is no such form.
    pub fn on_units(&self, op: &str, form: &str) -> Option<(MatrixUnits, &'static UnitForm)> {
        self.0.trials.passed(self, op, form)
    }

    /// The matrices of products, in the first of their forms that passes its trial.
    pub fn matrix_units(&self) -> Option<MatrixUnits> {
        let products = matrices::names(self, "product").find_map(|form| self.on_units("product", form));
        products.map(|(units, _)| units)
    }

    /// Whether a form that is offered may run: if it is on matrix units, only if it passes its trial.
    pub fn is_right(&self, op: &str, form: &str) -> bool {
        matrices::unit_form(op, form).is_none() || self.on_units(op, form).is_some()
    }

    /// The form a call runs in, see [`Forms::choose`].
    pub fn form(&self, site: Site, offered: &[&'static str], rule: &[&'static str]) -> &'static str {
        self.0.forms.choose(site, offered, rule, &|form| self.is_right(site.op(), form))
    }

    /// How it chooses forms.
    pub(super) fn forms(&self) -> &Forms {
        &self.0.forms
    }

    /// The calls that were made, and the forms they ran in.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        self.0.forms.seen()
    }

    /// Writes what was measured to where this device's measurements are kept.
    pub fn store_tuned(&self) -> Result<PathBuf> {
        tuned::write(&self.0.options.tuned, self.facts(), self.0.forms.tuned())
    }

    /// Whether this device can run a kernel with these constants: wgpu does not check all of it.
    pub fn fits(&self, kernel: &Kernel, constants: &[Constant]) -> bool {
        self.lacks(kernel, constants).is_none()
    }

    /// What a kernel with these constants needs that this device has not got.
    pub fn lacks(&self, kernel: &Kernel, constants: &[Constant]) -> Option<String> {
        let (limits, facts) = (&self.0.limits, self.facts());
        let Needs { f16, subgroups, matrices, shared } = kernel.needs;
        let (threads, side) = (kernel.threads_with(constants), gpu::value(constants, "SIDE"));
        let more = |what: &str, wanted: u32, most: u32| {
            (wanted > most).then(|| format!("needs {wanted} {what}, and there are {most}"))
        };
        let without = |needed: bool, what: &str| needed.then(|| format!("needs {what}"));
        without(f16 && !facts.f16, "f16 in kernels")
            .or_else(|| without(subgroups && facts.subgroups.is_none(), "subgroup operations"))
            .or_else(|| {
                let has = side.is_some_and(|side| facts.matrices.contains(&side));
                without(matrices && !has, "cooperative matrices of its side")
            })
            .or_else(|| more("bytes of workgroup memory", shared, limits.max_compute_workgroup_storage_size))
            .or_else(|| more("threads a workgroup", threads, limits.max_compute_invocations_per_workgroup))
            .or_else(|| more("threads in a row", threads, limits.max_compute_workgroup_size_x))
            .or_else(|| {
                let bindings = kernel.inputs as u32 + 1;
                more("storage bindings", bindings, limits.max_storage_buffers_per_shader_stage)
            })
            .or_else(|| more("bytes of parameters", kernel.params.size as u32, SLOT as u32))
    }

    /// Whether a kernel of that name was asked for, and compiled.
    pub fn has_compiled(&self, kernel: &str) -> bool {
        self.0.pipelines.has(kernel)
    }

    /// Records a dispatch. Nothing happens if it has no workgroups.
    pub fn dispatch(&self, call: &Call) -> Result<()> {
        if call.groups.contains(&0) {
            return Ok(());
        }
        let kernel = call.kernel;
        let refused = |reason: String| Error::Gpu { what: kernel.name.to_owned(), reason };
        if let Some(lacking) = self.lacks(kernel, call.constants) {
            return Err(refused(format!("it {lacking} on {}", self.facts().name)));
        }
        if call.groups.iter().any(|&n| n > MOST_GROUPS) {
            return Err(refused(format!("{:?} workgroups are more than a dispatch may have", call.groups)));
        }
        debug_assert_eq!((call.params.len(), call.inputs.len()), (kernel.params.size, kernel.inputs));
        let pipeline = self.or_lost(self.0.pipelines.get(&self.0.device, kernel, call.constants))?;
        let inputs = call.inputs.iter().map(|input| input.map_or(&self.0.nothing, Buffer::raw));
        let buffers: Vec<_> = inputs.chain([call.output.raw()]).collect();
        let most = self.0.limits.max_storage_buffer_binding_size;
        if let Some(large) = buffers.iter().find(|raw| raw.buffer.size() > most) {
            let (size, most) = (large.buffer.size() >> 20, most >> 20);
            return Err(refused(format!(
                "a tensor of {size} MiB is larger than the {most} MiB a kernel sees"
            )));
        }
        self.0.health.note(kernel.name);
        let mut recorder = self.recorder();
        recorder.time(trace::is_watched())?;
        recorder.dispatch(&pipeline, call.params, &buffers, call.groups, call.work)
    }

    /// Waits until all that was recorded is done.
    pub fn finish(&self) -> Result<()> {
        self.recorder().finish()
    }

    /// Waits if somebody watches, so that an op's time is its own, and tells what of it the GPU took.
    pub fn settle_if_watched(&self) -> Result<()> {
        if trace::is_watched() {
            self.finish()?;
            trace::add_gpu_time(self.recorder().take_time());
        }
        Ok(())
    }

    /// What the GPU spends on what `f` records, waits included where it does not tell.
    pub fn timed<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<(R, Duration)> {
        struct Unheard;
        impl trace::Observer for Unheard {}
        self.finish()?;
        self.recorder().take_time();
        let start = Instant::now();
        let result = trace::observe(Arc::new(Unheard), f)?;
        self.finish()?;
        let waited = start.elapsed();
        let told = self.recorder().take_time();
        Ok((result, told.unwrap_or(waited)))
    }

    /// Words of a buffer, once all that was recorded is done.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &Buffer, first: usize, len: usize) -> Result<Vec<T>> {
        self.read_all(&[(buffer, first, len)])
    }

    /// Words of several buffers, one after the other, once all that was recorded is done: buffers, where to begin, how many.
    pub fn read_all<T: bytemuck::Pod>(&self, parts: &[(&Buffer, usize, usize)]) -> Result<Vec<T>> {
        let bytes = parts.iter().map(|(.., len)| 4 * *len as u64).sum();
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let staging = self.staging(bytes);
        let copied = self.recorder().read_with(bytes, |encoder| {
            let mut at = 0;
            for &(buffer, first, len) in parts.iter().filter(|(.., len)| *len > 0) {
                let bytes = 4 * len as u64;
                encoder.copy_buffer_to_buffer(&buffer.raw().buffer, 4 * first as u64, &staging, at, bytes);
                at += bytes;
            }
        })?;
        let (tell, told) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            drop(tell.send(result)); // nobody listens only if we failed
        });
        // Whatever other threads wait for, this one asks by itself: news of a mapping comes to those who ask after it
        // was wanted, and another thread may have waited for this very copy before that.
        let wait = wgpu::PollType::Wait { submission_index: Some(copied), timeout: None };
        let waited = self.0.device.poll(wait);
        self.0.health.check()?;
        waited.map_err(|e| failed("waiting for the GPU", e))?;
        told.recv().map_err(|e| failed("reading back", e))?.map_err(|e| failed("reading back", e))?;
        let values = {
            let view = staging.get_mapped_range(0..bytes).map_err(|e| failed("reading back", e))?;
            bytemuck::pod_collect_to_vec(&view[..])
        };
        staging.unmap();
        self.0.staging.lock().unwrap_or_else(PoisonError::into_inner).push(staging);
        Ok(values)
    }

    /// A buffer the host can read, an old one if one is large enough.
    fn staging(&self, bytes: u64) -> wgpu::Buffer {
        const KEPT: usize = 4;
        let mut kept = self.0.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = kept.iter().position(|b| b.size() >= bytes && b.size() <= (4 * bytes).max(1 << 16)) {
            return kept.swap_remove(i);
        }
        kept.truncate(KEPT - 1);
        self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size: bytes.next_multiple_of(256),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// What it was asked so far.
    pub fn counts(&self) -> GpuCounts {
        self.recorder().counts()
    }

    /// Has it pretend to have no more memory than this.
    pub fn pretend_memory(&self, bytes: u64) {
        self.0.pool.pretend(bytes);
    }

    /// Gives the device up, so that whatever comes next finds it lost.
    pub fn lose(&self) {
        self.0.device.destroy();
    }
}
