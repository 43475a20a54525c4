//! Recordings of the published model: a manifest and its tensors.

use safetensors::{Dtype, SafeTensors};
use sam3i::Config;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A recording: what was run, and what came out.
pub struct Recording {
    /// What was run.
    pub manifest: Manifest,
    /// What came out, by `<image>/<name>` or `<image>/<case>/<name>`.
    pub tensors: BTreeMap<String, Recorded>,
}

/// The manifest of a recording.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// The model's sizes.
    pub config: serde_json::Value,
    /// The pictures.
    pub images: Vec<Image>,
    /// The prompts.
    pub cases: Vec<RecordedCase>,
    /// Whole-tensor statistics of tensors that are stored as samples, among other facts.
    pub tensors: BTreeMap<String, Facts>,
}

/// A picture of a recording.
#[derive(Debug, Deserialize)]
pub struct Image {
    /// Its name in tensor names.
    pub id: String,
    /// Its file, beside the manifest.
    pub file: String,
}

/// A prompt of a recording.
#[derive(Debug, Deserialize)]
pub struct RecordedCase {
    /// `<image>/<case>`.
    pub key: String,
    /// The picture.
    pub image: String,
    /// The sentence, if any.
    pub text: Option<String>,
    /// What went through the tokenizer.
    pub encoded_text: String,
    /// 1 concept, 2 simple, 3 complex.
    pub text_type: usize,
    /// Example boxes, in fractions.
    pub boxes_cxcywh: Vec<[f32; 4]>,
    /// Whether each is positive.
    pub box_labels: Vec<bool>,
    /// The score threshold of `final.*`.
    pub threshold: f32,
}

/// What the manifest says of a tensor.
#[derive(Debug, Deserialize)]
pub struct Facts {
    /// Its whole shape.
    pub shape: Vec<usize>,
    /// Every how many values were stored, if not all were.
    #[serde(default)]
    pub stride: Option<serde_json::Value>,
    /// Standard deviation of the whole tensor, where only a sample is stored.
    #[serde(default)]
    pub std: Option<f64>,
}

impl Facts {
    /// Every how many values are stored; 1 for all.
    pub fn stride(&self) -> usize {
        self.stride.as_ref().and_then(serde_json::Value::as_u64).unwrap_or(1) as usize
    }
}

/// A recorded tensor, its values as f64 whatever they were.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its shape as stored.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f64>,
}

impl Recording {
    /// Reads `<name>.json` and `<name>.safetensors` of a folder.
    ///
    /// # Panics
    /// If they are not there or not what they should be.
    pub fn read(folder: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("a manifest");
        let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).expect("its tensors");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let values = numbers(view.dtype(), view.data());
            (name, Recorded { shape: view.shape().to_vec(), values })
        });
        Self { tensors: tensors.collect(), manifest: serde_json::from_str(&text).expect("a manifest") }
    }
}

impl Recording {
    /// The model's sizes.
    ///
    /// # Panics
    /// If the manifest has none.
    pub fn config(&self) -> Config {
        serde_json::from_value(self.manifest.config.clone()).expect("sizes")
    }
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.chunks_exact(N).map(|b| number(b.try_into().expect("N bytes"))).collect()
    }
    match dtype {
        Dtype::F32 => each(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::U8 | Dtype::BOOL => bytes.iter().map(|&b| b.into()).collect(),
        other => panic!("a recording has no {other:?}"),
    }
}
