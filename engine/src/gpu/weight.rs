//! Weights of products as the kernels want them: rows of k values, f32 or f16 two a word.

use super::{Buffer, Gpu};
use crate::Result;
use sam3i_kernels::matmul::gpu::{half_rows, half_stride};

/// A weight `[rows, k]` on the GPU.
pub(crate) struct Weight {
    pub buffer: Buffer,
    /// Whether it is stored as f16.
    pub half: bool,
    /// Words between rows.
    pub stride: usize,
}

impl Weight {
    /// Stores the rows of `k` values.
    pub(crate) fn new(gpu: &Gpu, k: usize, values: &[f32], half: bool) -> Result<Self> {
        let buffer = if half { gpu.upload(&half_rows(k, values))? } else { gpu.upload(values)? };
        Ok(Self { buffer, half, stride: if half { half_stride(k) } else { k } })
    }
}
