//! Strided views to contiguous tensors.

use super::check_f32;
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Result, Tensor, trace};
use sam3i_kernels::copy::{cpu, reference};

/// A contiguous copy of a strided view.
///
/// # Shapes
/// Any shape in, the same out.
///
/// # Errors
/// [`crate::Error::DType`] for half storage.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    if let Some(second) = second("copy", x.device(), [x.shape()]) {
        return second.compare(contiguous(x), |on| contiguous(&x.view_on(on.device())?));
    }
    let _trace = trace::op("copy", 0, [x.shape()]);
    check_f32("copy", x)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::copy::contiguous(gpu, x));
    let (shape, strides) = (x.shape(), x.strides());
    let input = if x.device().is_shapes_only() { &[] } else { x.host_strided()? };
    Tensor::build(x.device(), shape, |backend, out| match backend {
        Backend::Reference => reference::run(shape, strides, input, out),
        Backend::Cpu(_) => cpu::run(shape, strides, input, out),
    })
}
