//! The geometry encoder: example boxes and points become prompt tokens (spec section 8).

use crate::config::Config;
use crate::neck::Pyramid;
use crate::nn::{Attention, Conv, FeedForward, LayerNorm, Linear, Seen, add};
use crate::weights::Weights;
use crate::{Error, Result};
use sam3i_engine::{Tensor, ops, trace};

/// Side of the map a box is pooled to.
const ROI: usize = 7;

/// Example geometry, normalised to the picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Geometry {
    /// Points `(x, y)` and whether they are positive.
    pub points: Vec<([f32; 2], bool)>,
    /// Boxes `(cx, cy, w, h)` and whether they are positive.
    pub boxes_cxcywh: Vec<([f32; 4], bool)>,
}

impl Geometry {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.boxes_cxcywh.is_empty()
    }
}

/// `geometry_encoder`.
pub(crate) struct GeometryEncoder {
    points: Option<PointProjections>,
    boxes_direct_project: Linear,
    boxes_pool_project: Conv,
    boxes_pos_enc_project: Linear,
    label_embed: Tensor,
    cls_embed: Tensor,
    img_pre_norm: LayerNorm,
    final_proj: Linear,
    norm: LayerNorm,
    layers: Vec<Layer>,
    encode_norm: LayerNorm,
}

/// The projections that only points need; Hugging Face files lack them.
struct PointProjections {
    points_direct_project: Linear,
    points_pool_project: Linear,
    points_pos_enc_project: Linear,
}

impl GeometryEncoder {
    /// `with_points` says whether the checkpoint has the projections of points.
    pub fn load(w: &Weights, config: &Config, with_points: bool) -> Result<Self> {
        let d = config.d_model;
        let layers = (0..config.geo_layers).map(|i| Layer::load(&w.at(format!("encode.{i}")), config));
        Ok(Self {
            points: with_points.then(|| PointProjections::load(w, d)).transpose()?,
            boxes_direct_project: Linear::load(&w.at("boxes_direct_project"), 4, d)?,
            boxes_pool_project: Conv::load_whole(&w.at("boxes_pool_project"), d, d, ROI)?,
            boxes_pos_enc_project: Linear::load(&w.at("boxes_pos_enc_project"), d + 2, d)?,
            label_embed: w.tensor("label_embed.weight", &[2, d])?,
            cls_embed: w.tensor("cls_embed.weight", &[1, d])?,
            img_pre_norm: LayerNorm::load(&w.at("img_pre_norm"), d)?,
            final_proj: Linear::load(&w.at("final_proj"), d, d)?,
            norm: LayerNorm::load(&w.at("norm"), d)?,
            layers: layers.collect::<Result<_>>()?,
            encode_norm: LayerNorm::load(&w.at("encode_norm"), d)?,
        })
    }

