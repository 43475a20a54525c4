//! Sine codes of numbers and of positions.

use super::{operand, values};
use crate::gpu::on_gpu;
use crate::second::{Second, second};
use crate::{Backend, Device, Error, Result, Tensor, trace};
use sam3i_kernels::sine::{cpu, flops, reference};

/// The sine position map: of pixel (y, x), the code of `2 pi (y + 1) / (h + 1e-6)` in the first half of the channels, of `2
/// pi (x + 1) / (w + 1e-6)` in the second. Spec section 7.
///
/// # Shapes
/// Out `[h * w, channels]`.
///
/// # Errors
/// [`Error::Value`] if `channels` is not a multiple of 4.
pub fn position_map(device: &Device, h: usize, w: usize, channels: usize) -> Result<Tensor> {
    if let Some(second) = second("position_map", device, []) {
        let again = |on: &Second| position_map(on.device(), h, w, channels);
        return second.compare(position_map(device, h, w, channels), again);
    }
    check_channels("position_map", channels, 4)?;
    let _trace = trace::op("position_map", 0, []);
    Tensor::build(device, &[h * w, channels], |backend, out| match backend {
        Backend::Reference => reference::of_positions(h, w, channels, out),
        Backend::Cpu(_) => cpu::of_positions(h, w, channels, out),
    })
}

/// S(v), the sine code of a number: `sin(2 pi v / d_k)` in even channels k, `cos` in odd ones, `d_k = 10000^(2 floor(k / 2) /
/// channels)`. Spec section 8 (128 channels).
///
/// # Shapes
/// Any shape `[..]` (a plain list is `[n]`); out `[.., channels]`.
///
/// # Errors
/// [`Error::Value`] if `channels` is odd; [`Error::DType`] for half storage.
pub fn sine_code(numbers: &Tensor, channels: usize) -> Result<Tensor> {
    if let Some(second) = second("sine_code", numbers.device(), [numbers.shape()]) {
        return second.compare(sine_code(numbers, channels), |on| sine_code(&on.tensor(numbers)?, channels));
    }
    check_channels("sine_code", channels, 2)?;
    let _trace = trace::op("sine_code", flops(numbers.len() * channels), [numbers.shape()]);
    let numbers = operand("sine_code", numbers)?;
    let shape = [numbers.shape(), &[channels]].concat();
    on_gpu!(numbers.device(), |gpu| crate::gpu::ops::rows::sine_code(gpu, &numbers, channels, &shape));
    let input = values(&numbers)?;
    Tensor::build(numbers.device(), &shape, |backend, out| match backend {
        Backend::Reference => reference::of_values(channels, input, out),
        Backend::Cpu(_) => cpu::of_values(channels, input, out),
    })
}

fn check_channels(op: &'static str, channels: usize, multiple: usize) -> Result<()> {
    if channels.is_multiple_of(multiple) {
        return Ok(());
    }
    Err(Error::Value {
        op,
        problem: format!("the channels must be a multiple of {multiple}, not {channels}"),
    })
}
