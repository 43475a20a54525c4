//! What a model will take, said before any of it is loaded.

use crate::parts::{Parts, text_weights};
use crate::text::encoder::{TextAdapters, TextEncoder};
use crate::watch::{Stage, Steps, unwatched};
use crate::weights::{Recorder, Weights};
use crate::{Checkpoint, Level, Result};
use sam3i_engine::{DType, Device, Tensor};
use std::collections::HashSet;
use std::sync::Arc;

/// Parts whose products stay f32 whatever the type: `Weights::in_f32` where they are loaded.
const IN_F32: [&str; 3] = ["geometry_encoder.", "transformer.decoder.", "dot_prod_scoring."];

/// Memory that a model takes, in bytes. Pictures and results come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEstimate {
    /// Weights, once prompts of the levels have been asked.
    pub weights: u64,
    /// Tensors while the model looks at a picture, the most at a time.
    pub working: u64,
}

impl MemoryEstimate {
    /// Both together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.working
    }
}

impl Checkpoint {
    /// What the model will take when it computes in `dtype` and is asked at these levels, from its list of tensors and a walk
    /// over the shapes of its image trunk; no weights are read.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the sizes do not fit together.
    pub fn memory_estimate(&self, dtype: DType, levels: &[Level]) -> Result<MemoryEstimate> {
        let config = self.config();
        let wrong = |problem| crate::Error::Config { origin: self.path().display().to_string(), problem };
        config.check().map_err(wrong)?;
        let (recorder, device) = (Arc::new(Recorder::default()), Device::shapes_only());
        let w = Weights::new(recorder.clone(), &device);
        let parts = Parts::load(&w, config, self.adapters(), self.point_prompts())?;
        let text = TextEncoder::load(&text_weights(&w), config)?;
        let mut adapters = Vec::new();
        for level in Level::ALL.into_iter().filter(|level| levels.contains(level)) {
            let level = if self.adapters().text { level } else { Level::Concept };
            adapters.push(TextAdapters::load(&text_weights(&w), config, level)?);
        }
        let weights = weight_bytes(&recorder, dtype);
        let before = device.memory().live;
        look(&parts, config.image_size, &device)?;
        let working = (device.memory().peak - before) as u64;
        drop((text, adapters));
        Ok(MemoryEstimate { weights, working })
    }
}

/// Looks at a picture without pixels.
fn look(parts: &Parts, side: usize, device: &Device) -> Result<()> {
    let pixels_hwc = Tensor::zeros(device, &[side, side, 3])?;
    let steps = Steps::new(&unwatched, Stage::Image, 0);
    parts.neck.forward(&parts.trunk.forward(&pixels_hwc, &steps)?)?;
    Ok(())
}

/// What the recorded tensors take; rows of the token embeddings are read one by one and take nothing.
fn weight_bytes(recorder: &Recorder, dtype: DType) -> u64 {
    let (mut seen, roundable) = (HashSet::new(), recorder.roundable());
    let roundable: HashSet<&str> = roundable.iter().map(String::as_str).collect();
    let mut bytes = 0;
    for (name, shape) in recorder.tensors() {
        if name.ends_with("token_embedding.weight") || !seen.insert(name.clone()) {
            continue;
        }
        let in_f32 = IN_F32.iter().any(|part| name.starts_with(part));
        let size = match (dtype, shape.len()) {
            (DType::Int8, _) if roundable.contains(name.as_str()) => 1,
            (DType::F32, _) | (_, 0 | 1) => 4,
            _ if in_f32 => 4,
            (_, 2) if !roundable.contains(name.as_str()) => 4,
            _ => 2,
        };
        bytes += size * shape.iter().map(|&extent| extent as u64).product::<u64>();
    }
    bytes
}
