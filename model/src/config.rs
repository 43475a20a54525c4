//! The sizes of a model: `config.json`.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Every size of a SAM3-I model. The published model is [`Config::default`].
///
/// Source: image-model spec, section 2. Stored as `config.json` beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Config {
    /// A name for people; appears in reports.
    #[serde(default = "default_name")]
    pub name: String,
    /// Side of the square picture the ViT sees, in pixels; a multiple of `patch`.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch: usize,
    /// Side of the square picture of the ViT's pre-training, in pixels: sizes the tiled position table.
    pub pretrain_image_size: usize,
    /// The image trunk.
    pub vit: VitConfig,
    /// The text encoder.
    pub text: TextConfig,
    /// Channels of the detector.
    pub d_model: usize,
    /// Attention heads of the detector.
    pub heads: usize,
    /// Hidden channels of the detector's feed-forward layers.
    pub ffn: usize,
    /// Fusion encoder layers.
    pub enc_layers: usize,
    /// Decoder layers.
    pub dec_layers: usize,
    /// Geometry encoder layers.
    pub geo_layers: usize,
    /// Object queries.
    pub queries: usize,
    /// The SAM3-I adapters.
    pub adapter: AdapterConfig,
}

/// Sizes of the ViT trunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VitConfig {
    /// Channels.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden channels of the MLP over `dim`.
    pub mlp_ratio: f64,
    /// Side of an attention window, in tokens.
    pub window: usize,
    /// The blocks (from 0) that attend globally.
    pub global_blocks: Vec<usize>,
}

/// Sizes of the text encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextConfig {
    /// Channels.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
    /// Tokens of a prompt, start, end and padding included.
    pub ctx: usize,
    /// Vocabulary: 512 byte tokens, `vocab - 514` merges, start and end.
    pub vocab: usize,
}

/// Sizes of the adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdapterConfig {
    /// Bottleneck channels.
    pub dim: usize,
    /// Heads of the text adapters' attention.
    pub heads: usize,
    /// What the fusion and decoder adapters' output is multiplied by.
    pub scale: f64,
}

fn default_name() -> String {
    "unnamed".to_owned()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "sam3i".to_owned(),
            image_size: 1008,
            patch: 14,
            pretrain_image_size: 336,
            vit: VitConfig {
                dim: 1024,
                depth: 32,
                heads: 16,
                mlp_ratio: 4.625,
                window: 24,
                global_blocks: vec![7, 15, 23, 31],
            },
            text: TextConfig { width: 1024, heads: 16, layers: 24, ctx: 32, vocab: 49408 },
            d_model: 256,
            heads: 8,
            ffn: 2048,
            enc_layers: 6,
            dec_layers: 6,
            geo_layers: 3,
            queries: 200,
            adapter: AdapterConfig { dim: 64, heads: 4, scale: 1.0 },
        }
    }
}

impl Config {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Config`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        Self::from_json(&text)
            .map_err(|problem| Error::Config { origin: path.display().to_string(), problem })
    }

    /// Parses and checks the text of a `config.json`; the error says what is wrong with it.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let config: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// The text of a `config.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, names and lists only")
    }

    /// Tokens along a side of the picture.
    #[must_use]
    pub fn grid(&self) -> usize {
        self.image_size / self.patch
    }

    /// Side of the position table's grid, in tokens.
    #[must_use]
    pub fn pretrain_grid(&self) -> usize {
        self.pretrain_image_size / self.patch
    }

    /// Hidden channels of the ViT's MLP.
    #[must_use]
    pub fn vit_mlp(&self) -> usize {
        (self.vit.dim as f64 * self.vit.mlp_ratio) as usize
    }

    /// Channels of a ViT head.
    #[must_use]
    pub fn vit_head_dim(&self) -> usize {
        self.vit.dim / self.vit.heads
    }

    /// Checks that the sizes fit together and are within what the graph can run.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [
            ("image_size", self.image_size, 4096),
            ("patch", self.patch, 256),
            ("pretrain_image_size", self.pretrain_image_size, 4096),
            ("vit.dim", self.vit.dim, 1 << 14),
            ("vit.depth", self.vit.depth, 256),
            ("vit.heads", self.vit.heads, 256),
            ("vit.window", self.vit.window, 1024),
            ("text.width", self.text.width, 1 << 14),
            ("text.heads", self.text.heads, 256),
            ("text.layers", self.text.layers, 256),
            ("d_model", self.d_model, 1 << 14),
            ("heads", self.heads, 256),
            ("ffn", self.ffn, 1 << 16),
            ("dec_layers", self.dec_layers, 64),
            ("queries", self.queries, 4096),
            ("adapter.dim", self.adapter.dim, 1 << 14),
            ("adapter.heads", self.adapter.heads, 256),
        ];
        for (name, value, most) in sizes {
            if value == 0 || value > most {
                return Err(format!("{name} is {value}; it must be 1 to {most}"));
            }
        }
        if self.enc_layers > 64 || self.geo_layers > 64 {
            return Err("enc_layers and geo_layers must be at most 64".to_owned());
        }
        let divides = [
            ("patch", self.patch, "image_size", self.image_size),
            ("patch", self.patch, "pretrain_image_size", self.pretrain_image_size),
            ("4 x vit.heads", 4 * self.vit.heads, "vit.dim", self.vit.dim),
            ("text.heads", self.text.heads, "text.width", self.text.width),
            ("adapter.heads", self.adapter.heads, "text.width", self.text.width),
            ("heads", self.heads, "d_model", self.d_model),
            ("8 (the group norms)", 8, "d_model", self.d_model),
        ];
        for (name, divisor, of, value) in divides {
            if value % divisor != 0 {
                return Err(format!("{of} ({value}) must be a multiple of {name} ({divisor})"));
            }
        }
        if !(self.vit.mlp_ratio > 0.0 && self.vit.mlp_ratio <= 64.0) {
            return Err(format!(
                "vit.mlp_ratio is {}; it must be above 0 and at most 64",
                self.vit.mlp_ratio
            ));
        }
        if self.text.ctx < 2 || self.text.ctx > 1024 {
            return Err(format!("text.ctx is {}; it must be 2 to 1024", self.text.ctx));
        }
        if self.text.vocab < 514 || self.text.vocab > 49408 {
            return Err(format!("text.vocab is {}; it must be 514 to 49408", self.text.vocab));
        }
        if let Some(block) = self.vit.global_blocks.iter().find(|&&b| b >= self.vit.depth) {
            return Err(format!(
                "vit.global_blocks names block {block}, but vit.depth is {}",
                self.vit.depth
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_are_consistent() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.grid(), config.pretrain_grid(), config.vit_mlp()), (72, 24, 4736));
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let config = Config { d_model: 252, ..Config::default() };
        assert!(config.check().expect_err("252 channels, 8 heads").contains("d_model"));
    }
}
