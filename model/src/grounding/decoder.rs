//! The decoder: object queries and a presence token, with box refinement and box-relative attention (spec section 10).

use super::PromptTokens;
use super::adapter::Adapters;
use crate::Result;
use crate::config::Config;
use crate::level::Level;
use crate::nn::{Attention, FeedForward, LayerNorm, Mlp, Seen, add};
use crate::watch::Steps;
use crate::weights::Weights;
use sam3i_engine::ops::attention::Bias;
use sam3i_engine::ops::{concat::concat, elementwise, sine};
use sam3i_engine::{Tensor, trace};

/// The inverse sigmoid keeps this distance from 0 and 1.
const INVERSE_SIGMOID_EPS: f32 = 1e-3;

/// `transformer.decoder`.
pub(crate) struct Decoder {
    query_embed: Tensor,
    /// Logits of the starting boxes, `[q, 4]`.
    reference_points: Tensor,
    presence_token: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    bbox_embed: Mlp,
    ref_point_head: Mlp,
    box_bias: BoxBias,
    presence_token_head: Mlp,
    presence_token_out_norm: LayerNorm,
}

/// What the decoder says of the picture.
pub(crate) struct Decoded {
    /// `[q, d]`, normalised.
    pub queries_qc: Tensor,
    /// `[q, 4]` in [0, 1].
    pub boxes_cxcywh: Tensor,
    /// `[1, 1]`, a logit.
    pub presence: Tensor,
}

/// What the queries attend to.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    /// The fusion encoder's tokens, `[n, d]`.
    pub image_nc: &'a Tensor,
    /// Their positions, `[n, d]`.
    pub position_nc: &'a Tensor,
    pub prompt: &'a PromptTokens,
    pub level: Level,
}

impl Decoder {
    /// `with_adapters` says whether the checkpoint has this family of adapters.
    pub fn load(w: &Weights, config: &Config, with_adapters: bool) -> Result<Self> {
        let (d, q) = (config.d_model, config.queries);
        let layers =
            (0..config.dec_layers).map(|i| Layer::load(&w.at(format!("layers.{i}")), config, with_adapters));
        Ok(Self {
            query_embed: w.tensor("query_embed.weight", &[q, d])?,
            reference_points: w.tensor("reference_points.weight", &[q, 4])?,
            presence_token: w.tensor("presence_token.weight", &[1, d])?,
            layers: layers.collect::<Result<_>>()?,
            norm: LayerNorm::load(&w.at("norm"), d)?,
            bbox_embed: Mlp::load(&w.at("bbox_embed"), &[d, d, d, 4])?,
            ref_point_head: Mlp::load(&w.at("ref_point_head"), &[2 * d, d, d])?,
            box_bias: BoxBias::load(w, config)?,
            presence_token_head: Mlp::load(&w.at("presence_token_head"), &[d, d, d, 1])?,
            presence_token_out_norm: LayerNorm::load(&w.at("presence_token_out_norm"), d)?,
        })
    }

    /// Queries, boxes and presence after the last layer.
    pub fn forward(&self, memory: Memory, steps: &Steps) -> Result<Decoded> {
        let _scope = trace::scope(|| "dec");
        let keys_nc = add(memory.image_nc.clone(), memory.position_nc)?;
        let mut presence = self.presence_token.clone();
        let mut x = self.query_embed.clone();
        let mut boxes = elementwise::sigmoid(self.reference_points.clone())?;
        let mut queries = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            steps.next()?;
            let _scope = trace::scope(|| format!("layer.{i}"));
            trace::tap("ref_boxes", &boxes);
            let [q, d] = x.dims()?;
            let query_position = self.query_position(&boxes)?;
            let [bias_rows, bias_columns] = self.box_bias.forward(&boxes)?;
            let bias = Bias::Factored { rows: &bias_rows, columns: &bias_columns };

            let tokens = concat(&[&presence, &x], 0)?; // the presence token goes first
            let no_position = Tensor::zeros(x.device(), &[1, d])?;
            let positions = concat(&[&no_position, &query_position], 0)?;
            let tokens = layer.forward(tokens, &positions, &keys_nc, bias, memory)?;
            presence = tokens.narrow(0, 0, 1)?.contiguous()?;
            x = tokens.narrow(0, 1, q)?.contiguous()?;
            trace::tap("out", &x);
            trace::tap("presence", &presence);

            queries = self.norm.forward(&x)?;
            trace::tap("hs", &queries);
            if trace::wants_tensors() {
                trace::tap("presence_logit", &self.presence_logit(&presence)?);
            }
            boxes = self.refine(&boxes, &queries)?;
        }
        Ok(Decoded { queries_qc: queries, boxes_cxcywh: boxes, presence: self.presence_logit(&presence)? })
    }

    fn presence_logit(&self, presence: &Tensor) -> Result<Tensor> {
        self.presence_token_head.forward(&self.presence_token_out_norm.forward(presence)?)
    }

    /// `sigmoid(bbox_embed(h) + inverse_sigmoid(boxes))`.
    fn refine(&self, boxes: &Tensor, queries: &Tensor) -> Result<Tensor> {
        let logits = elementwise::inverse_sigmoid(boxes.clone(), INVERSE_SIGMOID_EPS)?;
        let logits = add(self.bbox_embed.forward(queries)?, &logits)?;
        Ok(elementwise::sigmoid(logits)?)
    }

    /// The position code of each query's box: sine codes of y, x, w, h through an MLP. `[q, 4]` to `[q, d]`.
    fn query_position(&self, boxes_cxcywh: &Tensor) -> Result<Tensor> {
        let [q, _] = boxes_cxcywh.dims()?;
        let channels = self.presence_token.last_dim() / 2;
        let code = |i: usize| -> Result<Tensor> {
            Ok(sine::sine_code(&boxes_cxcywh.narrow(1, i, 1)?.reshape(&[q])?, channels)?)
        };
        let sine = concat(&[&code(1)?, &code(0)?, &code(2)?, &code(3)?], 1)?;
        trace::tap("sine", &sine);
        let position = self.ref_point_head.forward(&sine)?;
        trace::tap("query_pos", &position);
        Ok(position)
    }
}

