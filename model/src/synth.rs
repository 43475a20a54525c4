//! Synthetic weights: values made from a tensor's name, for tests, benchmarks and demonstrations at any size.
//!
//! A value depends on nothing but the name, the shape and its place, so every implementation of this rule has the
//! same model without a download. The scales keep activations of a deep random model in range.

use crate::{Config, Error, Result};
use rayon::prelude::*;
use sam3i_engine::weights::{FileDType, TensorSpec, write_safetensors};

pub use crate::tensor_list::tensor_list;

/// Values made by one thread at a time.
const BLOCK: usize = 1 << 16;

/// The values of the parameter `name` in row-major order, uniform in `b - a .. b + a`.
#[must_use]
pub fn fill(name: &str, shape: &[usize]) -> Vec<f32> {
    let (a, b) = scale(name, shape);
    let seed = fnv1a64(name.as_bytes());
    let mut values = vec![0.0; shape.iter().product()];
    values.par_chunks_mut(BLOCK).enumerate().for_each(|(chunk, values)| {
        for (i, value) in values.iter_mut().enumerate() {
            let bits = splitmix64(seed, (chunk * BLOCK + i) as u64);
            let u = (bits >> 40) as f64 / (1u64 << 24) as f64;
            *value = ((2.0 * u - 1.0) * a + b) as f32;
        }
    });
    values
}

/// Half the width and the middle of the values' range. The first line that matches counts.
fn scale(name: &str, shape: &[usize]) -> (f64, f64) {
    let ends = |end: &str| name.ends_with(end);
    match () {
        () if ends("presence_token_head.layers.2.bias") => (0.02, 2.5),
        () if ends("hs_proj.bias") => (0.5, 0.0),
        () if ends("bias") => (0.05, 0.0),
        () if ends("token_embedding.weight") => (0.5, 0.0),
        () if ends("positional_embedding") => (0.25, 0.0),
        () if ends("trunk.pos_embed") => (0.5, 0.0),
        () if ends("reference_points.weight") => (2.0, 0.0),
        () if ends("query_embed.weight") => (1.75, 0.0),
        () if ends("embed.weight") || ends("_token.weight") || name.contains("_embeddings.") => (1.0, 0.0),
        () if ends("positional_encoding_gaussian_matrix") => (1.5, 0.0),
        () if shape.len() == 1 => (0.1, 1.0),
        () if !ends("weight") => (0.5, 0.0),
        () => (gain(name) * (3.0 / fan_in(name, shape) as f64).sqrt(), 0.0),
    }
}

/// Inputs summed into an output; transposed convolutions store them on the first axis.
fn fan_in(name: &str, shape: &[usize]) -> usize {
    if name.contains("dconv") || name.contains(".output_upscaling.") {
        return shape.first().copied().unwrap_or(1);
    }
    shape.iter().skip(1).product()
}

/// Matrices whose scale differs from 1, by the first part of a name that matches.
const GAINS: &[(&str, f64)] = &[
    ("mha_adapter.in_proj_weight", 1.0),
    ("qkv.weight", 1.5),
    ("in_proj_weight", 1.5),
    ("attn.proj.weight", 0.5),
    ("cross_attn.out_proj.weight", 0.3),
    ("ca_text.out_proj.weight", 0.3),
    ("out_proj.weight", 0.5),
    ("mlp.fc2.weight", 0.5),
    ("mlp.c_proj.weight", 0.5),
    ("up_proj.weight", 0.5),
    ("linear2.weight", 0.5),
    ("boxRPB_embed_", 2.0),
    ("hs_proj.weight", 2.0),
    ("prompt_proj.weight", 1.5),
    ("mask_embed.layers.", 1.2),
    ("presence_token_head.layers.2.weight", 1.5),
];

fn gain(name: &str) -> f64 {
    GAINS.iter().find(|(part, _)| name.contains(part)).map_or(1.0, |&(_, gain)| gain)
}

/// Where the hash FNV-1a of 64 bits starts.
pub(crate) const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash FNV-1a of 64 bits.
fn fnv1a64(bytes: &[u8]) -> u64 {
    fnv1a64_more(FNV_START, bytes)
}

/// [`fnv1a64`] carried on from the hash of what came before.
pub(crate) fn fnv1a64_more(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Output `i` (from 0) of the generator SplitMix64 started at `seed`.
fn splitmix64(seed: u64, i: u64) -> u64 {
    let z = seed.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Writes a whole synthetic model: `config.json` and `model.safetensors` in `directory`, which is made if need be.
///
/// # Errors
/// [`Error::Config`] if the sizes do not fit together, [`Error::Io`], and
/// the engine's error if the weights cannot be written.
pub fn write_model(config: &Config, directory: &std::path::Path, dtype: FileDType) -> Result<()> {
    config.check().map_err(|problem| Error::Config { origin: config.name.clone(), problem })?;
    std::fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
    let tensors: Vec<_> =
        tensor_list(config).into_iter().map(|(name, shape)| TensorSpec { name, dtype, shape }).collect();
    let config_json = config.to_json();
    let metadata = [("format", "sam3i"), ("sam3i.config", &config_json), ("sam3i.source", "synthetic")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    write_safetensors(&directory.join("model.safetensors"), &tensors, &metadata, |tensor| {
        Ok::<_, Error>(fill(&tensor.name, &tensor.shape))
    })?;
    let path = directory.join("config.json");
    std::fs::write(&path, config_json + "\n").map_err(|e| Error::io(&path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rule() {
        let pos = fill("backbone.vision_backbone.trunk.pos_embed", &[1, 10, 64]);
        assert_eq!([pos[0].to_bits(), pos[1].to_bits()], [0xbe93_cf2a, 0xbecd_b164]);
        let bias = fill("transformer.decoder.presence_token_head.layers.2.bias", &[1]);
        assert_eq!(bias, [2.519_804_5]);
        let norm = fill("backbone.vision_backbone.trunk.blocks.0.norm1.weight", &[64]);
        assert_eq!(norm[..2], [0.974_510_6, 1.033_218_6]);
    }

    #[test]
    fn blocks_join_without_a_seam() {
        let long = fill("a.weight", &[2, BLOCK]);
        assert_eq!(long[BLOCK], {
            let u = (splitmix64(fnv1a64(b"a.weight"), BLOCK as u64) >> 40) as f64 / (1u64 << 24) as f64;
            ((2.0 * u - 1.0) * (3.0 / BLOCK as f64).sqrt()) as f32
        });
    }
}
