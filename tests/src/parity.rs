//! Running a recorded case and finding, for each recorded tensor, our own.
//!
//! Names and stages are the recording's; only its layout (channels first, sequences first) differs from ours.

use crate::recording::{Recorded, RecordedCase, Recording};
use sam3i::{ImageEmbedding, Level, Model, Prompt, SegmentOptions, Segmentation};
use sam3i_engine::trace::{Observer, observe};
use sam3i_engine::{Device, Tensor, ops};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Keeps every tensor a run offers. A GPU's are read out at once, so that being watched takes none of its memory.
#[derive(Default)]
pub struct Taps(Mutex<BTreeMap<String, Tensor>>);

impl Observer for Taps {
    fn tensor(&self, name: &str, tensor: &Tensor) {
        let kept = if tensor.device().name() == "gpu" { on_the_host(tensor) } else { tensor.clone() };
        self.0.lock().expect("one thread").insert(name.to_owned(), kept);
    }

    fn wants_tensors(&self) -> bool {
        true
    }
}

fn on_the_host(t: &Tensor) -> Tensor {
    let values = t.to_vec().expect("values");
    Tensor::from_vec(&Device::reference(), t.shape(), values).expect("as many")
}

/// What a run offered, by our names.
pub type Offered = BTreeMap<String, Tensor>;

/// Runs `f` and keeps the tensors it offers.
pub fn watch<R>(f: impl FnOnce() -> R) -> (R, Offered) {
    let taps = Arc::new(Taps::default());
    let result = observe(taps.clone(), f);
    let offered = taps.0.lock().expect("one thread").clone();
    (result, offered)
}

/// The level of a recorded text type.
pub fn level(case: &RecordedCase) -> Level {
    Level::ALL[case.text_type - 1]
}

/// The recorded prompt as ours.
pub fn prompt(case: &RecordedCase) -> Prompt {
    let start = match &case.text {
        Some(text) => Prompt::text(text).level(level(case)),
        None => Prompt::examples(),
    };
    let boxes = case.boxes_cxcywh.iter().zip(&case.box_labels);
    boxes.fold(start, |prompt, (&cxcywh, &positive)| prompt.normalized_box(cxcywh, positive))
}

/// Runs a case.
///
/// # Panics
/// If the model refuses it.
pub fn run(model: &Model, image: &ImageEmbedding, case: &RecordedCase) -> Segmentation {
    let options = SegmentOptions::default().threshold(case.threshold);
    model.segment(image, &prompt(case), &options).expect("the case runs")
}

/// Row-major values in the recording's order.
pub struct Ours(pub Vec<f32>);

fn values(t: &Tensor) -> Ours {
    Ours(t.to_vec().expect("values"))
}

/// `[h, w, c]` as `[c, h, w]`.
fn channels_first(t: &Tensor) -> Ours {
    values(&t.permute(&[2, 0, 1]).expect("a map"))
}

fn joined(parts: impl Iterator<Item = Tensor>) -> Ours {
    Ours(parts.flat_map(|t| t.to_vec().expect("values")).collect())
}

/// Our counterpart of the recorded image tensor `name`; `None` if there is none.
pub fn image_tensor(model: &Model, offered: &Offered, weights: &Path, name: &str) -> Option<Ours> {
    let tap = |name: &str| offered.get(name);
    let config = model.config();
    match name {
        "image.pixel_values" | "fpn.0" | "fpn.1" | "fpn.2" => tap(name).map(channels_first),
        "pos.0" | "pos.1" | "pos.2" => {
            let side = config.grid() * [4, 2, 1][usize::from(name.as_bytes()[4] - b'0')];
            let map = ops::sine::position_map(model.device(), side, side, config.d_model).ok()?;
            Some(channels_first(&map.reshape(&[side, side, config.d_model]).ok()?))
        }
        "fpn.3" => Some(channels_first(&dead_level(tap(&last_block(config.vit.depth))?, weights))),
        _ => tap(name).map(values),
    }
}

fn last_block(depth: usize) -> String {
    format!("vit.block.{}", depth - 1)
}

/// The level of the neck that the reference computes and throws away, from the checkpoint's weights.
fn dead_level(features_hwc: &Tensor, weights: &Path) -> Tensor {
    use ops::conv::{ConvWeight, conv};
    let file = sam3i_engine::weights::WeightFile::open(weights).expect("the weights");
    let read = |name: &str| {
        let name = format!("backbone.vision_backbone.convs.3.{name}");
        let values = file.read_f32(&name).expect("the weight");
        (file.entry(&name).expect("the weight").shape.clone(), values)
    };
    let apply = |x: &Tensor, layer: &str, padding: usize| {
        let (shape, w) = read(&format!("{layer}.weight"));
        let (bias_shape, bias) = read(&format!("{layer}.bias"));
        let shape = shape.try_into().expect("four axes");
        let w = ConvWeight::new(x.device(), shape, 1, padding, w).expect("a kernel");
        let bias = Tensor::from_vec(x.device(), &bias_shape, bias).expect("a bias");
        conv(x, &w, Some(&bias), ops::Activation::None).expect("a map")
    };
    let pooled = ops::pool::max_pool_2x2(features_hwc).expect("a map");
    apply(&apply(&pooled, "conv_1x1", 0), "conv_3x3", 1)
}

