//! The fusion encoder: image tokens attend to each other and to the prompt (spec section 9).

use super::adapter::Adapters;
use super::{Once, PromptTokens};
use crate::Result;
use crate::config::Config;
use crate::level::Level;
use crate::nn::{Attention, FeedForward, LayerNorm, Seen, add};
use crate::watch::Steps;
use crate::weights::Weights;
use sam3i_engine::{Tensor, trace};

/// `transformer.encoder`.
pub(crate) struct FusionEncoder(Vec<Layer>);

impl FusionEncoder {
    /// `with_adapters` says whether the checkpoint has this family of adapters.
    pub fn load(w: &Weights, config: &Config, with_adapters: bool) -> Result<Self> {
        let layers =
            (0..config.enc_layers).map(|i| Layer::load(&w.at(format!("layers.{i}")), config, with_adapters));
        layers.collect::<Result<_>>().map(Self)
    }

    /// The picture's tokens in the light of the prompt. No norm at the end.
    ///
    /// # Shapes
    /// `[n, d]` tokens and positions, `[p, d]` prompt to `[n, d]`.
    ///
    /// In the first layer the picture attends to itself before it meets the prompt: that is kept in `picture_alone`.
    pub fn forward(
        &self,
        image_nc: &Tensor,
        position_nc: &Tensor,
        prompt: &PromptTokens,
        level: Level,
        picture_alone: &Once,
        steps: &Steps,
    ) -> Result<Tensor> {
        let _scope = trace::scope(|| "enc");
        let mut x_nc = image_nc.clone();
        for (i, layer) in self.0.iter().enumerate() {
            steps.next()?;
            let _scope = trace::scope(|| format!("layer.{i}"));
            x_nc = match i {
                0 => picture_alone.get_or_make(|| layer.attend_to_itself(x_nc, position_nc))?,
                _ => layer.attend_to_itself(x_nc, position_nc)?,
            };
            x_nc = layer.meet_prompt(x_nc, prompt, level)?;
            trace::tap("", &x_nc);
        }
        Ok(x_nc)
    }
}

struct Layer {
    norm1: LayerNorm,
    self_attn: Attention,
    norm2: LayerNorm,
    /// Attends to the prompt, its name notwithstanding.
    cross_attn_image: Attention,
    norm3: LayerNorm,
    feed_forward: FeedForward,
    adapters: Option<Adapters>,
}

impl Layer {
    fn load(w: &Weights, config: &Config, with_adapters: bool) -> Result<Self> {
        let (d, heads) = (config.d_model, config.heads);
        Ok(Self {
            norm1: LayerNorm::load(&w.at("norm1"), d)?,
            self_attn: Attention::load(&w.at("self_attn"), d, heads)?,
            norm2: LayerNorm::load(&w.at("norm2"), d)?,
            cross_attn_image: Attention::load(&w.at("cross_attn_image"), d, heads)?,
            norm3: LayerNorm::load(&w.at("norm3"), d)?,
            feed_forward: FeedForward::load(w, d, config.ffn)?,
            adapters: with_adapters.then(|| Adapters::load(w, config)).transpose()?,
        })
    }

    /// Positions go to queries and keys of the self-attention, not to its values.
    fn attend_to_itself(&self, x_nc: Tensor, position_nc: &Tensor) -> Result<Tensor> {
        let y = self.norm1.forward(&x_nc)?;
        let placed = add(y.clone(), position_nc)?;
        self.self_attn.forward_add([&placed, &placed, &y], Seen::default(), &x_nc, "self_attn")
    }

    /// The feed-forward result is computed before the adapter runs and added after it.
    fn meet_prompt(&self, x_nc: Tensor, prompt: &PromptTokens, level: Level) -> Result<Tensor> {
        let y = self.norm2.forward(&x_nc)?;
        let tokens = &prompt.tokens_nc;
        let x_nc =
            self.cross_attn_image.forward_add([&y, tokens, tokens], Seen::default(), &x_nc, "cross_attn")?;

        let y = self.norm3.forward(&x_nc)?;
        match &self.adapters {
            Some(adapters) if level != Level::Concept => {
                let ffn = self.feed_forward.forward(&y)?;
                trace::tap("ffn", &ffn);
                add(adapters.route_fusion(x_nc, level)?, &ffn)
            }
            _ => self.feed_forward.forward_add(&y, &x_nc, "ffn"),
        }
    }
}
