//! The copy on a GPU: from any strided view to any other, so a concatenation is a copy for each part.

use crate::elementwise::gpu::MOST_AXES;
use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&COPY];

/// Copies a view to a view, bit for bit.
pub const COPY: Kernel = Kernel {
    name: "copy",
    source: include_str!("copy.wgsl"),
    inputs: 1,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`COPY`].
    pub struct Params {
        /// Elements.
        pub len: u32,
        /// Where the operand begins.
        pub x_at: u32,
        /// Where the result begins.
        pub out_at: u32,
        /// Axes in use.
        pub rank: u32,
        /// Extent, stride of the operand, stride of the result; outermost first.
        pub axes: [[u32; 4]; MOST_AXES],
    }
}
