//! Where tensors live and which kernels run on them.

use crate::memory::{MemoryUse, Pool};
use crate::{DType, Error, Isa, Result};
use sam3i_kernels::isa::{Avx512Bf16, Avx512Vnni, Precision};
use std::fmt;
use std::sync::Arc;

/// A place where tensors live. Cheap to clone; two clones are the same device.
///
/// Tensors of different devices do not mix. Ops hand themselves to the GPU where the device is one, else choose their kernel
/// by [`Device::backend`].
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    kind: Kind,
    pool: Pool,
}

enum Kind {
    Reference,
    Cpu {
        isa: Isa,
        precision: Precision,
        int8: bool,
        threads: usize,
        pool: rayon::ThreadPool,
    },
    Shapes,
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::Gpu),
}

/// The kernels that run on a host device.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Backend {
    /// The plain loops that every other kernel is checked against.
    Reference,
    /// The fast CPU kernels.
    Cpu(Isa),
}

/// How a CPU device is to run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CpuOptions {
    /// Threads to use; every core of the machine if `None`.
    pub threads: Option<usize>,
    /// Instruction set to use; the widest this processor has if `None`.
    pub isa: Option<Isa>,
    /// Type of the products: `f32` if `None`. See [`Device::cpu`].
    pub dtype: Option<DType>,
}

impl CpuOptions {
    /// Uses this many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Uses this instruction set.
    #[must_use]
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// Computes products in this type.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }
}

