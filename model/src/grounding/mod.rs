//! Everything that depends on the prompt: geometry, fusion with the picture, queries, scores and masks.

pub(crate) mod adapter;
pub(crate) mod decoder;
pub(crate) mod fusion;
pub(crate) mod geometry;
pub(crate) mod masks;
pub(crate) mod scoring;

use sam3i_engine::Tensor;

/// What the picture is asked for: text tokens, then geometry tokens.
pub(crate) struct PromptTokens {
    /// `[p, d]`.
    pub tokens_nc: Tensor,
    /// Which of them are padding.
    pub padding: Vec<bool>,
}