    /// Points, boxes and the class token as prompt tokens.
    ///
    /// # Shapes
    /// Geometry of `n` points and `m` boxes to `[n + m + 1, d]`; none of them is padding.
    ///
    /// # Errors
    /// [`Error::NoPointPrompts`] for points where the checkpoint cannot take them.
    pub fn forward(&self, geometry: &Geometry, pyramid: &Pyramid) -> Result<Tensor> {
        let _scope = trace::scope(|| "geo");
        let [h, w, d] = pyramid.coarse_hwc.dims()?;
        let mut parts = Vec::new();
        if !geometry.is_empty() {
            let pooled_hwc = self.img_pre_norm.forward(&pyramid.coarse_hwc)?;
            if !geometry.points.is_empty() {
                parts.push(self.embed_points(&geometry.points, &pooled_hwc)?);
            }
            if !geometry.boxes_cxcywh.is_empty() {
                parts.push(self.embed_boxes(&geometry.boxes_cxcywh, &pooled_hwc)?);
            }
        }
        parts.push(self.cls_embed.clone()); // always there, always last
        let x = ops::concat::concat(&parts.iter().collect::<Vec<_>>(), 0)?;
        trace::tap("seq_in", &x);

        let mut x = self.norm.forward(&self.final_proj.forward(&x)?)?;
        trace::tap("proj_norm", &x);
        let image_nc = pyramid.coarse_hwc.reshape(&[h * w, d])?;
        let keys_nc = add(image_nc.clone(), &pyramid.position_nc)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &keys_nc, &image_nc)?;
            trace::tap(&format!("layer.{i}"), &x);
        }
        let x = self.encode_norm.forward(&x)?;
        trace::tap("out", &x);
        Ok(x)
    }

    fn embed_boxes(&self, boxes: &[([f32; 4], bool)], image_hwc: &Tensor) -> Result<Tensor> {
        let [h, w, d] = image_hwc.dims()?;
        let (device, m) = (image_hwc.device(), boxes.len());
        let boxes_cxcywh = Tensor::from_vec(device, &[m, 4], boxes.iter().flat_map(|(b, _)| *b).collect())?;

        let direct = self.boxes_direct_project.forward(&boxes_cxcywh)?;
        trace::tap("box_direct", &direct);

        let (height, width) = (h as f32, w as f32);
        let corners = boxes.iter().flat_map(|([cx, cy, bw, bh], _)| {
            [
                (cx - bw * 0.5) * width,
                (cy - bh * 0.5) * height,
                (cx + bw * 0.5) * width,
                (cy + bh * 0.5) * height,
            ]
        });
        let corners = Tensor::from_vec(device, &[m, 4], corners.collect())?;
        let rois = ops::roi_align::roi_align(image_hwc, &corners, ROI)?;
        trace::tap("roi_align", &rois);
        let pooled = (0..m).map(|i| {
            let roi_hwc = rois.narrow(0, i, 1)?.reshape(&[ROI, ROI, d])?;
            Ok(self.boxes_pool_project.forward(&roi_hwc)?.reshape(&[1, d])?)
        });
        let pooled = pooled.collect::<Result<Vec<_>>>()?;
        let pooled = ops::concat::concat(&pooled.iter().collect::<Vec<_>>(), 0)?;
        trace::tap("box_pool", &pooled);

        let column = |i: usize| -> Result<Tensor> { Ok(boxes_cxcywh.narrow(1, i, 1)?.reshape(&[m])?) };
        let (code_y, code_x) =
            (ops::sine::sine_code(&column(1)?, d / 2)?, ops::sine::sine_code(&column(0)?, d / 2)?);
        let (height, width) = (column(3)?.reshape(&[m, 1])?, column(2)?.reshape(&[m, 1])?);
        let code = ops::concat::concat(&[&code_y, &code_x, &height, &width], 1)?; // y first, then raw h, w
        trace::tap("box_posenc_in", &code);
        let code = self.boxes_pos_enc_project.forward(&code)?;
        trace::tap("box_posenc", &code);

        let labels = self.labels(boxes.iter().map(|(_, positive)| *positive))?;
        add(add(add(direct, &pooled)?, &code)?, &labels)
    }

    fn embed_points(&self, points: &[([f32; 2], bool)], image_hwc: &Tensor) -> Result<Tensor> {
        let projections = self.points.as_ref().ok_or(Error::NoPointPrompts)?;
        let [h, w, d] = image_hwc.dims()?;
        let (device, n) = (image_hwc.device(), points.len());
        let points_xy = Tensor::from_vec(device, &[n, 2], points.iter().flat_map(|(p, _)| *p).collect())?;

        let direct = projections.points_direct_project.forward(&points_xy)?;

        let (width, height) = (w as f32, h as f32);
        let at = points.iter().flat_map(|([x, y], _)| [width * x - 0.5, height * y - 0.5]);
        let at = Tensor::from_vec(device, &[n, 2], at.collect())?;
        let pooled =
            projections.points_pool_project.forward(&ops::grid_sample::grid_sample(image_hwc, &at)?)?;

        let column = |i: usize| -> Result<Tensor> { Ok(points_xy.narrow(1, i, 1)?.reshape(&[n])?) };
        let (code_x, code_y) =
            (ops::sine::sine_code(&column(0)?, d / 2)?, ops::sine::sine_code(&column(1)?, d / 2)?);
        let code = ops::concat::concat(&[&code_x, &code_y], 1)?; // x first, unlike boxes
        let code = projections.points_pos_enc_project.forward(&code)?;

        let labels = self.labels(points.iter().map(|(_, positive)| *positive))?;
        add(add(add(direct, &pooled)?, &code)?, &labels)
    }

    /// A row of `label_embed` for each: 1 positive, 0 negative.
    fn labels(&self, positive: impl Iterator<Item = bool>) -> Result<Tensor> {
        let rows: Vec<u32> = positive.map(u32::from).collect();
        Ok(ops::embedding::embedding(&self.label_embed, &rows)?)
    }
}

impl PointProjections {
    fn load(w: &Weights, d: usize) -> Result<Self> {
        Ok(Self {
            points_direct_project: Linear::load(&w.at("points_direct_project"), 2, d)?,
            points_pool_project: Linear::load(&w.at("points_pool_project"), d, d)?,
            points_pos_enc_project: Linear::load(&w.at("points_pos_enc_project"), d, d)?,
        })
    }
}

/// Pre-norm layer: tokens among themselves, tokens to the picture, feed-forward.
struct Layer {
    norm1: LayerNorm,
    self_attn: Attention,
    norm2: LayerNorm,
    cross_attn_image: Attention,
    norm3: LayerNorm,
    feed_forward: FeedForward,
}

impl Layer {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (d, heads) = (config.d_model, config.heads);
        Ok(Self {
            norm1: LayerNorm::load(&w.at("norm1"), d)?,
            self_attn: Attention::load(&w.at("self_attn"), d, heads)?,
            norm2: LayerNorm::load(&w.at("norm2"), d)?,
            cross_attn_image: Attention::load(&w.at("cross_attn_image"), d, heads)?,
            norm3: LayerNorm::load(&w.at("norm3"), d)?,
            feed_forward: FeedForward::load(w, d, config.ffn)?,
        })
    }

    /// Positions are added to the picture's keys only; the values are the raw features.
    fn forward(&self, x_nc: Tensor, keys_nc: &Tensor, image_nc: &Tensor) -> Result<Tensor> {
        let y = self.norm1.forward(&x_nc)?;
        let x_nc = self.self_attn.forward_add([&y, &y, &y], Seen::default(), &x_nc, "self_attn")?;
        let y = self.norm2.forward(&x_nc)?;
        let x_nc = self.cross_attn_image.forward_add(
            [&y, keys_nc, image_nc],
            Seen::default(),
            &x_nc,
            "cross_attn",
        )?;
        let y = self.norm3.forward(&x_nc)?;
        self.feed_forward.forward_add(&y, &x_nc, "ffn")
    }
}
