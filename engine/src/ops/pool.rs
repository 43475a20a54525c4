//! Max pool.

use super::{dims, operand, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Result, Tensor, trace};
use sam3i_kernels::pool::{cpu, flops, reference};

/// The maximum of each 2 x 2 square, stride 2; an odd last row or column is dropped. Spec section 7 (level 3).
///
/// # Shapes
/// `x_hwc [h, w, c]`; out `[h / 2, w / 2, c]`.
///
/// # Errors
/// [`crate::Error::Shape`] if `x_hwc` is no map; [`crate::Error::DType`] for half storage.
pub fn max_pool_2x2(x_hwc: &Tensor) -> Result<Tensor> {
    if let Some(second) = second("max_pool_2x2", x_hwc.device(), [x_hwc.shape()]) {
        return second.compare(max_pool_2x2(x_hwc), |on| max_pool_2x2(&on.tensor(x_hwc)?));
    }
    let [h, w, c] = dims("max_pool_2x2", "[h, w, c]", x_hwc)?;
    let shape = [h / 2, w / 2, c];
    let _trace = trace::op("max_pool_2x2", flops(shape.iter().product()), [x_hwc.shape()]);
    let x = operand("max_pool_2x2", x_hwc)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::maps::max_pool(gpu, &x, &shape));
    let input = values(&x)?;
    Tensor::build(x.device(), &shape, |backend, out| match backend {
        Backend::Reference => reference::run(w, c, input, out),
        Backend::Cpu(isa) => cpu::run(isa, w, c, input, out),
    })
}
