//! Which naming a file follows, and what its names mean.

use super::hf::{self, Place};
use std::fmt;

/// The naming of a file's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// SAM3-I: no prefix. Our own names.
    Sam3i,
    /// Base SAM3: `detector.` before each name, and a tracker.
    BaseSam3,
    /// Base SAM3 as Hugging Face names it.
    HuggingFace,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sam3i => "SAM3-I",
            Self::BaseSam3 => "base SAM3",
            Self::HuggingFace => "Hugging Face SAM3",
        })
    }
}

/// What a tensor of a file is to us.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// A tensor of the image model, by our name.
    Model(String, Place),
    /// A tensor of the video tracker or the click predictor, which this model does not run.
    Interactive,
    /// No name we know.
    Unknown,
}

/// What base SAM3 names start with; the second is that of a pre-release.
const BASE_PREFIXES: [&str; 2] = ["detector.", "sam3_model."];

impl Layout {
    /// Decides by the names; `None` if they are not those of a SAM3 model.
    pub(super) fn detect<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        let any = |prefix: &str| names.clone().any(|name| name.starts_with(prefix));
        if any(hf::PREFIX) {
            Some(Self::HuggingFace)
        } else if BASE_PREFIXES.iter().any(|prefix| any(prefix)) {
            Some(Self::BaseSam3)
        } else if any("backbone.vision_backbone.") {
            Some(Self::Sam3i)
        } else {
            None
        }
    }

    /// What a name of this layout means.
    pub(super) fn meaning(self, name: &str) -> Meaning {
        let (ours, place) = match self {
            Self::Sam3i => (name.to_owned(), Place::Whole),
            Self::BaseSam3 if name.starts_with("tracker.") || name.starts_with("sam2_predictor.") => {
                return Meaning::Interactive;
            }
            Self::BaseSam3 => match BASE_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
                Some(ours) => (ours.to_owned(), Place::Whole),
                None => return Meaning::Unknown,
            },
            Self::HuggingFace if name.starts_with("tracker_") => return Meaning::Interactive,
            Self::HuggingFace => match name.strip_prefix(hf::PREFIX).and_then(hf::canonical) {
                Some(found) => found,
                None => return Meaning::Unknown,
            },
        };
        if is_interactive(&ours) { Meaning::Interactive } else { Meaning::Model(ours, place) }
    }
}

fn is_interactive(name: &str) -> bool {
    name.starts_with("inst_interactive_predictor.")
        || name.starts_with("backbone.vision_backbone.sam2_convs.")
}

/// Whether a tensor (by our name) is stored in some checkpoints without having an effect on any result.
///
/// Source: image-model spec, section 14.2, rule 3.
#[must_use]
pub fn is_dead(name: &str) -> bool {
    const STARTS: [&str; 8] = [
        "backbone.text.",
        "backbone.vision_backbone.convs.3.",
        "segmentation_head.pixel_decoder.conv_layers.2.",
        "segmentation_head.pixel_decoder.norms.2.",
        "simple_query_proj.",
        "complex_query_proj.",
        "concept_proj.",
        "adapter_projector_",
    ];
    STARTS.iter().any(|start| name.starts_with(start))
        || name.ends_with(".attn.freqs_cis")
        || name == "backbone.language_backbone.encoder.text_projection"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_the_layout() {
        let cases: [(&[&str], Option<Layout>); 6] = [
            (&["backbone.vision_backbone.trunk.pos_embed"], Some(Layout::Sam3i)),
            (&["tracker.x", "detector.backbone.y"], Some(Layout::BaseSam3)),
            (&["sam2_predictor.model.x", "sam3_model.backbone.y"], Some(Layout::BaseSam3)),
            (&["tracker_neck.x", "detector_model.y"], Some(Layout::HuggingFace)),
            (&["image_encoder.trunk.pos_embed"], None),
            (&[], None),
        ];
        for (names, expected) in cases {
            assert_eq!(Layout::detect(names.iter().copied()), expected, "{names:?}");
        }
    }

    #[test]
    fn prefixes_are_taken_off_and_trackers_set_aside() {
        let ours = |name: &str| Meaning::Model(name.to_owned(), Place::Whole);
        let cases = [
            (Layout::BaseSam3, "detector.transformer.x", ours("transformer.x")),
            (Layout::BaseSam3, "sam3_model.transformer.x", ours("transformer.x")),
            (Layout::BaseSam3, "tracker.no_mem_pos_enc", Meaning::Interactive),
            (Layout::BaseSam3, "detector.backbone.vision_backbone.sam2_convs.0.x", Meaning::Interactive),
            (Layout::BaseSam3, "transformer.x", Meaning::Unknown),
            (Layout::Sam3i, "inst_interactive_predictor.model.x", Meaning::Interactive),
            (Layout::HuggingFace, "detector_model.nothing", Meaning::Unknown),
            (Layout::HuggingFace, "tracker_model.x", Meaning::Interactive),
        ];
        for (layout, name, expected) in cases {
            assert_eq!(layout.meaning(name), expected, "{name}");
        }
    }
}
