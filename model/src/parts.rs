//! What a model consists of, and the one list of the weights it needs: the graph's own `load` functions.

use crate::checkpoint::Adapters;
use crate::config::Config;
use crate::grounding::decoder::Decoder;
use crate::grounding::fusion::FusionEncoder;
use crate::grounding::geometry::GeometryEncoder;
use crate::grounding::masks::SegmentationHead;
use crate::grounding::scoring::Scoring;
use crate::level::Level;
use crate::neck::Neck;
use crate::text::encoder::{TextAdapters, TextEncoder};
use crate::vit::Trunk;
use crate::weights::{Recorder, Weights};
use crate::{Error, Result};
use sam3i_engine::Device;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is loaded at once.
pub(crate) struct Parts {
    pub trunk: Trunk,
    pub neck: Neck,
    pub geometry: GeometryEncoder,
    pub fusion: FusionEncoder,
    pub decoder: Decoder,
    pub scoring: Scoring,
    pub head: SegmentationHead,
}

impl Parts {
    pub fn load(w: &Weights, config: &Config, adapters: Adapters, point_prompts: bool) -> Result<Self> {
        Ok(Self {
            trunk: Trunk::load(&w.at("backbone.vision_backbone.trunk"), config)?,
            neck: Neck::load(&w.at("backbone.vision_backbone.convs"), config)?,
            geometry: GeometryEncoder::load(&w.in_f32().at("geometry_encoder"), config, point_prompts)?,
            fusion: FusionEncoder::load(&w.at("transformer.encoder"), config, adapters.fusion)?,
            // A few hundred tokens: next to no work, and what they round shows in the answer.
            decoder: Decoder::load(&w.in_f32().at("transformer.decoder"), config, adapters.decoder)?,
            scoring: Scoring::load(&w.in_f32().at("dot_prod_scoring"), config)?,
            head: SegmentationHead::load(&w.at("segmentation_head"), config, adapters.mask_predictors)?,
        })
    }
}

/// Where the text encoder's weights are.
pub(crate) fn text_weights(w: &Weights) -> Weights {
    w.at("backbone.language_backbone")
}

/// The names and shapes of all tensors a model of these sizes reads.
///
/// # Errors
/// [`Error::Config`] if the sizes do not fit together.
pub fn required_tensors(
    config: &Config,
    adapters: Adapters,
    point_prompts: bool,
) -> Result<Vec<(String, Vec<usize>)>> {
    let mut tensors = record(config, adapters, point_prompts)?.tensors();
    tensors.sort();
    tensors.dedup(); // a weight that is looked at before it is loaded is asked for twice
    Ok(tensors)
}

/// The names of the matrices whose products may be computed in int8.
pub(crate) fn roundable_matrices(
    config: &Config,
    adapters: Adapters,
    point_prompts: bool,
) -> Result<BTreeSet<String>> {
    Ok(record(config, adapters, point_prompts)?.roundable().into_iter().collect())
}

/// Walks the graph's `load` functions without weights.
fn record(config: &Config, adapters: Adapters, point_prompts: bool) -> Result<Arc<Recorder>> {
    config.check().map_err(|problem| Error::Config { origin: config.name.clone(), problem })?;
    let recorder = Arc::new(Recorder::default());
    let w = Weights::new(recorder.clone(), &Device::shapes_only());
    Parts::load(&w, config, adapters, point_prompts)?;
    TextEncoder::load(&text_weights(&w), config)?;
    for level in Level::ALL.into_iter().filter(|_| adapters.text) {
        TextAdapters::load(&text_weights(&w), config, level)?;
    }
    Ok(recorder)
}
