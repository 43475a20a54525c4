//! Group norm.

use super::{check_f32, check_shape, dims, overwrite, same_device, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::group_norm::{Params, cpu, flops, reference};

/// Group norm of a map over `h * w * (c / groups)` elements a group, biased variance, affine by channel, then `max(0, .)`
/// if `relu`. Overwrites `x_hwc` if nobody else holds it. Spec sections 1 (GN8) and 12.
///
/// # Shapes
/// `x_hwc [h, w, c]`, `gamma [c]`, `beta [c]`; out as `x_hwc`.
///
/// # Errors
/// [`Error::Shape`] if `x_hwc` is no map, `groups` does not divide `c`, or `gamma` or `beta` is not `[c]`; [`Error::DType`]
/// for half storage; [`Error::DeviceMismatch`].
pub fn group_norm(
    x_hwc: Tensor,
    groups: usize,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
    relu: bool,
) -> Result<Tensor> {
    if let Some(second) = second("group_norm", x_hwc.device(), [x_hwc.shape()]) {
        let x = second.tensor(&x_hwc)?;
        return second.compare(group_norm(x_hwc, groups, gamma, beta, eps, relu), |on| {
            group_norm(x, groups, &on.tensor(gamma)?, &on.tensor(beta)?, eps, relu)
        });
    }
    same_device("group_norm", &[&x_hwc, gamma, beta])?;
    let [_, _, c] = dims("group_norm", "[h, w, c]", &x_hwc)?;
    if groups == 0 || !c.is_multiple_of(groups) {
        let problem = format!("{groups} groups do not divide the last axis");
        return Err(Error::shape("group_norm", problem, [x_hwc.shape()]));
    }
    check_shape("group_norm", "gamma", gamma, &[c], &x_hwc)?;
    check_shape("group_norm", "beta", beta, &[c], &x_hwc)?;
    check_f32("group_norm", &x_hwc)?;
    let _trace = trace::op("group_norm", flops(x_hwc.len()), [x_hwc.shape()]);
    let params = Params { groups, eps, relu };
    on_gpu!(x_hwc.device(), |gpu| crate::gpu::ops::maps::group_norm(gpu, params, &x_hwc, gamma, beta));
    let (gamma, beta) = (gamma.contiguous()?, beta.contiguous()?);
    let (gamma, beta) = (values(&gamma)?, values(&beta)?);
    overwrite("group_norm", x_hwc, |backend, x, out| match backend {
        Backend::Reference => reference::run(params, x, gamma, beta, out),
        Backend::Cpu(isa) => cpu::run(isa, params, x, gamma, beta, out),
    })
}
