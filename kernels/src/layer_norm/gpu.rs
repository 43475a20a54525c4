//! Layer norm on a GPU.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&LAYER_NORM];

/// Layer norm, a workgroup a row; operands: rows, gamma, beta.
pub const LAYER_NORM: Kernel = Kernel {
    name: "layer_norm",
    source: include_str!("layer_norm.wgsl"),
    inputs: 3,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`LAYER_NORM`].
    pub struct Params {
        /// Rows.
        pub rows: u32,
        /// Elements of a row.
        pub channels: u32,
        /// Where the rows begin.
        pub x_at: u32,
        /// Where gamma begins.
        pub gamma_at: u32,
        /// Where beta begins.
        pub beta_at: u32,
        /// Added to the variance.
        pub eps: f32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 2],
    }
}
