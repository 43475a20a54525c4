//! Scoring: how well each query matches the prompt (spec section 11).

use super::PromptTokens;
use crate::Result;
use crate::config::Config;
use crate::nn::{LayerNorm, Linear, Mlp, add};
use crate::weights::Weights;
use sam3i_engine::{Tensor, ops, trace};

/// Logits are kept within this distance of zero.
const LARGEST_LOGIT: f32 = 12.0;

/// `dot_prod_scoring`.
pub(crate) struct Scoring {
    prompt_mlp: Mlp,
    out_norm: LayerNorm,
    prompt_proj: Linear,
    hs_proj: Linear,
}

impl Scoring {
    pub fn load(w: &Weights, config: &Config) -> Result<Self> {
        let d = config.d_model;
        Ok(Self {
            prompt_mlp: Mlp::load(&w.at("prompt_mlp"), &[d, config.ffn, d])?,
            out_norm: LayerNorm::load(&w.at("prompt_mlp.out_norm"), d)?,
            prompt_proj: Linear::load(&w.at("prompt_proj"), d, d)?,
            hs_proj: Linear::load(&w.at("hs_proj"), d, d)?,
        })
    }

    /// `norm(x + mlp(x))`, token by token.
    fn embed(&self, tokens_nc: &Tensor) -> Result<Tensor> {
        self.out_norm.forward(&add(self.prompt_mlp.forward(tokens_nc)?, tokens_nc)?)
    }

    /// The logit of each query. The prompt is averaged over its real tokens, geometry included.
    ///
    /// # Shapes
    /// `[q, d]` queries, `[p, d]` prompt to `[q, 1]`.
    pub fn forward(&self, queries_qc: &Tensor, prompt: &PromptTokens) -> Result<Tensor> {
        let _scope = trace::scope(|| "score");
        let d = queries_qc.last_dim();
        let y = self.embed(&prompt.tokens_nc)?;
        if trace::wants_tensors() {
            trace::tap("prompt_mlp", &self.embed(&prompt.padded_nc)?);
        }
        let pooled = ops::mean_rows::mean_rows(&y, &vec![true; y.shape()[0]])?.reshape(&[1, d])?;
        let pooled = self.prompt_proj.forward(&pooled)?;
        trace::tap("prompt_proj", &pooled);

        let logits = ops::matmul::matmul_transposed(&self.hs_proj.forward(queries_qc)?, &pooled)?;
        let logits = ops::elementwise::scale_add(logits, 1.0 / (d as f32).sqrt(), 0.0)?;
        Ok(ops::elementwise::clamp(logits, -LARGEST_LOGIT, LARGEST_LOGIT)?)
    }
}
