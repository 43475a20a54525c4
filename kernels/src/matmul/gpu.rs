//! The matrix product on a GPU.

use super::Activation;
use crate::gpu::{Constant, Kernel, PORTABLE, params};
use half::f16;

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&TILED];

/// Any product; operands: left operand, weight, bias, residual (whatever is bound for the last two is not read where the
/// flags do not say so). Constants: `HALF`, `ACTIVATION`, `DOUBLED`.
pub const TILED: Kernel = Kernel {
    name: "matmul_tiled",
    source: include_str!("tiled.wgsl"),
    inputs: 4,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[
        &[("ACTIVATION", 1)],
        &[("ACTIVATION", 2)],
        &[("HALF", 1)],
        &[("HALF", 1), ("ACTIVATION", 2)],
        &[("DOUBLED", 1)],
        &[("DOUBLED", 1), ("ACTIVATION", 2), ("HALF", 1)],
    ],
};

/// Rows and columns of a workgroup's tile.
pub const TILE: usize = 64;

params! {
    /// Parameters of [`TILED`] and the other forms of the product.
    pub struct Params {
        /// Rows.
        pub m: u32,
        /// Columns.
        pub n: u32,
        /// Terms of a sum.
        pub k: u32,
        /// Words between rows of the weight.
        pub w_stride: u32,
        /// Where the left operand begins.
        pub a_at: u32,
        /// Where the weight begins.
        pub w_at: u32,
        /// Where the bias begins.
        pub bias_at: u32,
        /// Where the residual begins.
        pub residual_at: u32,
        /// [`BIAS`], [`RESIDUAL`].
        pub flags: u32,
        /// Tiles of rows that other dispatches do.
        pub first_tile: u32,
        /// Width of the map of a transposed convolution.
        pub width: u32,
        /// Its output channels.
        pub out_channels: u32,
    }
}

/// Flag: there is a bias.
pub const BIAS: u32 = 1;
/// Flag: there is a residual.
pub const RESIDUAL: u32 = 2;

/// The constant of an activation.
#[must_use]
pub fn activation(activation: Activation) -> Constant {
    let number = match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Gelu => 2,
    };
    ("ACTIVATION", number)
}

/// Workgroups of a product of `rows` tiles of rows.
#[must_use]
pub fn groups(rows: usize, n: usize) -> [u32; 3] {
    [n.div_ceil(TILE) as u32, rows as u32, 1]
}

/// Words of a row of `k` f16 values, whole quads.
#[must_use]
pub fn half_stride(k: usize) -> usize {
    2 * k.div_ceil(4)
}

/// The rows of `k` values as f16, two a word, each row padded with zeros to whole quads. Values beyond f16's range become
/// infinite.
#[must_use]
pub fn half_rows(k: usize, values: &[f32]) -> Vec<u32> {
    let mut words = Vec::with_capacity(values.len() / k.max(1) * half_stride(k));
    for row in values.chunks_exact(k.max(1)) {
        let bits = |i: usize| row.get(i).map_or(0, |&v| u32::from(f16::from_f32(v).to_bits()));
        words.extend((0..half_stride(k)).map(|word| bits(2 * word) | bits(2 * word + 1) << 16));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_rows_are_padded_to_quads() {
        let one = 0x3c00;
        assert_eq!(half_rows(1, &[1.0, 1.0]), [one, 0, one, 0]);
        assert_eq!(half_rows(5, &[1.0; 5]), [one << 16 | one, one << 16 | one, one, 0]);
    }
}
