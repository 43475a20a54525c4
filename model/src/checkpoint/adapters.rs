//! Which of the SAM3-I adapters a checkpoint has.

/// The families of adapters that are present. Each is there as a whole or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adapters {
    /// Of the text encoder's layers; without them the text is encoded as for a concept.
    pub text: bool,
    /// Of the fusion encoder's layers.
    pub fusion: bool,
    /// Of the decoder's layers.
    pub decoder: bool,
    /// The two further mask predictors; without them the base one serves every text type.
    pub mask_predictors: bool,
}

/// A family of adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Text,
    Fusion,
    Decoder,
    MaskPredictors,
}

impl Family {
    /// The family a tensor (by our name) belongs to.
    pub(super) fn of(name: &str) -> Option<Self> {
        if name.starts_with("segmentation_head.mask_predictor_adapter") {
            return Some(Self::MaskPredictors);
        }
        if !name.split('.').any(|part| crate::tensor_list::ADAPTERS.contains(&part)) {
            return None;
        }
        let starts = [
            ("backbone.language_backbone.", Self::Text),
            ("transformer.encoder.", Self::Fusion),
            ("transformer.decoder.", Self::Decoder),
        ];
        starts.into_iter().find(|(start, _)| name.starts_with(start)).map(|(_, family)| family)
    }
}

impl Adapters {
    /// The families some of whose tensors are among these names.
    pub(super) fn among<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut adapters = Self::default();
        for family in names.filter_map(Family::of) {
            *adapters.flag(family) = true;
        }
        adapters
    }

    fn flag(&mut self, family: Family) -> &mut bool {
        match family {
            Family::Text => &mut self.text,
            Family::Fusion => &mut self.fusion,
            Family::Decoder => &mut self.decoder,
            Family::MaskPredictors => &mut self.mask_predictors,
        }
    }

    /// Whether a model with these adapters has this tensor.
    pub(super) fn include(mut self, name: &str) -> bool {
        Family::of(name).is_none_or(|family| *self.flag(family))
    }

    /// Whether there is any.
    #[must_use]
    pub fn any(self) -> bool {
        self.text || self.fusion || self.decoder || self.mask_predictors
    }

    /// The names of the families that are absent.
    #[must_use]
    pub fn absent(self) -> Vec<&'static str> {
        self.families().into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect()
    }

    /// All families by name, and whether each is present.
    #[must_use]
    pub fn families(self) -> [(&'static str, bool); 4] {
        [
            ("text", self.text),
            ("fusion", self.fusion),
            ("decoder", self.decoder),
            ("mask predictors", self.mask_predictors),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_name() {
        let cases = [
            (
                "backbone.language_backbone.encoder.transformer.resblocks.3.adapter12.norm1.bias",
                Some(Family::Text),
            ),
            ("transformer.encoder.layers.0.adapter1.up_proj.weight", Some(Family::Fusion)),
            ("transformer.decoder.layers.0.adapter2.norm.weight", Some(Family::Decoder)),
            (
                "segmentation_head.mask_predictor_adapter1.mask_embed.layers.0.bias",
                Some(Family::MaskPredictors),
            ),
            ("segmentation_head.mask_predictor.mask_embed.layers.0.bias", None),
            ("transformer.decoder.layers.0.adapter3.norm.weight", None),
        ];
        for (name, expected) in cases {
            assert_eq!(Family::of(name), expected, "{name}");
        }
    }
}
