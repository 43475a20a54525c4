//! Weights of products as the kernels want them: rows of k values, f32 or f16 two a word.

use super::{Buffer, Gpu};
use crate::{Error, Result};
use half::f16;
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
    ///
    /// # Errors
    /// [`Error::Gpu`] if f16 cannot hold one of them; those of memory.
    pub(crate) fn new(gpu: &Gpu, k: usize, values: &[f32], half: bool) -> Result<Self> {
        let too_large = |value: &&f32| value.is_finite() && f16::from_f32(**value).is_infinite();
        if let Some(value) = values.iter().filter(|_| half).find(too_large) {
            let reason = format!("it has the value {value}, and f16 ends at 65504; use f32 (--dtype f32)");
            return Err(Error::Gpu { what: "storing a weight in f16".to_owned(), reason });
        }
        let buffer = if half { gpu.upload(&half_rows(k, values))? } else { gpu.upload(values)? };
        Ok(Self { buffer, half, stride: if half { half_stride(k) } else { k } })
    }
}
