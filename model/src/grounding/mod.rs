//! Everything that depends on the prompt: geometry, fusion with the picture, queries, scores and masks.

pub(crate) mod adapter;
pub(crate) mod decoder;
pub(crate) mod fusion;
pub(crate) mod geometry;
pub(crate) mod masks;
pub(crate) mod scoring;

use crate::Result;
use sam3i_engine::ops::concat::concat;
use sam3i_engine::{Tensor, ops, trace};
use std::sync::OnceLock;

/// What the picture is asked for: text tokens, then geometry tokens. None of them is padding: that is hidden from every
/// attention and mean anyway.
pub(crate) struct PromptTokens {
    /// `[p, d]`.
    pub tokens_nc: Tensor,
    /// The same with the text's padding, which only observers see.
    pub padded_nc: Tensor,
}

impl PromptTokens {
    /// The text's tokens that `padding` does not name, then the geometry's. There may be fewer text tokens than `padding` tells
    /// of, if what is missing is padding.
    pub fn new(text_nc: &Tensor, padding: &[bool], geometry_nc: &Tensor) -> Result<Self> {
        let real: Vec<u32> = (0..text_nc.shape()[0]).filter(|&i| !padding[i]).map(|i| i as u32).collect();
        let real_nc = ops::embedding::embedding(text_nc, &real)?;
        let tokens_nc = concat(&[&real_nc, geometry_nc], 0)?;
        let padded_nc =
            if trace::wants_tensors() { concat(&[text_nc, geometry_nc], 0)? } else { tokens_nc.clone() };
        Ok(Self { tokens_nc, padded_nc })
    }
}

/// A tensor that is made once. An observer sees it made every time.
#[derive(Default)]
pub(crate) struct Once(OnceLock<Tensor>);

impl Once {
    pub fn get_or_make(&self, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if let Some(made) = self.0.get().filter(|_| !trace::wants_tensors()) {
            return Ok(made.clone());
        }
        let made = make()?;
        Ok(self.0.get_or_init(|| made.clone()).clone())
    }
}

/// What the decoder and the scoring say, in host memory, and what the masks are made from.
pub(crate) struct Grounded {
    /// A score a query, 0 to 1.
    pub scores: Vec<f32>,
    /// A box a query, in fractions of the picture.
    pub boxes_cxcywh: Vec<[f32; 4]>,
    /// 0 to 1.
    pub presence: f32,
    /// `[q, d]`.
    pub queries_qc: Tensor,
    /// The fusion encoder's tokens, `[g², d]`.
    pub fused_nc: Tensor,
    pub prompt: PromptTokens,
}
