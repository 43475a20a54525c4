//! RoI align.

use super::{dims, on_host, operand, same_device, values};
use crate::gpu::on_gpu;
use crate::second::{Second, second};
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::roi_align::{LIMIT, Params, cpu, flops, reference};

/// Averages boxes of a map into grids of `size x size` bins: torchvision's `roi_align` with `aligned = False`, scale 1 and
/// adaptive sampling. Boxes may leave the map; those without extent are one pixel wide. Spec section 8 (RoI, `size` = 7).
///
/// # Shapes
/// `x_hwc [h, w, c]`, `boxes [m, 4]` as x1, y1, x2, y2 in feature pixels; out `[m, size, size, c]`.
///
/// # Errors
/// [`Error::Shape`] if the shapes are not those, `size` is 0 or the map has no pixels; [`Error::Value`] for a coordinate
/// that is not finite or more than [`LIMIT`] from 0; [`Error::DType`] for half storage; [`Error::DeviceMismatch`].
pub fn roi_align(x_hwc: &Tensor, boxes: &Tensor, size: usize) -> Result<Tensor> {
    if let Some(second) = second("roi_align", x_hwc.device(), [x_hwc.shape(), boxes.shape()]) {
        let again = |on: &Second| roi_align(&on.tensor(x_hwc)?, &on.tensor(boxes)?, size);
        return second.compare(roi_align(x_hwc, boxes, size), again);
    }
    same_device("roi_align", &[x_hwc, boxes])?;
    let [h, w, c] = dims("roi_align", "[h, w, c]", x_hwc)?;
    let [m, four] = dims("roi_align", "boxes [m, 4]", boxes)?;
    if four != 4 || size == 0 || h * w == 0 {
        let problem =
            format!("needs a map with pixels, boxes of 4 coordinates and bins (here {size} a side)");
        return Err(Error::shape("roi_align", problem, [x_hwc.shape(), boxes.shape()]));
    }
    let shape = [m, size, size, c];
    let _trace = trace::op("roi_align", flops(shape.iter().product()), [x_hwc.shape(), boxes.shape()]);
    let (x, boxes) = (operand("roi_align", x_hwc)?, operand("roi_align", boxes)?);
    let host_boxes = on_host(&boxes)?;
    let corners = values(&host_boxes)?;
    if let Some(i) = corners.iter().position(|v| !(-LIMIT..=LIMIT).contains(v)) {
        let problem = format!("box {} has a coordinate {}; it must be within +-{LIMIT}", i / 4, corners[i]);
        return Err(Error::Value { op: "roi_align", problem });
    }
    let params = Params { map: [h, w], c, size };
    on_gpu!(x.device(), |gpu| {
        let bins = sam3i_kernels::roi_align::gpu::bins(params, corners);
        crate::gpu::ops::maps::weighted(gpu, &x, &bins, &shape)
    });
    let input = values(&x)?;
    Tensor::build(x.device(), &shape, |backend, out| match backend {
        Backend::Reference => reference::run(params, input, corners, out),
        Backend::Cpu(isa) => cpu::run(isa, params, input, corners, out),
    })
}
