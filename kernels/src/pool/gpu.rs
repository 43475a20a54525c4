//! The max pool on a GPU.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&POOL];

/// Max pool 2 x 2.
pub const POOL: Kernel = Kernel {
    name: "max_pool_2x2",
    source: include_str!("pool.wgsl"),
    inputs: 1,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`POOL`].
    pub struct Params {
        /// Elements of the result.
        pub len: u32,
        /// Where the operand begins.
        pub x_at: u32,
        /// Width of the operand.
        pub width: u32,
        /// Channels.
        pub channels: u32,
    }
}
