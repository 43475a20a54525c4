//! The tensor engine of sam3i: tensors, devices, memory, ops, weight files and the trace.
//!
//! An op ([`ops`]) checks shapes, chooses the kernel for the tensor's device and runs it; the arithmetic itself is
//! in the crate `sam3i-kernels`. The engine knows nothing of the model above it.

mod clock;
mod device;
mod dtype;
mod error;
pub mod gpu;
mod memory;
pub mod ops;
mod second;
mod tensor;
pub mod trace;
pub mod weights;

pub use clock::processor_time;
pub use device::{Backend, CpuOptions, Device};
pub use dtype::DType;
pub use error::{Error, Result};
pub use memory::MemoryUse;
pub use sam3i_kernels::isa::{ISA_VARIABLE, Isa};
pub use second::Compared;
pub use tensor::Tensor;
