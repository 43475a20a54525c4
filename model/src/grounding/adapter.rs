//! The bottleneck adapter of the fusion encoder and the decoder, and how a level routes through its three copies
//! (spec section 9).

use crate::Result;
use crate::config::Config;
use crate::level::Level;
use crate::nn::{LayerNorm, Linear, add};
use crate::text::adapter::is_all_zero;
use crate::weights::Weights;
use sam3i_engine::{Tensor, ops, trace};

/// `adapter1`, `adapter12` and `adapter2` of a layer.
pub(crate) struct Adapters {
    adapter1: Bottleneck,
    adapter12: Bottleneck,
    adapter2: Bottleneck,
    scale: f32,
}

impl Adapters {
    pub fn load(w: &Weights, config: &Config) -> Result<Self> {
        Ok(Self {
            adapter1: Bottleneck::load(&w.at("adapter1"), config)?,
            adapter12: Bottleneck::load(&w.at("adapter12"), config)?,
            adapter2: Bottleneck::load(&w.at("adapter2"), config)?,
            scale: config.adapter.scale as f32,
        })
    }

    /// The fusion encoder's route: `adapter2` has a skip of its own.
    pub fn route_fusion(&self, x_nc: Tensor, level: Level) -> Result<Tensor> {
        match level {
            Level::Complex => {
                let u = tapped("adapter12", self.adapter12.forward(&x_nc)?);
                let v = tapped("adapter2", add(self.adapter2.forward(&u)?, &u)?);
                self.add_scaled(x_nc, v)
            }
            _ => self.route_decoder(x_nc, level),
        }
    }

    /// The decoder's route: `adapter2` has no skip.
    pub fn route_decoder(&self, x_nc: Tensor, level: Level) -> Result<Tensor> {
        match level {
            Level::Concept => Ok(x_nc),
            Level::Simple => {
                let u = tapped("adapter1", self.adapter1.forward(&x_nc)?);
                self.add_scaled(x_nc, u)
            }
            Level::Complex => {
                let u = tapped("adapter12", self.adapter12.forward(&x_nc)?);
                let v = tapped("adapter2", self.adapter2.forward(&u)?);
                self.add_scaled(x_nc, v)
            }
        }
    }

    fn add_scaled(&self, x_nc: Tensor, term: Tensor) -> Result<Tensor> {
        let term = if self.scale == 1.0 { term } else { ops::elementwise::scale_add(term, self.scale, 0.0)? };
        add(x_nc, &term)
    }
}

/// Shows a tensor to an observer and hands it on.
fn tapped(name: &str, x: Tensor) -> Tensor {
    trace::tap(name, &x);
    x
}

/// `up_proj(gelu(norm(down_proj(x))))`; the norm is over the bottleneck's channels.
#[expect(clippy::large_enum_variant, reason = "one a layer: not worth a pointer")]
enum Bottleneck {
    Full {
        down_proj: Linear,
        norm: LayerNorm,
        up_proj: Linear,
    },
    /// `up_proj` is zero throughout: its bias, whatever comes in.
    Constant(Tensor),
}

impl Bottleneck {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (dim, narrow) = (config.d_model, config.adapter.dim);
        let up_proj = w.at("up_proj");
        if is_all_zero(&up_proj.values("weight", &[dim, narrow])?) {
            return Ok(Self::Constant(up_proj.tensor("bias", &[dim])?));
        }
        Ok(Self::Full {
            down_proj: Linear::load(&w.at("down_proj"), dim, narrow)?,
            norm: LayerNorm::load(&w.at("norm"), narrow)?,
            up_proj: Linear::load(&up_proj, narrow, dim)?,
        })
    }

    fn forward(&self, x_nc: &Tensor) -> Result<Tensor> {
        match self {
            Self::Full { down_proj, norm, up_proj } => {
                let y = norm.forward(&down_proj.forward(x_nc)?)?;
                up_proj.forward(&ops::elementwise::gelu(y)?)
            }
            Self::Constant(bias) => add(Tensor::zeros(x_nc.device(), x_nc.shape())?, bias),
        }
    }
}
