//! What training has made of the adapters: nothing, a constant, or something that looks at its input.

use super::Checkpoint;
use crate::Result;
use crate::tensor_list::ADAPTERS;

/// What a part of an adapter adds to its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartState {
    /// Nothing, in every layer: its last matrix and bias are zero.
    Zero,
    /// The same vector whatever the input: its last matrix is zero in every layer, its bias is not.
    Constant,
    /// Something that depends on the input.
    Active,
    /// What the base model has in its place: a mask predictor that is a copy of the base one.
    Copy,
}

impl PartState {
    /// One word, for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Constant => "constant",
            Self::Active => "active",
            Self::Copy => "copy of base",
        }
    }
}

/// A part of an adapter over all layers of its family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterPart {
    /// `text`, `fusion`, `decoder` or `mask predictors`.
    pub family: &'static str,
    /// `adapter1` (simple), `adapter12` then `adapter2` (complex).
    pub adapter: &'static str,
    /// `attention`, `mlp` or `whole`.
    pub part: &'static str,
    /// What it does.
    pub state: PartState,
}

impl Checkpoint {
    /// Looks into the adapters the checkpoint has. Reads the matrices concerned.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn adapter_parts(&self) -> Result<Vec<AdapterPart>> {
        let families = [
            (
                "text",
                "backbone.language_backbone.encoder.transformer.resblocks.",
                "attention",
                ".mha_adapter.out_proj",
            ),
            ("text", "backbone.language_backbone.encoder.transformer.resblocks.", "mlp", ".up_proj"),
            ("fusion", "transformer.encoder.layers.", "mlp", ".up_proj"),
            ("decoder", "transformer.decoder.layers.", "mlp", ".up_proj"),
        ];
        let mut parts = Vec::new();
        for adapter in ADAPTERS {
            for (family, start, part, module) in families {
                let end = format!(".{adapter}{module}");
                if let Some(state) = self.last_linear(start, &end)? {
                    parts.push(AdapterPart { family, adapter, part, state });
                }
            }
        }
        for (adapter, predictor) in
            [("adapter1", "mask_predictor_adapter1"), ("adapter2", "mask_predictor_adapter2")]
        {
            if let Some(state) = self.predictor(predictor)? {
                parts.push(AdapterPart { family: "mask predictors", adapter, part: "whole", state });
            }
        }
        Ok(parts)
    }

    /// The state of the linear layers named `start` + number + `end`; `None` if there are none.
    fn last_linear(&self, start: &str, end: &str) -> Result<Option<PartState>> {
        let weights = format!("{end}.weight");
        let mut state = None;
        for name in self.names().filter(|name| name.starts_with(start) && name.ends_with(&weights)) {
            let bias = format!("{}bias", &name[..name.len() - "weight".len()]);
            if !self.all_zero(name)? {
                return Ok(Some(PartState::Active));
            }
            if self.shape(&bias).is_some() && !self.all_zero(&bias)? {
                state = Some(PartState::Constant);
            }
            state = state.or(Some(PartState::Zero));
        }
        Ok(state)
    }

    fn all_zero(&self, name: &str) -> Result<bool> {
        Ok(self.read(name)?.iter().all(|&value| value == 0.0))
    }

    fn predictor(&self, predictor: &str) -> Result<Option<PartState>> {
        let start = format!("segmentation_head.{predictor}.");
        let mut state = None;
        for name in self.names().filter(|name| name.starts_with(&start)) {
            let base = name.replacen(predictor, "mask_predictor", 1);
            if self.shape(&base) != self.shape(name) || self.read(&base)? != self.read(name)? {
                return Ok(Some(PartState::Active));
            }
            state = Some(PartState::Copy);
        }
        Ok(state)
    }
}
