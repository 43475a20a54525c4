//! The matrix product on a GPU.

use super::Activation;
use crate::gpu::{Constant, Kernel, Needs, PORTABLE, params};
use half::f16;

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&TILED, &HALVES, &HALVE, &MATRICES, &STAGED];

/// Any product; operands: left operand, weight, bias, residual (whatever is bound for the last two is not read where the
/// flags do not say so). Constants: `ACROSS`, `HALF`, `ACTIVATION`, `DOUBLED`.
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
        &[("DOUBLED", 1)],
        &[("ACROSS", 16)],
    ],
};

/// Any product with an f16 weight, f16 in workgroup memory; operands as [`TILED`] has them, but the left one twice. Constants:
/// `ACROSS`, `ACTIVATION`, `DOUBLED`, `ALIGNED`.
pub const HALVES: Kernel = Kernel {
    name: "matmul_halves",
    source: include_str!("halves.wgsl"),
    inputs: 5,
    params: Params::LAYOUT,
    threads: 64,
    needs: Needs { f16: true, ..PORTABLE },
    variants: &[
        &[("ACTIVATION", 1)],
        &[("ACTIVATION", 2)],
        &[("DOUBLED", 1)],
        &[("ALIGNED", 1)],
        &[("ACROSS", 16)],
    ],
};

/// Activations in f16 for [`MATRICES`].
pub const HALVE: Kernel = Kernel {
    name: "matmul_halve",
    source: include_str!("halve.wgsl"),
    inputs: 1,
    params: HalveParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

/// A product on matrix units; operands as [`TILED`]'s, but the first two in f16 and padded. Constants: `SIDE`, `LANES`,
/// `EACH`, `ACTIVATION`, `DOUBLED`.
pub const MATRICES: Kernel = Kernel {
    name: "matmul_matrices",
    source: include_str!("matrices.wgsl"),
    inputs: 4,
    params: MatricesParams::LAYOUT,
    threads: 128,
    needs: Needs { f16: true, subgroups: true, matrices: true, ..PORTABLE },
    variants: MATRICES_VARIANTS,
};

/// The same by way of workgroup memory; operands and constants as [`MATRICES`] has them.
pub const STAGED: Kernel = Kernel {
    name: "matmul_staged",
    source: include_str!("staged.wgsl"),
    inputs: 4,
    params: MatricesParams::LAYOUT,
    threads: 128,
    needs: Needs { f16: true, subgroups: true, matrices: true, shared: 24 * 1024 },
    variants: MATRICES_VARIANTS,
};

const MATRICES_VARIANTS: &[&[Constant]] = &[
    &[("SIDE", 16)],
    &[("LANES", 4)],
    &[("LANES", 8)],
    &[("LANES", 16)],
    &[("LANES", 64)],
    &[("EACH", 2)],
    &[("ACTIVATION", 1)],
    &[("ACTIVATION", 2)],
    &[("DOUBLED", 1)],
];

params! {
    /// Parameters of [`HALVE`].
    pub struct HalveParams {
        /// Words of the result.
        pub words: u32,
        /// Rows of the operand.
        pub m: u32,
        /// Values of a row.
        pub k: u32,
        /// Where the operand begins.
        pub a_at: u32,
        /// Words of a row of the result.
        pub stride: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}

params! {
    /// Parameters of [`MATRICES`].
    pub struct MatricesParams {
        /// Rows.
        pub m: u32,
        /// Columns.
        pub n: u32,
        /// Terms of a sum, padded to whole blocks.
        pub k: u32,
        /// f16 values between rows of the weight.
        pub w_stride: u32,
        /// f16 values between rows of the left operand.
        pub a_stride: u32,
        /// Width of the map of a transposed convolution.
        pub width: u32,
        /// Where the bias begins.
        pub bias_at: u32,
        /// Where the residual begins.
        pub residual_at: u32,
        /// [`BIAS`], [`RESIDUAL`].
        pub flags: u32,
        /// Tiles of rows that other dispatches do.
        pub first_tile: u32,
        /// Its output channels.
        pub out_channels: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

/// f16 rows and columns are padded to multiples of this, the largest tile of [`MATRICES`].
pub const LARGEST_TILE: usize = 128;
/// f16 rows are padded to multiples of this many values, a block of [`STAGED`].
pub const HALF_BLOCK: usize = 32;

/// Rows and columns of a tile of [`MATRICES`].
#[must_use]
pub fn matrices_tile(side: u32, each: u32) -> usize {
    (2 * side * each) as usize
}

/// Rows and columns of a workgroup's tile of [`TILED`], for threads along either axis of it.
#[must_use]
pub fn tile(across: u32) -> usize {
    8 * across as usize
}

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

/// Workgroups of a product of `rows` tiles of rows, each of `tile` rows and columns.
#[must_use]
pub fn groups(rows: usize, n: usize, tile: usize) -> [u32; 3] {
    [n.div_ceil(tile) as u32, rows as u32, 1]
}

/// Words of a row of `k` f16 values, whole blocks.
#[must_use]
pub fn half_stride(k: usize) -> usize {
    k.next_multiple_of(HALF_BLOCK) / 2
}

/// The rows of `k` values as f16, two a word, padded with zeros to whole tiles and blocks. Values beyond f16's range become
/// infinite.
#[must_use]
pub fn half_rows(k: usize, values: &[f32]) -> Vec<u32> {
    let mut words = Vec::with_capacity(values.len() / k.max(1) * half_stride(k));
    for row in values.chunks_exact(k.max(1)) {
        let bits = |i: usize| row.get(i).map_or(0, |&v| u32::from(f16::from_f32(v).to_bits()));
        words.extend((0..half_stride(k)).map(|word| bits(2 * word) | bits(2 * word + 1) << 16));
    }
    let rows = values.len() / k.max(1);
    words.resize(rows.next_multiple_of(LARGEST_TILE) * half_stride(k), 0);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_rows_are_padded_to_whole_tiles_and_blocks() {
        let one = 0x3c00;
        let words = half_rows(3, &[1.0; 6]);
        assert_eq!(words.len(), LARGEST_TILE * 16);
        assert_eq!(words[..2], [one << 16 | one, one]);
        assert_eq!(words[2..16].iter().max(), Some(&0));
        assert_eq!(words[16..18], [one << 16 | one, one]);
        assert_eq!(words[18..].iter().max(), Some(&0));
    }
}
