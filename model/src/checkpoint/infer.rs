//! A model's sizes from the shapes of its tensors.
//!
//! Shapes do not tell everything: head counts of plain attentions, the picture's side and the windows are then those of
//! the published model, scaled. The rotary tables of torch checkpoints (`freqs_cis`), where present, tell those too.

use crate::Config;
use crate::config::{AdapterConfig, TextConfig, VitConfig};
use std::collections::BTreeMap;

/// Shapes by our names, buffers included.
pub(super) type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

const TRUNK: &str = "backbone.vision_backbone.trunk";
const TEXT: &str = "backbone.language_backbone.encoder";

/// The sizes; the error says which tensor is missing or odd.
pub(super) fn infer(shapes: &Shapes<'_>, name: &str) -> Result<Config, String> {
    let published = Config::default();
    let [dim, _, patch, _] = dims(shapes, &format!("{TRUNK}.patch_embed.proj.weight"))?;
    let [_, rows, _] = dims(shapes, &format!("{TRUNK}.pos_embed"))?;
    let pretrain_grid = rows.saturating_sub(1).isqrt();
    let pretrain_image_size = pretrain_grid.saturating_mul(patch);
    let [width, _] = dims(shapes, &format!("{TEXT}.transformer.resblocks.0.attn.out_proj.weight"))?;
    let [vocab, _] = dims(shapes, &format!("{TEXT}.token_embedding.weight"))?;
    let [ctx, _] = dims(shapes, &format!("{TEXT}.positional_embedding"))?;
    let [queries, d_model] = dims(shapes, "transformer.decoder.query_embed.weight")?;
    let [heads, _] = dims(shapes, "transformer.decoder.boxRPB_embed_x.layers.1.weight")?;
    let [ffn, _] = dims(shapes, "transformer.decoder.layers.0.linear1.weight")?;
    let (vit, grid) = vit(shapes, dim, pretrain_grid, &published)?;
    let bottleneck = shapes.iter().find(|(name, _)| name.ends_with(".adapter1.down_proj.bias"));
    let config = Config {
        name: name.to_owned(),
        // The published picture is three times as wide as that of the pre-training.
        image_size: grid.unwrap_or(pretrain_grid.saturating_mul(3)).saturating_mul(patch),
        patch,
        pretrain_image_size,
        vit,
        text: TextConfig {
            width,
            heads: divisor(width, published.text.heads, 1),
            layers: layers(shapes, &format!("{TEXT}.transformer.resblocks.")),
            ctx,
            vocab,
        },
        d_model,
        heads,
        ffn,
        enc_layers: layers(shapes, "transformer.encoder.layers."),
        dec_layers: layers(shapes, "transformer.decoder.layers."),
        geo_layers: layers(shapes, "geometry_encoder.encode."),
        queries,
        adapter: AdapterConfig {
            dim: bottleneck.and_then(|(_, shape)| shape.first().copied()).unwrap_or(published.adapter.dim),
            heads: divisor(width, published.adapter.heads, 1),
            scale: published.adapter.scale,
        },
    };
    config.check()?;
    Ok(config)
}

/// The trunk's sizes and, if the rotary tables tell, the side of the picture in tokens.
fn vit(
    shapes: &Shapes<'_>,
    dim: usize,
    pretrain_grid: usize,
    published: &Config,
) -> Result<(VitConfig, Option<usize>), String> {
    let depth = layers(shapes, &format!("{TRUNK}.blocks."));
    let [hidden, _] = dims(shapes, &format!("{TRUNK}.blocks.0.mlp.fc1.weight"))?;
    let rotary = Rotary::read(shapes, depth.min(256));
    let heads = match &rotary {
        Some(rotary) if rotary.head_dim > 0 => dim / rotary.head_dim,
        _ => divisor(dim, published.vit.heads, 4),
    };
    let vit = VitConfig {
        dim,
        depth,
        heads,
        mlp_ratio: ratio(hidden, dim),
        window: rotary.as_ref().map_or(pretrain_grid, |r| r.window),
        global_blocks: rotary.as_ref().map_or_else(|| quarters(depth), |r| r.global_blocks.clone()),
    };
    Ok((vit, rotary.map(|r| r.grid)))
}

/// What the rotary tables tell: a global block's has a row a token of the picture, the others' one a token of a window.
struct Rotary {
    head_dim: usize,
    window: usize,
    grid: usize,
    global_blocks: Vec<usize>,
}

