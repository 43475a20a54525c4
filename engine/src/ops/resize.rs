//! Maps at another size.

use super::{check_f32, dims, operand, overwrite, same_device, values};
use crate::gpu::on_gpu;
use crate::second::{Second, second};
use crate::{Backend, Device, Error, Result, Tensor, trace};
use sam3i_kernels::elementwise::flops as elementwise_flops;
use sam3i_kernels::resize::{Params, bilinear_flops, cpu, reference};

/// Every pixel doubled in both directions: `out[y, x] = x_hwc[y / 2, x / 2]`. Spec section 12 (nearest2).
///
/// # Shapes
/// `x_hwc [h, w, c]`; out `[2 h, 2 w, c]`.
///
/// # Errors
/// [`Error::Shape`] if `x_hwc` is no map; [`Error::DType`] for half storage.
pub fn nearest_2x(x_hwc: &Tensor) -> Result<Tensor> {
    if let Some(second) = second("nearest_2x", x_hwc.device(), [x_hwc.shape()]) {
        return second.compare(nearest_2x(x_hwc), |on| nearest_2x(&on.tensor(x_hwc)?));
    }
    let [h, w, c] = dims("nearest_2x", "[h, w, c]", x_hwc)?;
    let _trace = trace::op("nearest_2x", 0, [x_hwc.shape()]);
    let x = operand("nearest_2x", x_hwc)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::maps::nearest(gpu, None, &x));
    let input = values(&x)?;
    Tensor::build(x.device(), &[2 * h, 2 * w, c], |backend, out| match backend {
        Backend::Reference => reference::nearest_2x(w, c, input, out),
        Backend::Cpu(_) => cpu::nearest_2x(w, c, input, out),
    })
}

/// `fine_hwc` + [`nearest_2x`] of `coarse_hwc`. Overwrites `fine_hwc` if nobody else holds it. Spec section 12.
///
/// # Shapes
/// `fine_hwc [2 h, 2 w, c]`, `coarse_hwc [h, w, c]`; out as `fine_hwc`.
///
/// # Errors
/// [`Error::Shape`] if the shapes are not those; [`Error::DType`] for half storage; [`Error::DeviceMismatch`].
pub fn add_nearest_2x(fine_hwc: Tensor, coarse_hwc: &Tensor) -> Result<Tensor> {
    let shapes = [fine_hwc.shape(), coarse_hwc.shape()];
    if let Some(second) = second("add_nearest_2x", fine_hwc.device(), shapes) {
        let fine = second.tensor(&fine_hwc)?;
        let again = |on: &Second| add_nearest_2x(fine, &on.tensor(coarse_hwc)?);
        return second.compare(add_nearest_2x(fine_hwc, coarse_hwc), again);
    }
    same_device("add_nearest_2x", &[&fine_hwc, coarse_hwc])?;
    let [h, w, c] = dims("add_nearest_2x", "[h, w, c]", coarse_hwc)?;
    let shapes = [fine_hwc.shape(), coarse_hwc.shape()];
    if fine_hwc.shape() != [2 * h, 2 * w, c] {
        return Err(Error::shape("add_nearest_2x", "the first must be twice as high and wide", shapes));
    }
    let _trace = trace::op("add_nearest_2x", elementwise_flops(fine_hwc.len()), shapes);
    let coarse = operand("add_nearest_2x", coarse_hwc)?;
    check_f32("add_nearest_2x", &fine_hwc)?;
    on_gpu!(coarse.device(), |gpu| crate::gpu::ops::maps::nearest(gpu, Some(&fine_hwc), &coarse));
    let coarse = values(&coarse)?;
    overwrite("add_nearest_2x", fine_hwc, |backend, fine, out| match backend {
        Backend::Cpu(isa) => cpu::add_nearest_2x(isa, w, c, fine, coarse, out),
        Backend::Reference => reference::add_nearest_2x(w, c, fine, coarse, out),
    })
}

/// Bilinear resampling of single-channel planes, corners not aligned, no antialias (also when shrinking). Spec section
/// 15.
///
/// # Shapes
/// `x_nhw [n, h, w]`; out `[n, out_h, out_w]`.
///
/// # Errors
/// [`Error::Shape`] if `x_nhw` has other axes, or no pixels to take the result from; [`Error::DType`] for half storage.
pub fn bilinear(x_nhw: &Tensor, out_h: usize, out_w: usize) -> Result<Tensor> {
    if let Some(second) = second("bilinear", x_nhw.device(), [x_nhw.shape()]) {
        let again = |on: &Second| bilinear(&on.tensor(x_nhw)?, out_h, out_w);
        return second.compare(bilinear(x_nhw, out_h, out_w), again);
    }
    let (n, params) = bilinear_params("bilinear", x_nhw, out_h, out_w)?;
    let _trace = trace::op("bilinear", bilinear_flops(n * out_h * out_w), [x_nhw.shape()]);
    let x = operand("bilinear", x_nhw)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::maps::bilinear(gpu, params, &x));
    let input = values(&x)?;
    Tensor::build(x.device(), &[n, out_h, out_w], |backend, out| match backend {
        Backend::Reference => reference::bilinear(params, input, out),
        Backend::Cpu(isa) => cpu::bilinear(isa, params, input, out),
    })
}

