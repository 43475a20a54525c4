//! How a GPU device is to run.

use super::TunedForms;
use crate::DType;
use sam3i_kernels::gpu::MOST_GROUPS;
use std::collections::BTreeMap;

/// Which adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuChoice {
    /// The best: discrete, then integrated, then virtual, then software.
    #[default]
    Best,
    /// The best that is no software.
    Hardware,
    /// The one with this number in [`super::adapters`].
    Number(usize),
    /// The first whose name contains this, whatever the case.
    Name(String),
    /// None: every call is checked against WebGPU's default limits and nothing is computed, so that all results are zeros. For
    /// tests of what is recorded, and to learn how much memory a model takes.
    Noop,
}

/// How a GPU device is to run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Which adapter.
    pub choice: GpuChoice,
    /// How weights of products are stored: `f32` if `None`, or `f16`. Activations are `f32`.
    pub dtype: Option<DType>,
    /// Most bytes of GPU memory to take; no bound of our own if `None`.
    pub budget: Option<u64>,
    /// WGSL texts to run in place of ours, by the name of the kernel (see `sam3i_kernels::gpu::all`).
    pub overrides: BTreeMap<String, String>,
    /// Forms to run ops in, by the names of [`super::FORMS`], where a call has them.
    pub forms: BTreeMap<String, String>,
    /// Where measurements of the forms are kept.
    pub tuned: TunedForms,
    /// What is asked of the GPU at a time.
    #[doc(hidden)]
    pub bounds: GpuBounds,
}

/// Bounds of ours on what is asked of a GPU at a time. Tests make them tiny, so that small operands take every way that large
/// ones take.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuBounds {
    /// Flops of a dispatch, so that even a slow GPU is done with it in a fraction of a second: products and attention are
    /// cut into bands.
    pub work: u64,
    /// Workgroups along the first axis of a dispatch, from which on they are folded over two.
    pub groups: u32,
    /// Submissions after which it is lost.
    pub submissions: u64,
}

/// What a GPU was asked since it was started.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuCounts {
    /// Submissions.
    pub submissions: u64,
    /// How often somebody waited for values.
    pub reads: u64,
    /// Bytes of those.
    pub read_bytes: u64,
}

impl Default for GpuBounds {
    fn default() -> Self {
        Self { work: 32_000_000_000, groups: MOST_GROUPS, submissions: u64::MAX }
    }
}

impl GpuOptions {
    /// Uses this adapter.
    #[must_use]
    pub fn choice(mut self, choice: GpuChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Stores weights of products in this type.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// Runs this WGSL text in place of our kernel of that name. It has to keep the kernel's bindings, parameters and header
    /// constants; it is compiled with wgpu's checks of bounds and loops.
    #[must_use]
    pub fn override_kernel(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.overrides.insert(name.into(), source.into());
        self
    }

    /// Runs an op in this form, where a call has it, whatever was measured.
    #[must_use]
    pub fn form(mut self, op: impl Into<String>, form: impl Into<String>) -> Self {
        self.forms.insert(op.into(), form.into());
        self
    }

    /// Keeps measurements there.
    #[must_use]
    pub fn tuned(mut self, place: TunedForms) -> Self {
        self.tuned = place;
        self
    }

    /// Asks at most this of the GPU at a time.
    #[doc(hidden)]
    #[must_use]
    pub fn bounds(mut self, bounds: GpuBounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Takes at most so many bytes of GPU memory.
    #[must_use]
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = Some(bytes);
        self
    }
}
