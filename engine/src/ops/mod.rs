//! The ops: one file each, plain functions over tensors.
//!
//! Every op checks its operands and returns an error that names itself and their shapes; then it runs the kernel
//! of the tensor's device. Unless an op says otherwise its operands may be strided views (they are made
//! contiguous first) and its result is a new contiguous `f32` tensor.

pub mod attention;
pub mod conv;
pub mod conv_transpose;
pub mod copy;
pub mod matmul;
mod prepared;
pub mod softmax;

pub use sam3i_kernels::matmul::Activation;

use crate::{Error, Result, Tensor};

/// Fails unless all operands live on one device.
pub(crate) fn same_device(op: &'static str, operands: &[&Tensor]) -> Result<()> {
    let Some((first, rest)) = operands.split_first() else { return Ok(()) };
    if rest.iter().all(|t| t.device() == first.device()) {
        return Ok(());
    }
    let devices = operands.iter().map(|t| t.device().to_string()).collect::<Vec<_>>().join(", ");
    Err(Error::DeviceMismatch { op, devices })
}

/// The values of a contiguous operand of a kernel; an empty slice on the shape-only device, where none runs.
pub(crate) fn values(t: &Tensor) -> Result<&[f32]> {
    if t.device().is_shapes_only() { Ok(&[]) } else { t.host() }
}
