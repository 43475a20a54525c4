//! Functions of one element and of two; rotary positions.

use super::{Gpu, Line};
use crate::{Device, Error, Result, Tensor};
use sam3i_kernels::elementwise::gpu::{
    BINARY, BinaryParams, FILL, UNARY, UnaryParams, axes, function, operator,
};
use sam3i_kernels::elementwise::{Binary, Unary};
use sam3i_kernels::rope;

/// A tensor of zeros.
pub(crate) fn zeros(gpu: &Gpu, device: &Device, shape: &[usize]) -> Result<Tensor> {
    let items = shape.iter().product();
    let params = UnaryParams { len: items as u32, ..UnaryParams::default() };
    let params = bytemuck::bytes_of(&params);
    Line { device, kernel: &UNARY, constants: &[FILL], params, inputs: &[None], items }.run(gpu, shape)
}

/// A function of each element.
pub(crate) fn unary(gpu: &Gpu, op: Unary, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("unary")?;
    let (constant, [s, t]) = function(op);
    let params = UnaryParams { len: x.len() as u32, x_at, s, t };
    Line {
        device: x.device(),
        kernel: &UNARY,
        constants: &[constant],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input)],
        items: x.len(),
    }
    .run(gpu, x.shape())
}

/// A function of each element of `a` and its partner; both are views of the result's shape.
pub(crate) fn binary(gpu: &Gpu, name: &'static str, op: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rank, axes) = axes(a.shape(), a.strides(), b.strides())
        .ok_or_else(|| Error::shape(name, "the operands have too many axes", [a.shape()]))?;
    let ((left, a_at), (right, b_at)) = (a.on_gpu(name)?, b.on_gpu(name)?);
    let params = BinaryParams { len: a.len() as u32, a_at, b_at, rank, axes };
    Line {
        device: a.device(),
        kernel: &BINARY,
        constants: &[operator(op)],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(left), Some(right)],
        items: a.len(),
    }
    .run(gpu, a.shape())
}

/// Rotates q and k of a fused projection; v is copied.
pub(crate) fn rotate(gpu: &Gpu, params: rope::Params, qkv: &Tensor, table: &Tensor) -> Result<Tensor> {
    rotated(gpu, params, qkv, table, 3)
}

/// The rotated q and k of a fused projection, `[b, n, 2 width]`.
pub(super) fn rotated_thirds(
    gpu: &Gpu,
    params: rope::Params,
    qkv: &Tensor,
    table: &Tensor,
) -> Result<Tensor> {
    rotated(gpu, params, qkv, table, 2)
}

/// The first so many thirds of a fused projection, of which the first two are rotated.
fn rotated(gpu: &Gpu, params: rope::Params, qkv: &Tensor, table: &Tensor, thirds: usize) -> Result<Tensor> {
    let (qkv, table) = (qkv.contiguous()?, table.contiguous()?);
    let ((input, x_at), (angles, table_at)) = (qkv.on_gpu("rope")?, table.on_gpu("rope")?);
    let [batch, tokens, _] = qkv.dims()?;
    let width = params.heads * params.head_dim;
    let pairs = batch * tokens * thirds * width / 2;
    let params = rope::gpu::Params {
        pairs: pairs as u32,
        x_at,
        table_at,
        tokens: tokens as u32,
        width: width as u32,
        head_dim: params.head_dim as u32,
        thirds: thirds as u32,
        unused: 0,
    };
    Line {
        device: qkv.device(),
        kernel: &rope::gpu::ROPE,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input), Some(angles)],
        items: pairs,
    }
    .run(gpu, &[batch, tokens, thirds * width])
}
