//! Layer norm on a GPU.

use crate::gpu::{Kernel, Needs, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&LAYER_NORM, &SUBGROUPS];

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

/// The same with sums by subgroups: two barriers a sum instead of eight.
pub const SUBGROUPS: Kernel = Kernel {
    name: "layer_norm_subgroups",
    source: include_str!("subgroups.wgsl"),
    needs: Needs { subgroups: true, ..PORTABLE },
    ..LAYER_NORM
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
