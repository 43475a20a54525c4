//! The ops: one file each, plain functions over tensors.
//!
//! Every op checks its operands and returns an error that names itself and their shapes; then it runs the kernel
//! of the tensor's device. Unless an op says otherwise its operands may be strided views (they are made
//! contiguous first) and its result is a new contiguous `f32` tensor.

pub mod attention;
pub mod concat;
pub mod conv;
pub mod conv_transpose;
pub mod copy;
pub mod elementwise;
pub mod embedding;
pub mod grid_sample;
pub mod group_norm;
pub mod layer_norm;
pub mod matmul;
pub mod mean_rows;
pub mod pool;
mod prepared;
pub mod resize;
pub mod roi_align;
pub mod rope;
pub mod sine;
pub mod softmax;
pub mod window;

pub use sam3i_kernels::matmul::Activation;

use crate::{Backend, DType, Error, Result, Tensor};

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

/// A contiguous operand whose values the host needs to plan the op: itself, or a copy of what a GPU computed.
pub(crate) fn on_host(t: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "gpu")]
    if t.device().as_gpu().is_some() && t.host().is_err() {
        return Tensor::from_vec(&crate::Device::reference(), t.shape(), t.to_vec()?);
    }
    Ok(t.clone())
}

/// Fails unless the operand has `f32` storage.
pub(crate) fn check_f32(op: &'static str, t: &Tensor) -> Result<()> {
    match t.dtype() {
        DType::F32 => Ok(()),
        dtype => Err(Error::DType { op, dtype }),
    }
}

/// The operand of a kernel: `f32`, and contiguous.
pub(crate) fn operand(op: &'static str, t: &Tensor) -> Result<Tensor> {
    check_f32(op, t)?;
    t.contiguous()
}

/// Fails unless the operand is `f32` and has the shape the op says it must have.
pub(crate) fn check_shape(
    op: &'static str,
    name: &str,
    t: &Tensor,
    shape: &[usize],
    x: &Tensor,
) -> Result<()> {
    check_f32(op, t)?;
    if t.shape() == shape {
        return Ok(());
    }
    Err(Error::shape(op, format!("{name} must be {shape:?}"), [x.shape(), t.shape()]))
}

/// The extents of an operand that must have so many axes; `layout` names them in the error.
pub(crate) fn dims<const N: usize>(op: &'static str, layout: &str, x: &Tensor) -> Result<[usize; N]> {
    x.dims().map_err(|_| Error::shape(op, format!("the operand must be {layout}"), [x.shape()]))
}

/// Overwrites `x` by what `f(backend, operand, out)` makes of it: in place if nobody else holds its values, else in new
/// memory. In place, `out` holds the operand and `operand` is absent.
pub(crate) fn overwrite(
    op: &'static str,
    mut x: Tensor,
    f: impl FnOnce(Backend, Option<&[f32]>, &mut [f32]) + Send,
) -> Result<Tensor> {
    check_f32(op, &x)?;
    x = x.contiguous()?; // the assignment drops the old handle, so a contiguous `x` is still held once
    let device = x.device().clone();
    if let Some(backend) = device.backend()
        && let Some(values) = x.host_mut()
    {
        device.run(|| f(backend, None, values));
        return Ok(x);
    }
    let input = values(&x)?;
    Tensor::build(&device, x.shape(), |backend, out| f(backend, Some(input), out))
}