/// Our counterpart of the recorded tensor `name` of a case; `None` if there is none.
pub fn case_tensor(model: &Model, offered: &Offered, case: &RecordedCase, name: &str) -> Option<Ours> {
    let tap = |name: &str| offered.get(name);
    let layers = model.config().dec_layers;
    let each_layer =
        |what: &str| joined((0..layers).map(|i| offered[&format!("dec.layer.{i}.{what}")].clone()));
    let boxes = || tap("out.pred_boxes").map(values);
    match name {
        "text.tokens" => {
            Some(Ours(model.tokenize(&case.encoded_text).ids.iter().map(|&id| id as f32).collect()))
        }
        "text.mask" => Some(flags(&model.tokenize(&case.encoded_text).padding)),
        "geo.mask" => Some(flags(&vec![false; case.boxes_cxcywh.len() + 1])),
        "prompt_mask" => {
            let mut padding = model.tokenize(&case.encoded_text).padding;
            padding.resize(padding.len() + case.boxes_cxcywh.len() + 1, false);
            Some(flags(&padding))
        }
        "geo.roi_align" => tap(name).map(|t| values(&t.permute(&[0, 3, 1, 2]).expect("maps"))),
        "dec.hs" => Some(each_layer("hs")),
        "dec.ref_boxes" => Some(each_layer("ref_boxes")),
        "dec.presence_logits" => Some(each_layer("presence_logit")),
        "dec.layer.0.rpb" => Some(box_bias(tap("dec.layer.0.rpb_rows")?, tap("dec.layer.0.rpb_columns")?)),
        "out.semantic_seg" => tap("seg.semantic").map(channels_first),
        "out.scores" => {
            let presence = sigmoid(tap("out.presence_logit")?.to_vec().ok()?[0]);
            let logits = tap("out.pred_logits")?.to_vec().ok()?;
            Some(Ours(logits.into_iter().map(|logit| sigmoid(logit) * presence).collect()))
        }
        "out.pred_boxes_xyxy" => boxes().map(|Ours(b)| Ours(b.chunks(4).flat_map(corners).collect())),
        _ if name.starts_with("seg.pixel") || name == "seg.instance_embed" => tap(name).map(channels_first),
        _ => tap(name).map(values),
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn corners(b: &[f32]) -> [f32; 4] {
    [b[0] - b[2] * 0.5, b[1] - b[3] * 0.5, b[0] + b[2] * 0.5, b[1] + b[3] * 0.5]
}

fn flags(flags: &[bool]) -> Ours {
    Ours(flags.iter().map(|&flag| f32::from(flag)).collect())
}

/// The factored bias multiplied out for the queries: `[heads, q, h * w]` from two of `[heads, 1 + q, ..]`.
fn box_bias(rows: &Tensor, columns: &Tensor) -> Ours {
    let ([heads, n, h], [_, _, w]) = (rows.dims().expect("three axes"), columns.dims().expect("three axes"));
    let (rows, columns) = (rows.to_vec().expect("values"), columns.to_vec().expect("values"));
    let mut bias = Vec::with_capacity(heads * (n - 1) * h * w);
    for query in (0..heads * n).filter(|i| i % n != 0) {
        for y in 0..h {
            bias.extend((0..w).map(|x| rows[query * h + y] + columns[query * w + x]));
        }
    }
    Ours(bias)
}

/// How far ours are from the recorded values, over the recorded values' standard deviation.
pub struct Distance {
    /// Largest difference.
    pub largest: f64,
    /// Standard deviation of the recorded tensor.
    pub spread: f64,
}

impl Distance {
    /// Compares every `stride`th of our values with the recorded ones.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn of(what: &str, ours: &Ours, recorded: &Recorded, stride: usize, spread: Option<f64>) -> Self {
        let count = ours.0.len().div_ceil(stride);
        assert_eq!(count, recorded.values.len(), "{what}: recorded {:?}", recorded.shape);
        let pairs = ours.0.iter().step_by(stride).zip(&recorded.values);
        // A NaN on either side must not pass as small.
        let largest =
            pairs.map(|(&x, &y)| (f64::from(x) - y).abs()).fold(0.0, |m: f64, d| if d <= m { m } else { d });
        Self { largest, spread: spread.unwrap_or_else(|| deviation(&recorded.values)) }
    }
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt()
}

/// Every device a parity test of a small model runs on: the hosts', and the GPU with f32 and with f16 weights.
pub fn devices() -> Vec<Device> {
    let cpu = Device::cpu(&sam3i::CpuOptions::default()).expect("threads start");
    let gpus = [crate::gpu::devices(), crate::gpu::f16_devices()].concat();
    [Device::reference(), cpu].into_iter().chain(gpus).collect()
}

impl Recording {
    /// The recorded tensors of an image alone, or of a case, by their own names.
    pub fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a Recorded)> {
        self.tensors.iter().filter_map(move |(full, tensor)| {
            let name = full.strip_prefix(key)?.strip_prefix('/')?;
            (!name.contains('/')).then_some((full.as_str(), name, tensor))
        })
    }
}
