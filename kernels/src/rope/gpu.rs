//! The rotation on a GPU.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&ROPE];

/// The rotation; operands: fused projection, table.
pub const ROPE: Kernel = Kernel {
    name: "rope",
    source: include_str!("rope.wgsl"),
    inputs: 2,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`ROPE`].
    pub struct Params {
        /// Pairs of channels of the result.
        pub pairs: u32,
        /// Where the operand begins.
        pub x_at: u32,
        /// Where the table begins.
        pub table_at: u32,
        /// Tokens of a sequence.
        pub tokens: u32,
        /// Channels of q.
        pub width: u32,
        /// Channels of a head.
        pub head_dim: u32,
        /// How much of the operand is wanted: 2 without v, 3 with it.
        pub thirds: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}
