//! Copies: of a strided view, and of tensors one after the other.

use super::{Call, Gpu};
use crate::{Error, Result, Tensor};
use sam3i_kernels::copy::gpu::{COPY, Params};
use sam3i_kernels::elementwise::gpu::axes;

/// A contiguous copy of a strided view.
pub(crate) fn contiguous(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let out = gpu.buffer(x.len())?;
    let out_strides = row_major(x.shape());
    write(gpu, "copy", x, &out, 0, &out_strides)?;
    Ok(Tensor::from_gpu(x.device(), x.shape(), out))
}

/// Tensors one after the other along an axis; the result has this shape.
pub(crate) fn concat(gpu: &Gpu, parts: &[&Tensor], axis: usize, shape: &[usize]) -> Result<Tensor> {
    let out = gpu.buffer(shape.iter().product())?;
    let strides = row_major(shape);
    let mut done = 0;
    for part in parts {
        write(gpu, "concat", part, &out, done * strides[axis], &strides)?;
        done += part.shape()[axis];
    }
    Ok(Tensor::from_gpu(parts[0].device(), shape, out))
}

/// Writes a view to places `strides` apart, from `at` on.
fn write(
    gpu: &Gpu,
    op: &'static str,
    x: &Tensor,
    out: &super::Buffer,
    at: usize,
    strides: &[usize],
) -> Result<()> {
    if x.is_empty() {
        return Ok(());
    }
    let (rank, axes) = axes(x.shape(), x.strides(), strides)
        .ok_or_else(|| Error::shape(op, "the view has too many axes", [x.shape()]))?;
    let (input, x_at) = x.on_gpu(op)?;
    let params = Params { len: x.len() as u32, x_at, out_at: at as u32, rank, axes };
    gpu.dispatch(&Call {
        kernel: &COPY,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input)],
        output: out,
        groups: gpu.line(x.len(), COPY.threads),
        work: 16 * x.len() as u64,
    })
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}
