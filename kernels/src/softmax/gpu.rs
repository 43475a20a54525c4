//! Softmax on a GPU.

use crate::gpu::{Kernel, Needs, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&SOFTMAX, &SUBGROUPS];

/// Softmax, a workgroup a row.
pub const SOFTMAX: Kernel = Kernel {
    name: "softmax",
    source: include_str!("softmax.wgsl"),
    inputs: 1,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

/// The same with sums by subgroups: two barriers a sum instead of eight.
pub const SUBGROUPS: Kernel = Kernel {
    name: "softmax_subgroups",
    source: include_str!("subgroups.wgsl"),
    needs: Needs { subgroups: true, ..PORTABLE },
    ..SOFTMAX
};

params! {
    /// Parameters of [`SOFTMAX`].
    pub struct Params {
        /// Rows.
        pub rows: u32,
        /// Elements of a row.
        pub columns: u32,
        /// Where the operand begins.
        pub x_at: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}
