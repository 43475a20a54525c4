//! The text encoder: causal transformer over the tokens, with the SAM3-I adapters (spec section 5).

use super::adapter::TextAdapter;
use crate::Result;
use crate::config::Config;
use crate::level::Level;
use crate::nn::{Attention, LayerNorm, Linear, Seen, add};
use crate::watch::Steps;
use crate::weights::{Rows, Weights};
use sam3i_engine::ops::Activation;
use sam3i_engine::{Tensor, trace};

/// The text encoder without its adapters. `backbone.language_backbone`.
pub(crate) struct TextEncoder {
    token_embedding: Rows,
    positional_embedding: Tensor,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    resizer: Linear,
}

/// The adapters of one level, one set a block.
pub(crate) enum TextAdapters {
    /// None: the concept level, or a checkpoint without adapters.
    Bypass,
    /// `adapter1` of each block.
    Simple(Vec<TextAdapter>),
    /// `adapter12` and `adapter2` of each block.
    Complex(Vec<[TextAdapter; 2]>),
}

/// Where a block's weights are.
fn block(w: &Weights, i: usize) -> Weights {
    w.at(format!("encoder.transformer.resblocks.{i}"))
}

impl TextAdapters {
    /// The adapters that `level` needs; `w` is the text encoder's.
    pub fn load(w: &Weights, config: &Config, level: Level) -> Result<Self> {
        let adapter = |i: usize, name: &str| TextAdapter::load(&block(w, i).at(name), config);
        let layers = 0..config.text.layers;
        Ok(match level {
            Level::Concept => Self::Bypass,
            Level::Simple => Self::Simple(layers.map(|i| adapter(i, "adapter1")).collect::<Result<_>>()?),
            Level::Complex => {
                let pair = |i| Ok([adapter(i, "adapter12")?, adapter(i, "adapter2")?]);
                Self::Complex(layers.map(pair).collect::<Result<_>>()?)
            }
        })
    }

    fn route(&self, i: usize, x: Tensor) -> Result<Tensor> {
        match self {
            Self::Bypass => Ok(x),
            Self::Simple(adapters) => adapters[i].forward(x, "adapter1"),
            Self::Complex(adapters) => {
                let [adapter12, adapter2] = &adapters[i];
                adapter2.forward(adapter12.forward(x, "adapter12")?, "adapter2")
            }
        }
    }
}

impl TextEncoder {
    pub fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (text, encoder) = (&config.text, w.at("encoder"));
        Ok(Self {
            token_embedding: encoder.rows("token_embedding.weight", [text.vocab, text.width])?,
            positional_embedding: encoder.tensor("positional_embedding", &[text.ctx, text.width])?,
            blocks: (0..text.layers).map(|i| Block::load(&block(w, i), config)).collect::<Result<_>>()?,
            ln_final: LayerNorm::load(&encoder.at("ln_final"), text.width)?,
            resizer: Linear::load(&w.at("resizer"), text.width, config.d_model)?,
        })
    }

    /// The features of every token that is given, padding included. Without adapters a token sees none after it, so those at the
    /// end may be left out.
    ///
    /// # Shapes
    /// `n` token ids, at most `ctx`, to `[n, d]`.
    pub fn forward(&self, ids: &[u32], adapters: &TextAdapters, steps: &Steps) -> Result<Tensor> {
        let _scope = trace::scope(|| "text");
        let x = self.token_embedding.gather(ids)?;
        trace::tap("token_embedding", &x);
        let mut x = add(x, &self.positional_embedding.narrow(0, 0, ids.len())?)?;
        for (i, block) in self.blocks.iter().enumerate() {
            steps.next()?;
            let _scope = trace::scope(|| format!("block.{i}"));
            x = block.forward(x, |x| adapters.route(i, x))?;
            trace::tap("", &x);
        }
        let x = self.ln_final.forward(&x)?;
        trace::tap("ln_final", &x);
        let features = self.resizer.forward(&x)?;
        trace::tap("features", &features);
        Ok(features)
    }
}

struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
}

impl Block {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (width, heads) = (config.text.width, config.text.heads);
        Ok(Self {
            ln_1: LayerNorm::load(&w.at("ln_1"), width)?,
            attn: Attention::load(&w.at("attn"), width, heads)?,
            ln_2: LayerNorm::load(&w.at("ln_2"), width)?,
            c_fc: Linear::load(&w.at("mlp.c_fc"), width, 4 * width)?,
            c_proj: Linear::load(&w.at("mlp.c_proj"), 4 * width, width)?,
        })
    }

    /// The MLP's result is computed before the adapter runs and added after it.
    fn forward(&self, x_nc: Tensor, route: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let y = self.ln_1.forward(&x_nc)?;
        let causal = Seen { causal: true, ..Seen::default() };
        let x_nc = self.attn.forward_add([&y, &y, &y], causal, &x_nc, "attn")?;

        let y = self.ln_2.forward(&x_nc)?;
        let hidden = self.c_fc.forward_then(&y, Activation::Gelu)?;
        let mlp = self.c_proj.forward(&hidden)?;
        trace::tap("mlp", &mlp);

        add(route(x_nc)?, &mlp)
    }
}
