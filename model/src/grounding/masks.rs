//! The segmentation head: pixel features, and the mask of each query as a product with them (spec section 12).

use super::PromptTokens;
use crate::Result;
use crate::config::Config;
use crate::level::Level;
use crate::neck::Pyramid;
use crate::nn::{Attention, Conv, GroupNorm, LayerNorm, Linear, Mlp, Seen, add};
use crate::weights::Weights;
use sam3i_engine::{Tensor, ops, trace};

/// `segmentation_head`. The third stage of the pixel decoder is dead and not loaded.
pub(crate) struct SegmentationHead {
    cross_attn_norm: LayerNorm,
    cross_attend_prompt: Attention,
    stages: [Stage; 2],
    /// A 1 x 1 convolution, applied to the queries instead of the pixels.
    instance_seg_head: Conv,
    instance_fold: Linear,
    semantic_seg_head: Conv,
    mask_predictor: Mlp,
    /// The predictors of the simple and the complex level.
    adapters: Option<[Mlp; 2]>,
}

/// 3 x 3 convolution, group norm, ReLU.
struct Stage {
    conv: Conv,
    norm: GroupNorm,
}

const PREDICTORS: [&str; 3] = ["mask_predictor", "mask_predictor_adapter1", "mask_predictor_adapter2"];

impl SegmentationHead {
    /// `with_adapters` says whether the checkpoint has mask predictors of its own for the simple and complex levels.
    pub fn load(w: &Weights, config: &Config, with_adapters: bool) -> Result<Self> {
        let d = config.d_model;
        let stage = |i: usize| -> Result<Stage> {
            let conv = Conv::load_3x3(&w.at(format!("pixel_decoder.conv_layers.{i}")), d, d)?;
            Ok(Stage { conv, norm: GroupNorm::load(&w.at(format!("pixel_decoder.norms.{i}")), d)? })
        };
        let predictor = |i: usize| Mlp::load(&w.in_f32().at(PREDICTORS[i]).at("mask_embed"), &[d, d, d, d]);
        Ok(Self {
            cross_attn_norm: LayerNorm::load(&w.at("cross_attn_norm"), d)?,
            cross_attend_prompt: Attention::load(&w.at("cross_attend_prompt"), d, config.heads)?,
            stages: [stage(0)?, stage(1)?],
            instance_seg_head: Conv::load_1x1(&w.at("instance_seg_head"), d, d)?,
            instance_fold: load_fold(&w.in_f32().at("instance_seg_head"), d)?,
            semantic_seg_head: Conv::load_1x1(&w.at("semantic_seg_head"), d, 1)?,
            mask_predictor: predictor(0)?,
            adapters: if with_adapters { Some([predictor(1)?, predictor(2)?]) } else { None },
        })
    }

    /// What every mask is a product with.
    ///
    /// # Shapes
    /// `[g², d]` fused tokens to `[4g, 4g, d]`.
    pub fn pixel_features(
        &self,
        fused_nc: &Tensor,
        prompt: &PromptTokens,
        pyramid: &Pyramid,
    ) -> Result<Tensor> {
        let _scope = trace::scope(|| "seg");
        let y = self.cross_attn_norm.forward(fused_nc)?;
        let tokens = &prompt.tokens_nc;
        let m = self.cross_attend_prompt.forward_add(
            [&y, tokens, tokens],
            Seen::default(),
            fused_nc,
            "cross_attn",
        )?;

        let [h, w, d] = pyramid.coarse_hwc.dims()?;
        let u = m.reshape(&[h, w, d])?;
        drop((y, m));
        let u = self.stages[0].forward(&pyramid.middle_hwc, &u, 0)?;
        let u = self.stages[1].forward(&pyramid.fine_hwc, &u, 1)?;
        trace::tap("pixel_embed", &u);
        if trace::wants_tensors() {
            trace::tap("semantic", &self.semantic_seg_head.forward(&u)?);
        }
        if trace::wants_tensors() {
            trace::tap("instance_embed", &self.instance_seg_head.forward(&u)?);
        }
        Ok(u)
    }

    /// The mask logits of these queries.
    ///
    /// # Shapes
    /// `[k, d]` queries, `[h, w, d]` pixel features to `[k, h, w]`.
    pub fn mask_logits(&self, queries_qc: &Tensor, features_hwc: &Tensor, level: Level) -> Result<Tensor> {
        let _scope = trace::scope(|| "seg");
        let [h, w, d] = features_hwc.dims()?;
        let embed = self.instance_fold.forward(&self.predictor(level).forward(queries_qc)?)?;
        let [k, _] = embed.dims()?;
        let (embed, offset) = (embed.narrow(1, 0, d)?, embed.narrow(1, d, 1)?.permute(&[1, 0])?);
        let logits_nk = ops::matmul::matmul_transposed(&features_hwc.reshape(&[h * w, d])?, &embed)?;
        let logits_nk = add(logits_nk, &offset)?;
        Ok(logits_nk.permute(&[1, 0])?.reshape(&[k, h, w])?)
    }

    fn predictor(&self, level: Level) -> &Mlp {
        match (&self.adapters, level) {
            (Some([simple, _]), Level::Simple) => simple,
            (Some([_, complex]), Level::Complex) => complex,
            _ => &self.mask_predictor,
        }
    }

    /// The reference evaluates all three predictors and keeps one; an observer sees all three.
    pub fn tap_predictors(&self, queries_qc: &Tensor) -> Result<()> {
        let _scope = trace::scope(|| "seg");
        for (name, level) in PREDICTORS.iter().zip(Level::ALL) {
            trace::tap(&format!("mask_embed.{name}"), &self.predictor(level).forward(queries_qc)?);
        }
        Ok(())
    }
}

/// The convolution `W u + b` of the pixels `u`, as the queries `k` of a mask see it: `k · (W u + b) = (Wᵀ k) · u + b · k`. So two
/// hundred queries are multiplied instead of every pixel. `[q, d]` to `[q, d + 1]`, the last the offset.
fn load_fold(w: &Weights, d: usize) -> Result<Linear> {
    let (weight, bias) = (w.values("weight", &[d, d, 1, 1])?, w.values("bias", &[d])?);
    let mut rows = Vec::with_capacity(weight.len() + bias.len());
    if !weight.is_empty() {
        (0..d).for_each(|column| rows.extend(weight.iter().skip(column).step_by(d)));
        rows.extend(bias);
    }
    Linear::from_values(w, d, d + 1, rows, Tensor::zeros(w.device(), &[d + 1])?)
}

impl Stage {
    /// `relu(norm(conv(fine + nearest2(coarse))))`.
    fn forward(&self, fine_hwc: &Tensor, coarse_hwc: &Tensor, i: usize) -> Result<Tensor> {
        let sum = ops::resize::add_nearest_2x(fine_hwc.clone(), coarse_hwc)?;
        let u = self.conv.forward(&sum)?;
        drop(sum);
        if trace::wants_tensors() {
            trace::tap(&format!("pixel_decoder.norm.{i}"), &self.norm.forward(u.clone(), false)?);
        }
        self.norm.forward(u, true)
    }
}