impl Rotary {
    /// `None` unless every block has its table and there are windows and global blocks.
    fn read(shapes: &Shapes<'_>, depth: usize) -> Option<Self> {
        let table = |i| {
            let shape: &[usize] = shapes.get(format!("{TRUNK}.blocks.{i}.attn.freqs_cis").as_str())?;
            <[usize; 2]>::try_from(shape).ok()
        };
        let tables: Vec<_> = (0..depth).map(table).collect::<Option<_>>()?;
        let rows = tables.iter().map(|[rows, _]| *rows);
        let (fewest, most) = (rows.clone().min()?, rows.clone().max()?);
        if fewest == most {
            return None;
        }
        let global_blocks = rows.enumerate().filter(|&(_, rows)| rows == most).map(|(i, _)| i).collect();
        let head_dim = tables[0][1].checked_mul(2)?;
        Some(Self { head_dim, window: fewest.isqrt(), grid: most.isqrt(), global_blocks })
    }
}

/// The last block of each quarter, as in the published model; of a shallow trunk the last block.
fn quarters(depth: usize) -> Vec<usize> {
    match depth {
        0 => Vec::new(),
        _ if depth.is_multiple_of(4) => (1..=4).map(|i| i * (depth / 4) - 1).collect(),
        _ => vec![depth - 1],
    }
}

/// The ratio that gives back `hidden` when it is multiplied by `dim` and cut.
fn ratio(hidden: usize, dim: usize) -> f64 {
    let exact = hidden as f64 / dim as f64;
    let back = (dim as f64 * exact) as usize;
    if back == hidden { exact } else { (hidden as f64 + 0.5) / dim as f64 }
}

/// The largest number up to `wanted` that, times `unit`, divides `whole`.
fn divisor(whole: usize, wanted: usize, unit: usize) -> usize {
    (1..=wanted).rev().find(|n| whole.is_multiple_of(n * unit)).unwrap_or(1)
}

/// One more than the largest number that follows `prefix`.
fn layers(shapes: &Shapes<'_>, prefix: &str) -> usize {
    shapes
        .keys()
        .filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse::<u32>().ok())
        .max()
        .map_or(0, |last| last as usize + 1)
}

fn dims<const N: usize>(shapes: &Shapes<'_>, name: &str) -> Result<[usize; N], String> {
    let shape = shapes.get(name).ok_or_else(|| format!("there is no tensor `{name}`"))?;
    let dims = <[usize; N]>::try_from(*shape);
    match dims {
        Ok(dims) if !dims.contains(&0) => Ok(dims),
        _ => Err(format!("`{name}` has the shape {shape:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::tensor_list;

    fn inferred(config: &Config, buffers: &[(String, Vec<usize>)]) -> Config {
        let list = tensor_list(config);
        let shapes = list.iter().chain(buffers).map(|(name, shape)| (name.as_str(), &shape[..])).collect();
        infer(&shapes, &config.name).expect("inferred")
    }

    #[test]
    fn the_published_sizes_are_inferred_from_shapes_alone() {
        assert_eq!(inferred(&Config::default(), &[]), Config::default());
    }

    #[test]
    fn rotary_tables_tell_what_shapes_do_not() {
        let mut config = Config { image_size: 140, pretrain_image_size: 56, ..Config::default() };
        config.vit =
            VitConfig { dim: 48, depth: 5, heads: 3, mlp_ratio: 4.625, window: 4, global_blocks: vec![2, 4] };
        let table = |i: usize| {
            let rows = if [2, 4].contains(&i) { 100 } else { 16 };
            (format!("{TRUNK}.blocks.{i}.attn.freqs_cis"), vec![rows, 8])
        };
        assert_eq!(inferred(&config, &(0..5).map(table).collect::<Vec<_>>()), config);
    }

    #[test]
    fn a_hostile_set_of_shapes_is_an_error() {
        let huge = [usize::MAX; 4];
        let list = tensor_list(&Config::default());
        let shapes: Shapes<'_> =
            list.iter().map(|(name, shape)| (name.as_str(), &huge[..shape.len()])).collect();
        assert!(infer(&shapes, "huge").is_err());
        assert!(infer(&Shapes::new(), "nothing").is_err());
    }
}