/// Where [`bilinear`] is above `threshold`: 1 there, 0 elsewhere (and where it is NaN), bit for bit the comparison of its
/// result, which is never stored. Spec section 15.
///
/// # Shapes
/// `x_nhw [n, h, w]`; out `n * out_h * out_w` bytes on the host, plane by plane, row by row.
///
/// # Errors
/// As [`bilinear`]; [`Error::NoValues`] on the shape-only device.
pub fn bilinear_threshold(x_nhw: &Tensor, out_h: usize, out_w: usize, threshold: f32) -> Result<Vec<u8>> {
    if let Some(second) = second("bilinear_threshold", x_nhw.device(), [x_nhw.shape()]) {
        let mask = bilinear_threshold(x_nhw, out_h, out_w, threshold)?;
        second.compare(as_planes(x_nhw.device(), &mask, out_h, out_w), |on| {
            let again = bilinear_threshold(&on.tensor(x_nhw)?, out_h, out_w, threshold)?;
            as_planes(on.device(), &again, out_h, out_w)
        })?;
        return Ok(mask);
    }
    let (n, params) = bilinear_params("bilinear_threshold", x_nhw, out_h, out_w)?;
    let _trace = trace::op("bilinear_threshold", bilinear_flops(n * out_h * out_w), [x_nhw.shape()]);
    let x = operand("bilinear_threshold", x_nhw)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::maps::bilinear_threshold(gpu, params, threshold, &x));
    let input = values(&x)?;
    let backend = x.device().backend().ok_or(Error::NoValues { op: "bilinear_threshold" })?;
    let mut mask = vec![0; n * out_h * out_w];
    x.device().run(|| match backend {
        Backend::Reference => reference::bilinear_threshold(params, threshold, input, &mut mask),
        Backend::Cpu(isa) => cpu::bilinear_threshold(isa, params, threshold, input, &mut mask),
    });
    Ok(mask)
}

/// Bytes of masks that come back from a GPU at once, a bit a pixel.
#[cfg(feature = "gpu")]
const MOST_AT_ONCE: usize = 64 << 20;

/// [`bilinear_threshold`] of one plane after the other. A GPU makes many at once and is waited for once; elsewhere each is made
/// when it is asked for.
pub struct Masks<'a> {
    x_nhw: &'a Tensor,
    to: [usize; 2],
    threshold: f32,
    /// The first plane of those whose bits are here, and the bits.
    #[cfg(feature = "gpu")]
    here: Option<(usize, Vec<u32>)>,
}

impl<'a> Masks<'a> {
    /// Of planes `x_nhw [n, h, w]`, at the size `out_h`, `out_w`.
    #[must_use]
    pub fn new(x_nhw: &'a Tensor, out_h: usize, out_w: usize, threshold: f32) -> Self {
        Self {
            x_nhw,
            to: [out_h, out_w],
            threshold,
            #[cfg(feature = "gpu")]
            here: None,
        }
    }

    /// The mask of plane `i`: `out_h * out_w` bytes on the host, row by row.
    ///
    /// # Errors
    /// As [`bilinear_threshold`]; [`Error::Shape`] if there is no such plane.
    pub fn plane(&mut self, i: usize) -> Result<Vec<u8>> {
        let ([h, w], one) = (self.to, self.x_nhw.narrow(0, i, 1)?);
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.x_nhw.device().as_gpu()
            && !crate::second::is_wanted(self.x_nhw.device())
        {
            let each = (8 * MOST_AT_ONCE / (h * w).max(1)).max(1);
            let first = i / each * each;
            if self.here.as_ref().is_none_or(|(here, _)| *here != first) {
                let count = each.min(self.x_nhw.shape()[0] - first);
                let planes = self.x_nhw.narrow(0, first, count)?;
                let (n, params) = bilinear_params("bilinear_threshold", &planes, h, w)?;
                let _trace = trace::op("bilinear_threshold", bilinear_flops(n * h * w), [planes.shape()]);
                let bits = crate::gpu::ops::maps::bilinear_bits(gpu, params, self.threshold, &planes)?;
                gpu.settle_if_watched()?;
                self.here = Some((first, bits));
            }
            let bits = self.here.as_ref().map_or(&[][..], |(_, bits)| bits);
            return Ok(crate::gpu::ops::maps::bytes(bits, (i - first) * h * w, h * w));
        }
        bilinear_threshold(&one, h, w, self.threshold)
    }
}

/// A mask's bytes as numbers, to be compared.
fn as_planes(device: &Device, mask: &[u8], h: usize, w: usize) -> Result<Tensor> {
    let planes = mask.len().checked_div(h * w).unwrap_or(0);
    Tensor::from_vec(device, &[planes, h, w], mask.iter().map(|&bit| f32::from(bit)).collect())
}

fn bilinear_params(op: &'static str, x: &Tensor, out_h: usize, out_w: usize) -> Result<(usize, Params)> {
    let [n, h, w] = dims(op, "[n, h, w]", x)?;
    if n * out_h * out_w > 0 && h * w == 0 {
        return Err(Error::shape(op, format!("no pixels to make {out_h} x {out_w} of"), [x.shape()]));
    }
    Ok((n, Params { from: [h, w], to: [out_h, out_w] }))
}
