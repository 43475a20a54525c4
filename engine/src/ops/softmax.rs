//! Softmax over the last axis.

use super::values;
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Result, Tensor, trace};
use sam3i_kernels::softmax::{cpu, flops, reference};

/// `exp(x - max) / sum(exp(x - max))` over the last axis; a row that is all `-inf` becomes zero.
///
/// # Shapes
/// Any shape in, the same out.
///
/// # Errors
/// [`crate::Error::DType`] for half storage.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if let Some(second) = second("softmax", x.device(), [x.shape()]) {
        return second.compare(softmax(x), |on| softmax(&on.tensor(x)?));
    }
    let cols = x.last_dim();
    let _trace = trace::op("softmax", flops(x.len() / cols.max(1), cols), [x.shape()]);
    on_gpu!(x.device(), |gpu| crate::gpu::ops::rows::softmax(gpu, x));
    let x = x.contiguous()?;
    let input = values(&x)?;
    Tensor::build(x.device(), x.shape(), |backend, out| match backend {
        Backend::Reference => reference::run(cols, input, out),
        Backend::Cpu(isa) => cpu::run(isa, cols, input, out),
    })
}
