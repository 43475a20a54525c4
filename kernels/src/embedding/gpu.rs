//! The look-up of rows on a GPU.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&EMBEDDING];

/// Rows of a table; operands: table, ids.
pub const EMBEDDING: Kernel = Kernel {
    name: "embedding",
    source: include_str!("embedding.wgsl"),
    inputs: 2,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`EMBEDDING`].
    pub struct Params {
        /// Elements of the result.
        pub len: u32,
        /// Channels of a row.
        pub channels: u32,
        /// Where the table begins.
        pub table_at: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}