/// The bias that tells each query where its box lies: one part for rows, one for columns, never multiplied out.
struct BoxBias {
    embed_x: Mlp,
    embed_y: Mlp,
    /// `0/g, 1/g, ..`: left and top edges of the cells, `[1, g]`.
    edges: Tensor,
}

impl BoxBias {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (d, grid) = (config.d_model, config.grid());
        let edges = (0..grid).map(|i| i as f32 / grid as f32).collect();
        Ok(Self {
            embed_x: Mlp::load(&w.at("boxRPB_embed_x"), &[2, d, config.heads])?,
            embed_y: Mlp::load(&w.at("boxRPB_embed_y"), &[2, d, config.heads])?,
            edges: Tensor::from_vec(w.device(), &[1, grid], edges)?,
        })
    }

    /// The bias of rows and of columns: boxes `[q, 4]` to two of `[heads, 1 + q, g]`, zero for the presence token.
    fn forward(&self, boxes_cxcywh: &Tensor) -> Result<[Tensor; 2]> {
        let rows = self.along(&self.embed_y, boxes_cxcywh, 1)?;
        let columns = self.along(&self.embed_x, boxes_cxcywh, 0)?;
        if trace::wants_tensors() {
            trace::tap("rpb_rows", &rows);
            trace::tap("rpb_columns", &columns);
        }
        Ok([rows, columns])
    }

    /// The bias along an axis: 0 for x, 1 for y.
    fn along(&self, embed: &Mlp, boxes_cxcywh: &Tensor, axis: usize) -> Result<Tensor> {
        let ([q, _], grid) = (boxes_cxcywh.dims()?, self.edges.last_dim());
        let centre = boxes_cxcywh.narrow(1, axis, 1)?;
        let half = elementwise::scale_add(boxes_cxcywh.narrow(1, axis + 2, 1)?, 0.5, 0.0)?;
        let distance = |edge: Tensor| -> Result<Tensor> {
            let distance = elementwise::sub(self.edges.clone(), &edge)?;
            Ok(elementwise::signed_log2(distance)?.reshape(&[q, grid, 1])?)
        };
        let to_start = distance(elementwise::sub(centre.clone(), &half)?)?;
        let to_end = distance(elementwise::add(centre, &half)?)?;
        let bias_qgh = embed.forward(&concat(&[&to_start, &to_end], 2)?)?;
        let presence = Tensor::zeros(bias_qgh.device(), &[1, grid, bias_qgh.last_dim()])?;
        Ok(concat(&[&presence, &bias_qgh], 0)?.permute(&[2, 0, 1])?.contiguous()?)
    }
}

/// A post-norm layer. The norms' numbers are the checkpoint's, not the order they run in.
struct Layer {
    self_attn: Attention,
    norm2: LayerNorm,
    ca_text: Attention,
    catext_norm: LayerNorm,
    cross_attn: Attention,
    norm1: LayerNorm,
    feed_forward: FeedForward,
    norm3: LayerNorm,
    adapters: Option<Adapters>,
}

impl Layer {
    fn load(w: &Weights, config: &Config, with_adapters: bool) -> Result<Self> {
        let (d, heads) = (config.d_model, config.heads);
        Ok(Self {
            self_attn: Attention::load(&w.at("self_attn"), d, heads)?,
            norm2: LayerNorm::load(&w.at("norm2"), d)?,
            ca_text: Attention::load(&w.at("ca_text"), d, heads)?,
            catext_norm: LayerNorm::load(&w.at("catext_norm"), d)?,
            cross_attn: Attention::load(&w.at("cross_attn"), d, heads)?,
            norm1: LayerNorm::load(&w.at("norm1"), d)?,
            feed_forward: FeedForward::load(w, d, config.ffn)?,
            norm3: LayerNorm::load(&w.at("norm3"), d)?,
            adapters: with_adapters.then(|| Adapters::load(w, config)).transpose()?,
        })
    }

    /// `[1 + q, d]` to the same. `positions` are added to queries (and keys among the tokens), never to values.
    fn forward(
        &self,
        z: Tensor,
        positions: &Tensor,
        keys_nc: &Tensor,
        bias: Bias,
        memory: Memory,
    ) -> Result<Tensor> {
        let placed = add(z.clone(), positions)?;
        let z = self.self_attn.forward_add([&placed, &placed, &z], Seen::default(), &z, "self_attn")?;
        let z = self.norm2.forward(&z)?;
        trace::tap("norm2", &z);

        let placed = add(z.clone(), positions)?;
        let tokens = &memory.prompt.tokens_nc;
        let z = self.ca_text.forward_add([&placed, tokens, tokens], Seen::default(), &z, "ca_text")?;
        let z = self.catext_norm.forward(&z)?;
        trace::tap("catext_norm", &z);

        let placed = add(z.clone(), positions)?;
        let seen = Seen { bias, ..Seen::default() };
        let z = self.cross_attn.forward_add([&placed, keys_nc, memory.image_nc], seen, &z, "cross_attn")?;
        let z = self.norm1.forward(&z)?;
        trace::tap("norm1", &z);

        let ffn = self.feed_forward.forward(&z)?;
        let z = match &self.adapters {
            Some(adapters) => adapters.route_decoder(z, memory.level)?,
            None => z,
        };
        self.norm3.forward(&add(z, &ffn)?)
    }
}
