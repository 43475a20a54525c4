//! Layer norm.

use super::{check_f32, check_shape, operand, same_device, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Result, Tensor, trace};
use sam3i_kernels::layer_norm::{cpu, flops, reference};

/// `(x - mean) / sqrt(variance + eps) * gamma + beta` over the last axis, biased variance. Spec section 1 (LN).
///
/// # Shapes
/// `x [.., c]`, `gamma [c]`, `beta [c]`; out as `x`.
///
/// # Errors
/// [`crate::Error::Shape`] if `gamma` or `beta` is not `[c]`; [`crate::Error::DType`] for half storage;
/// [`crate::Error::DeviceMismatch`].
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
    if let Some(second) = second("layer_norm", x.device(), [x.shape()]) {
        return second.compare(layer_norm(x, gamma, beta, eps), |on| {
            layer_norm(&on.tensor(x)?, &on.tensor(gamma)?, &on.tensor(beta)?, eps)
        });
    }
    same_device("layer_norm", &[x, gamma, beta])?;
    let c = x.last_dim();
    check_shape("layer_norm", "gamma", gamma, &[c], x)?;
    check_shape("layer_norm", "beta", beta, &[c], x)?;
    let _trace = trace::op("layer_norm", flops(x.len() / c.max(1), c), [x.shape()]);
    check_f32("layer_norm", x)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::rows::layer_norm(gpu, x, gamma, beta, eps));
    let (x, gamma, beta) = (operand("layer_norm", x)?, gamma.contiguous()?, beta.contiguous()?);
    let (input, gamma, beta) = (values(&x)?, values(&gamma)?, values(&beta)?);
    Tensor::build(x.device(), x.shape(), |backend, out| match backend {
        Backend::Reference => reference::run(input, gamma, beta, eps, out),
        Backend::Cpu(isa) => cpu::run(isa, input, gamma, beta, eps, out),
    })
}
