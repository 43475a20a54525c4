//! Bilinear samples of a map at points.

use super::{dims, on_host, operand, same_device, values};
use crate::gpu::on_gpu;
use crate::second::{Second, second};
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::grid_sample::{cpu, flops, reference};

/// Bilinear samples of a map at points in pixels (centres at whole numbers), pixels outside the map counting as zero. Spec
/// section 8 (point pooling), whose points are `(72 x - 0.5, 72 y - 0.5)`.
///
/// # Shapes
/// `x_hwc [h, w, c]`, `points [n, 2]` as x, y; out `[n, c]`.
///
/// # Errors
/// [`Error::Shape`] if the shapes are not those; [`Error::Value`] for a coordinate that is not finite; [`Error::DType`] for
/// half storage; [`Error::DeviceMismatch`].
pub fn grid_sample(x_hwc: &Tensor, points: &Tensor) -> Result<Tensor> {
    if let Some(second) = second("grid_sample", x_hwc.device(), [x_hwc.shape(), points.shape()]) {
        let again = |on: &Second| grid_sample(&on.tensor(x_hwc)?, &on.tensor(points)?);
        return second.compare(grid_sample(x_hwc, points), again);
    }
    same_device("grid_sample", &[x_hwc, points])?;
    let [h, w, c] = dims("grid_sample", "[h, w, c]", x_hwc)?;
    let [n, two] = dims("grid_sample", "points [n, 2]", points)?;
    if two != 2 {
        let problem = "points must have 2 coordinates";
        return Err(Error::shape("grid_sample", problem, [x_hwc.shape(), points.shape()]));
    }
    let _trace = trace::op("grid_sample", flops(n * c), [x_hwc.shape(), points.shape()]);
    let (x, points) = (operand("grid_sample", x_hwc)?, operand("grid_sample", points)?);
    let host_points = on_host(&points)?;
    let coordinates = values(&host_points)?;
    if let Some(i) = coordinates.iter().position(|v| !v.is_finite()) {
        let problem = format!("point {} has a coordinate {}; it must be finite", i / 2, coordinates[i]);
        return Err(Error::Value { op: "grid_sample", problem });
    }
    on_gpu!(x.device(), |gpu| {
        let around = sam3i_kernels::grid_sample::gpu::around_points(h, w, coordinates);
        crate::gpu::ops::maps::weighted(gpu, &x, &around, &[n, c])
    });
    let input = values(&x)?;
    Tensor::build(x.device(), &[n, c], |backend, out| match backend {
        Backend::Reference => reference::run([h, w, c], input, coordinates, out),
        Backend::Cpu(isa) => cpu::run(isa, [h, w, c], input, coordinates, out),
    })
}
