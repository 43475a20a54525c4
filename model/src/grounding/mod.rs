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
