//! Convolution on a GPU: a matrix product whose left operand is gathered from the map.

use super::Shape;
use crate::gpu::{Kernel, Needs, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&TILED, &HALVES, &STAGED];

/// Any convolution; operands: map, weight ([`rows`]), bias (not read where the flags do not say so). Tiles are those of
/// [`crate::matmul::gpu`].
pub const TILED: Kernel = Kernel {
    name: "conv_tiled",
    source: include_str!("tiled.wgsl"),
    inputs: 3,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("ACTIVATION", 1)], &[("ACTIVATION", 2)], &[("HALF", 1)], &[("ACROSS", 16)]],
};

/// Any convolution with an f16 weight, f16 in workgroup memory; operands as [`TILED`] has them, but the map twice. Constants:
/// `ACROSS`, `ACTIVATION`, `ALIGNED`.
pub const HALVES: Kernel = Kernel {
    name: "conv_halves",
    source: include_str!("halves.wgsl"),
    inputs: 4,
    params: Params::LAYOUT,
    threads: 64,
    needs: Needs { f16: true, ..PORTABLE },
    variants: &[&[("ACTIVATION", 1)], &[("ACTIVATION", 2)], &[("ALIGNED", 1)], &[("ACROSS", 16)]],
};

/// A convolution on matrix units whose channels come in fours; operands as [`TILED`] has them, the weight in f16. Constants:
/// `SIDE`, `LANES`, `EACH`, `ACTIVATION`.
pub const STAGED: Kernel = Kernel {
    name: "conv_staged",
    source: include_str!("staged.wgsl"),
    inputs: 3,
    params: Params::LAYOUT,
    threads: 128,
    needs: Needs { f16: true, subgroups: true, matrices: true, shared: 24 * 1024 },
    variants: &[
        &[("SIDE", 16)],
        &[("LANES", 4)],
        &[("LANES", 8)],
        &[("LANES", 16)],
        &[("LANES", 64)],
        &[("EACH", 2)],
        &[("ACTIVATION", 1)],
        &[("ACTIVATION", 2)],
    ],
};

params! {
    /// Parameters of [`TILED`], [`HALVES`] and [`STAGED`].
    pub struct Params {
        /// Output pixels.
        pub m: u32,
        /// Output channels.
        pub n: u32,
        /// Inputs of an output value.
        pub k: u32,
        /// Words between rows of the weight.
        pub w_stride: u32,
        /// Where the map begins.
        pub x_at: u32,
        /// Where the bias begins.
        pub bias_at: u32,
        /// [`crate::matmul::gpu::BIAS`].
        pub flags: u32,
        /// Tiles of rows that other dispatches do.
        pub first_tile: u32,
        /// Height of the map.
        pub height: u32,
        /// Width of the map.
        pub width: u32,
        /// Its channels.
        pub channels: u32,
        /// Width of the result.
        pub out_width: u32,
        /// Side of the kernel.
        pub kernel: u32,
        /// Step of the kernel.
        pub stride: u32,
        /// Zeros around the map.
        pub padding: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

impl Params {
    /// The parameters of a call but for where its operands begin and its weight's stride.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let (out_height, out_width) = shape.out_size();
        Self {
            m: (out_height * out_width) as u32,
            n: shape.out_channels as u32,
            k: shape.fan_in() as u32,
            height: shape.height as u32,
            width: shape.width as u32,
            channels: shape.channels as u32,
            out_width: out_width as u32,
            kernel: shape.kernel as u32,
            stride: shape.stride as u32,
            padding: shape.padding as u32,
            ..Self::default()
        }
    }
}

/// The weight `[out_channels, channels, kernel, kernel]` as a matrix `[out_channels, kernel * kernel * channels]`, channels
/// innermost.
#[must_use]
pub fn rows(shape: &Shape, w: &[f32]) -> Vec<f32> {
    assert_eq!(w.len(), shape.out_channels * shape.fan_in());
    let taps = shape.kernel * shape.kernel;
    let mut rows = Vec::with_capacity(w.len());
    for filter in w.chunks_exact(shape.fan_in().max(1)) {
        rows.extend((0..taps).flat_map(|tap| (0..shape.channels).map(move |c| filter[c * taps + tap])));
    }
    rows
}