impl Device {
    fn new(kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, pool: Pool::default() }))
    }

    /// The plain kernels, one thread: slow, and the oracle for every other device.
    #[must_use]
    pub fn reference() -> Self {
        Self::new(Kind::Reference)
    }

    /// The fast CPU kernels on a thread pool of their own.
    ///
    /// With the type `bf16`, weights are kept in bf16 and matrix products, convolutions and attention round their
    /// operands to it; sums, norms, softmax and everything between ops stay `f32`.
    ///
    /// With the type `int8`, linear layers round weights (once) and rows of activations (in each call) to 8 bits, except
    /// layers made with [`Matrix::new_f32`](crate::ops::matmul::Matrix::new_f32) and weights that 8 bits do not
    /// hold well ([`QuantisedWeight::new_if_close`](crate::ops::matmul::QuantisedWeight::new_if_close)); the other
    /// products are as with `bf16` where the processor has it, else `f32`. Every processor can; it pays with AVX-512
    /// VNNI.
    ///
    /// # Errors
    /// [`Error::Threads`] if the pool cannot be started; [`Error::NoInstructions`] for a type this processor (or the
    /// instruction set asked for) has no products in.
    pub fn cpu(options: &CpuOptions) -> Result<Self> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        let bf16 = Avx512Bf16::detect().filter(|_| Self::has_bf16(isa)).map(Precision::Bf16);
        let dtype = options.dtype.unwrap_or(DType::F32);
        let precision = match (dtype, bf16) {
            (DType::F32, _) => Precision::F32,
            (DType::Bf16 | DType::Int8, Some(bf16)) => bf16,
            (DType::Int8, None) => Precision::F32,
            _ => return Err(Error::NoInstructions { dtype, isa }),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or(cores).max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("sam3i-cpu-{i}"))
            .build()
            .map_err(|e| Error::Threads { threads, reason: e.to_string() })?;
        Ok(Self::new(Kind::Cpu { isa, precision, int8: dtype == DType::Int8, threads, pool }))
    }

    /// Whether this processor has bf16 products beside an instruction set.
    #[must_use]
    pub fn has_bf16(isa: Isa) -> bool {
        matches!(isa, Isa::Avx512(_)) && Avx512Bf16::detect().is_some()
    }

    /// Whether int8 products are fast beside an instruction set: this processor has AVX-512 VNNI.
    #[must_use]
    pub fn has_fast_int8(isa: Isa) -> bool {
        Avx512Vnni::beside(isa).is_some()
    }

    /// The type its products are computed in (of linear layers, where it is `int8`); of a GPU, the type their weights are
    /// stored in.
    #[must_use]
    pub fn dtype(&self) -> DType {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.as_gpu() {
            return gpu.dtype();
        }
        match self.precision() {
            _ if self.is_int8() => DType::Int8,
            Precision::Bf16(_) => DType::Bf16,
            _ => DType::F32,
        }
    }

    pub(crate) fn is_int8(&self) -> bool {
        matches!(self.0.kind, Kind::Cpu { int8: true, .. })
    }

    /// The type of products that are not int8.
    pub(crate) fn precision(&self) -> Precision {
        match self.0.kind {
            Kind::Cpu { precision, .. } => precision,
            _ => Precision::F32,
        }
    }

    /// A GPU.
    ///
    /// # Errors
    /// [`Error::NoGpu`] if there is none such, [`Error::GpuDType`] for bf16 weights, [`Error::GpuOption`] for a kernel or form that
    /// there is not, [`Error::Gpu`] if it does not start.
    #[cfg(feature = "gpu")]
    pub fn gpu(options: &crate::gpu::GpuOptions) -> Result<Self> {
        Ok(Self::new(Kind::Gpu(crate::gpu::Gpu::start(options)?)))
    }

    /// What is known of its adapter, if it is a GPU.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu_facts(&self) -> Option<&crate::gpu::AdapterFacts> {
        self.as_gpu().map(crate::gpu::Gpu::facts)
    }

    /// The device started anew: a GPU as it was asked for the first time, any other device itself.
    ///
    /// # Errors
    /// As for [`Device::gpu`].
    pub fn restarted(&self) -> Result<Self> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.as_gpu() {
            return Self::gpu(gpu.options());
        }
        Ok(self.clone())
    }

    /// Loses the GPU, as a reset of its driver would: for tests of what happens then.
    #[cfg(feature = "gpu")]
    #[doc(hidden)]
    pub fn lose_gpu(&self) {
        if let Some(gpu) = self.as_gpu() {
            gpu.lose();
        }
    }

    /// How it was started, if it is a GPU.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu_options(&self) -> Option<&crate::gpu::GpuOptions> {
        self.as_gpu().map(crate::gpu::Gpu::options)
    }

    /// The calls of ops with several forms that a GPU was asked for: the call as the cache of measurements names it, the form it ran in,
    /// and who chose that.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu_forms(&self) -> Vec<(String, &'static str, crate::gpu::Source)> {
        let seen = self.as_gpu().map(crate::gpu::Gpu::seen).unwrap_or_default();
        seen.into_iter().map(|(call, seen)| (call, seen.form, seen.source)).collect()
    }

    /// The forms a GPU has for a call, why it has not got the others, and the one it would run; `None` on other devices.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu_offers(&self, site: crate::gpu::Site) -> Option<crate::gpu::Offers> {
        self.as_gpu().map(|gpu| gpu.offers(site))
    }

    /// Whether a GPU was asked for a kernel of that name since it was started, and compiled it.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn has_compiled(&self, kernel: &str) -> bool {
        self.as_gpu().is_some_and(|gpu| gpu.has_compiled(kernel))
    }

    /// Measures the forms of every call a GPU was asked for, and uses the fastest from now on. A form runs only if it is
    /// `allowed` (op and form, as in [`crate::gpu::FORMS`]) and computes there what the portable one does. `tell` hears of each
    /// call. Nothing happens on other devices.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::GpuLost`], [`Error::GpuMemory`].
    #[cfg(feature = "gpu")]
    pub fn tune_gpu(
        &self,
        allowed: &dyn Fn(&str, &str) -> bool,
        tell: &mut dyn FnMut(&crate::gpu::Measured),
    ) -> Result<()> {
        match self.as_gpu() {
            Some(gpu) => crate::gpu::tune(self, gpu, allowed, tell),
            None => Ok(()),
        }
    }

    /// Writes what was measured to where [`GpuOptions::tuned`](crate::gpu::GpuOptions::tuned) says, whole or not at all; the file, if this is
    /// a GPU.
    ///
    /// # Errors
    /// [`Error::GpuOption`] if there is no place for it or it cannot be written.
    #[cfg(feature = "gpu")]
    pub fn store_tuned(&self) -> Result<Option<std::path::PathBuf>> {
        self.as_gpu().map(crate::gpu::Gpu::store_tuned).transpose()
    }

    /// Whether products with f16 weights run on matrix units: a GPU that has them, and one of their forms passes its trial, now if it was
    /// not tried before.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn has_matrix_units(&self) -> bool {
        self.as_gpu().is_some_and(|gpu| gpu.matrix_units().is_some())
    }

    /// Whether a form of `product`, `conv` or `attention` on matrix units is there and passes its trial, now if it was not tried before.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn has_form_on_matrix_units(&self, op: &str, form: &str) -> bool {
        self.as_gpu().is_some_and(|gpu| gpu.on_units(op, form).is_some())
    }

    /// Flops a second that the GPU's multiply-adds reach in registers, measured now: on matrix units if its weights are f16 and it
    /// has any, else in f32. `None` on other devices.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::GpuLost`], [`Error::GpuMemory`].
    #[cfg(feature = "gpu")]
    pub fn gpu_peak_flops(&self) -> Result<Option<f64>> {
        self.as_gpu().map(crate::gpu::peak::flops).transpose()
    }

    /// Bytes a second, read and written, of a copy that touches so many, measured now. `None` on other devices.
    ///
    /// # Errors
    /// As for [`Device::gpu_peak_flops`].
    #[cfg(feature = "gpu")]
    pub fn gpu_copy_rate(&self, bytes: u64) -> Result<Option<f64>> {
        self.as_gpu().map(|gpu| crate::gpu::peak::copied(gpu, bytes)).transpose()
    }

    /// Runs `f` and waits for it; what it gave, and what the GPU spent on it by its own clock, or the wait where it has none. `None` on
    /// other devices, where `f` does not run.
    ///
    /// # Errors
    /// Those of `f`; [`Error::Gpu`], [`Error::GpuLost`].
    #[cfg(feature = "gpu")]
    pub fn gpu_timed<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<Option<(R, std::time::Duration)>> {
        self.as_gpu().map(|gpu| gpu.timed(f)).transpose()
    }

    /// Has the GPU pretend from now on to have no more memory than this.
    #[cfg(feature = "gpu")]
    #[doc(hidden)]
    pub fn pretend_gpu_memory(&self, bytes: u64) {
        if let Some(gpu) = self.as_gpu() {
            gpu.pretend_memory(bytes);
        }
    }

    /// What the GPU was asked since it was started; nothing on other devices.
    #[cfg(feature = "gpu")]
    #[doc(hidden)]
    #[must_use]
    pub fn gpu_counts(&self) -> crate::gpu::GpuCounts {
        self.as_gpu().map(crate::gpu::Gpu::counts).unwrap_or_default()
    }

    #[cfg(feature = "gpu")]
    pub(crate) fn as_gpu(&self) -> Option<&crate::gpu::Gpu> {
        match &self.0.kind {
            Kind::Gpu(gpu) => Some(gpu),
            _ => None,
        }
    }

    /// Waits until it has done everything it was asked for; only a GPU has ever anything left to do.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::GpuLost`].
    pub fn finish(&self) -> Result<()> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.as_gpu() {
            return gpu.finish();
        }
        Ok(())
    }

    /// A device whose tensors have shapes and no values: for walking a model's structure without its weights.
    #[must_use]
    pub fn shapes_only() -> Self {
        Self::new(Kind::Shapes)
    }

    /// The host kernels of this device; `None` for the shape-only device and for a GPU.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        match &self.0.kind {
            Kind::Reference => Some(Backend::Reference),
            Kind::Cpu { isa, .. } => Some(Backend::Cpu(*isa)),
            _ => None,
        }
    }

    /// Whether tensors of this device have shapes only.
    #[must_use]
    pub fn is_shapes_only(&self) -> bool {
        matches!(self.0.kind, Kind::Shapes)
    }

    /// A short name: `reference`, `cpu`, `gpu`, `shapes`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.0.kind {
            Kind::Reference => "reference",
            Kind::Cpu { .. } => "cpu",
            Kind::Shapes => "shapes",
            #[cfg(feature = "gpu")]
            Kind::Gpu(_) => "gpu",
        }
    }

    /// Threads its kernels use.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.0.kind {
            Kind::Cpu { threads, .. } => threads,
            _ => 1,
        }
    }

    /// The tensor memory in use on this device; on the shape-only device, what its tensors would take.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.as_gpu() {
            return gpu.memory();
        }
        self.0.pool.usage()
    }

    /// Gives memory that is kept for reuse back to the system.
    pub fn trim(&self) {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.as_gpu() {
            gpu.trim();
        }
        self.0.pool.trim();
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Runs `f` where this device's threads are the current rayon pool.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.0.kind {
            Kind::Cpu { pool, .. } => pool.install(f),
            _ => f(),
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Device {}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Cpu { isa, threads, .. } => {
                write!(f, "cpu ({isa}, {threads} thread{})", if *threads == 1 { "" } else { "s" })
            }
            #[cfg(feature = "gpu")]
            Kind::Gpu(gpu) => write!(f, "gpu ({}, {})", gpu.facts().name, gpu.facts().interface),
            _ => f.write_str(self.name()),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}
