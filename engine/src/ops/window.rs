//! A map cut into windows, and back.

use super::{dims, operand, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::window::{Params, cpu, reference};

/// Cuts a map into square windows, row by row; zeros fill the last ones up at the bottom and the right. Spec section 6.
///
/// # Shapes
/// `x_hwc [h, w, c]`; out `[ceil(h / window) * ceil(w / window), window * window, c]`.
///
/// # Errors
/// [`Error::Shape`] if `x_hwc` is no map or `window` is 0; [`Error::DType`] for half storage.
pub fn partition(x_hwc: &Tensor, window: usize) -> Result<Tensor> {
    if let Some(second) = second("partition", x_hwc.device(), [x_hwc.shape()]) {
        return second.compare(partition(x_hwc, window), |on| partition(&on.tensor(x_hwc)?, window));
    }
    let [h, w, c] = dims("partition", "[h, w, c]", x_hwc)?;
    if window == 0 {
        return Err(Error::shape("partition", "the window is 0", [x_hwc.shape()]));
    }
    let _trace = trace::op("partition", 0, [x_hwc.shape()]);
    let params = Params { h, w, c, window };
    let x = operand("partition", x_hwc)?;
    let shape = [params.windows(), window * window, c];
    on_gpu!(x.device(), |gpu| crate::gpu::ops::maps::windows(gpu, params, false, &x, &shape));
    let input = values(&x)?;
    Tensor::build(x.device(), &shape, |backend, out| match backend {
        Backend::Reference => reference::partition(params, input, out),
        Backend::Cpu(_) => cpu::partition(params, input, out),
    })
}

/// Puts the windows of [`partition`] together again and drops the padding. Spec section 6.
///
/// # Shapes
/// `windows [ceil(h / s) * ceil(w / s), s * s, c]`; out `[h, w, c]`.
///
/// # Errors
/// [`Error::Shape`] if the windows are not square or are not those of such a map; [`Error::DType`] for half storage.
pub fn merge(windows: &Tensor, h: usize, w: usize) -> Result<Tensor> {
    if let Some(second) = second("merge", windows.device(), [windows.shape()]) {
        return second.compare(merge(windows, h, w), |on| merge(&on.tensor(windows)?, h, w));
    }
    let [count, tokens, c] = dims("merge", "[windows, tokens, c]", windows)?;
    let window = tokens.isqrt();
    let params = Params { h, w, c, window };
    if window == 0 || window * window != tokens || params.windows() != count {
        let problem = format!("these are not the windows of a map of {h} x {w}");
        return Err(Error::shape("merge", problem, [windows.shape()]));
    }
    let _trace = trace::op("merge", 0, [windows.shape()]);
    let windows = operand("merge", windows)?;
    on_gpu!(windows.device(), |gpu| crate::gpu::ops::maps::windows(gpu, params, true, &windows, &[h, w, c]));
    let input = values(&windows)?;
    Tensor::build(windows.device(), &[h, w, c], |backend, out| match backend {
        Backend::Reference => reference::merge(params, input, out),
        Backend::Cpu(_) => cpu::merge(params, input, out),
    })
}
