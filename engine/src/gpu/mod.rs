//! The GPU device: everything that knows wgpu.
//!
//! The kernels are WGSL text in `sam3i-kernels`; here they are compiled, given buffers and run. docs/gpu.md tells how a
//! dispatch happens. Without the feature `gpu` none of it is compiled and [`crate::Device`] has no GPU.

#[cfg(feature = "gpu")]
mod adapter;
#[cfg(feature = "gpu")]
mod context;
#[cfg(feature = "gpu")]
mod forms;
#[cfg(feature = "gpu")]
mod health;
#[cfg(feature = "gpu")]
mod memory;
#[cfg(feature = "gpu")]
mod offers;
#[cfg(feature = "gpu")]
pub(crate) mod ops;
#[cfg(feature = "gpu")]
mod options;
#[cfg(feature = "gpu")]
mod pace;
#[cfg(feature = "gpu")]
pub(crate) mod peak;
#[cfg(feature = "gpu")]
mod pipelines;
#[cfg(feature = "gpu")]
mod recorder;
#[cfg(feature = "gpu")]
mod timer;
#[cfg(feature = "gpu")]
mod tuned;
#[cfg(feature = "gpu")]
mod tuning;
#[cfg(feature = "gpu")]
mod weight;

#[cfg(feature = "gpu")]
pub use adapter::{AdapterFacts, adapters};
#[cfg(feature = "gpu")]
pub(crate) use context::{Call, Gpu};
#[cfg(feature = "gpu")]
pub use forms::{FORMS, Site, Source};
#[cfg(feature = "gpu")]
pub(crate) use memory::Buffer;
#[cfg(feature = "gpu")]
pub use offers::{Form, Offers};
#[cfg(feature = "gpu")]
pub use options::{GpuBounds, GpuChoice, GpuCounts, GpuOptions};
#[cfg(feature = "gpu")]
pub use tuned::TunedForms;
#[cfg(feature = "gpu")]
pub use tuning::Measured;
#[cfg(feature = "gpu")]
pub(crate) use tuning::tune;
#[cfg(feature = "gpu")]
pub(crate) use weight::Weight;

/// Returns what a GPU makes of an op if the device is one: `on_gpu!(x.device(), |gpu| gpu::ops::softmax(gpu, &x));`. Nothing
/// without the feature `gpu`.
macro_rules! on_gpu {
    ($device:expr, |$gpu:ident| $call:expr) => {
        #[cfg(feature = "gpu")]
        if let Some($gpu) = $device.as_gpu() {
            let result = $call;
            $gpu.settle_if_watched()?;
            return result;
        }
    };
}
pub(crate) use on_gpu;
