//! The text adapter of SAM3-I: attention among all tokens and a bottleneck, both with their own residual (spec section 5).

use crate::Result;
use crate::config::Config;
use crate::nn::{Attention, LayerNorm, Linear, Seen, add};
use crate::weights::Weights;
use sam3i_engine::ops::Activation;
use sam3i_engine::{Tensor, trace};

/// `adapter1`, `adapter12` or `adapter2` of a text block.
///
/// The attention sees every position, later ones and padding included.
pub(crate) struct TextAdapter {
    attention: AttentionHalf,
    bottleneck: BottleneckHalf,
}

/// `x + attention(norm1(x))`.
#[expect(clippy::large_enum_variant, reason = "one a layer: not worth a pointer")]
enum AttentionHalf {
    Full {
        norm1: LayerNorm,
        mha_adapter: Attention,
    },
    /// The last projection is zero throughout, so the attention is its bias: exact, and the rest is never read.
    Constant(Tensor),
}

/// `x + up_proj(gelu(down_proj(norm2(x))))`.
#[expect(clippy::large_enum_variant, reason = "one a layer: not worth a pointer")]
enum BottleneckHalf {
    Full {
        norm2: LayerNorm,
        down_proj: Linear,
        up_proj: Linear,
    },
    /// `up_proj` is zero throughout, so the bottleneck is its bias.
    Constant(Tensor),
}

/// Whether a matrix is there and zero throughout.
pub(crate) fn is_all_zero(values: &[f32]) -> bool {
    !values.is_empty() && values.iter().all(|&v| v == 0.0)
}

impl TextAdapter {
    pub fn load(w: &Weights, config: &Config) -> Result<Self> {
        Ok(Self { attention: AttentionHalf::load(w, config)?, bottleneck: BottleneckHalf::load(w, config)? })
    }

    /// `[n, c]` to the same; an observer is shown the result under `name`.
    pub fn forward(&self, x_nc: Tensor, name: &str) -> Result<Tensor> {
        let x_nc = match &self.attention {
            AttentionHalf::Full { norm1, mha_adapter } => {
                let y = norm1.forward(&x_nc)?;
                mha_adapter.forward_add([&y, &y, &y], Seen::default(), &x_nc, "adapter_attention")?
            }
            AttentionHalf::Constant(bias) => add(x_nc, bias)?,
        };
        let x_nc = match &self.bottleneck {
            BottleneckHalf::Full { norm2, down_proj, up_proj } => {
                let y = norm2.forward(&x_nc)?;
                let y = down_proj.forward_then(&y, Activation::Gelu)?;
                up_proj.forward_add(&y, &x_nc, "adapter_bottleneck")?
            }
            BottleneckHalf::Constant(bias) => add(x_nc, bias)?,
        };
        trace::tap(name, &x_nc);
        Ok(x_nc)
    }
}

impl AttentionHalf {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let width = config.text.width;
        let out_proj = w.at("mha_adapter.out_proj");
        if is_all_zero(&out_proj.values("weight", &[width, width])?) {
            return Ok(Self::Constant(out_proj.tensor("bias", &[width])?));
        }
        Ok(Self::Full {
            norm1: LayerNorm::load(&w.at("norm1"), width)?,
            mha_adapter: Attention::load(&w.at("mha_adapter"), width, config.adapter.heads)?,
        })
    }
}

impl BottleneckHalf {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (width, narrow) = (config.text.width, config.adapter.dim);
        let up_proj = w.at("up_proj");
        if is_all_zero(&up_proj.values("weight", &[width, narrow])?) {
            return Ok(Self::Constant(up_proj.tensor("bias", &[width])?));
        }
        Ok(Self::Full {
            norm2: LayerNorm::load(&w.at("norm2"), width)?,
            down_proj: Linear::load(&w.at("down_proj"), width, narrow)?,
            up_proj: Linear::load(&up_proj, narrow, width)?,
        })
    }
}
