//! The mean of rows on a GPU.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&MEAN_ROWS];

/// The mean of rows; operands: rows, a word a row that is not 0 if it counts.
pub const MEAN_ROWS: Kernel = Kernel {
    name: "mean_rows",
    source: include_str!("mean_rows.wgsl"),
    inputs: 2,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`MEAN_ROWS`].
    pub struct Params {
        /// Rows of the operand.
        pub rows: u32,
        /// Its columns.
        pub columns: u32,
        /// Where it begins.
        pub x_at: u32,
        /// What the sums are multiplied by.
        pub scale: f32,
    }
}

impl Params {
    /// The parameters of a call over rows of which some count.
    #[must_use]
    pub fn new(keep: &[bool], columns: usize, x_at: usize) -> Self {
        let scale = super::scale(keep) as f32;
        Self { rows: keep.len() as u32, columns: columns as u32, x_at: x_at as u32, scale }
    }
}
