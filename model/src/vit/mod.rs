//! The image trunk: patches, tiled positions, windowed and global blocks (spec section 6).

mod block;

use crate::config::Config;
use crate::nn::{Conv, LayerNorm};
use crate::watch::Steps;
use crate::weights::Weights;
use crate::{Result, nn};
use block::{Block, Grid};
use sam3i_engine::{Tensor, ops, trace};

/// Base of the rotary frequencies.
const ROPE_THETA: f64 = 10_000.0;

/// The ViT. `backbone.vision_backbone.trunk`.
pub(crate) struct Trunk {
    patch_embed: Conv,
    position_hwc: Tensor,
    ln_pre: LayerNorm,
    blocks: Vec<Block>,
    grid: Grid,
}

impl Trunk {
    pub fn load(w: &Weights, config: &Config) -> Result<Self> {
        let vit = &config.vit;
        let blocks = (0..vit.depth).map(|i| Block::load(&w.at(format!("blocks.{i}")), config, i));
        Ok(Self {
            patch_embed: Conv::load_patches(&w.at("patch_embed.proj"), 3, vit.dim, config.patch)?,
            position_hwc: load_position(w, config)?,
            ln_pre: LayerNorm::load(&w.at("ln_pre"), vit.dim)?,
            blocks: blocks.collect::<Result<_>>()?,
            grid: load_grid(w, config)?,
        })
    }

    /// The picture's features.
    ///
    /// # Shapes
    /// `[s, s, 3]` normalised pixels to `[g, g, c]`, `g = s / patch`.
    pub fn forward(&self, pixels_hwc: &Tensor, steps: &Steps) -> Result<Tensor> {
        let _scope = trace::scope(|| "vit");
        trace::tap("rope.window", &self.grid.window_rope);
        trace::tap("rope.global", &self.grid.global_rope);

        let x = self.patch_embed.forward(pixels_hwc)?;
        trace::tap("patch_embed", &x);
        let x = nn::add(x, &self.position_hwc)?;
        trace::tap("pos_added", &x);
        let mut x = self.ln_pre.forward(&x)?;
        trace::tap("ln_pre", &x);

        for (i, block) in self.blocks.iter().enumerate() {
            steps.next()?;
            let _scope = trace::scope(|| format!("block.{i}"));
            x = block.forward(x, &self.grid)?;
            trace::tap("", &x);
        }
        Ok(x)
    }
}

/// The position table without its class slot, tiled (not interpolated) over the grid: `[g, g, c]`.
fn load_position(w: &Weights, config: &Config) -> Result<Tensor> {
    let (grid, side, dim) = (config.grid(), config.pretrain_grid(), config.vit.dim);
    let table = w.values("pos_embed", &[1, side * side + 1, dim])?;
    if table.is_empty() {
        return Ok(Tensor::zeros(w.device(), &[grid, grid, dim])?);
    }
    let mut tiled = Vec::with_capacity(grid * grid * dim);
    for (y, x) in (0..grid).flat_map(|y| (0..grid).map(move |x| (y, x))) {
        let slot = 1 + (y % side) * side + x % side;
        tiled.extend_from_slice(&table[slot * dim..][..dim]);
    }
    Ok(Tensor::from_vec(w.device(), &[grid, grid, dim], tiled)?)
}

/// The rotary tables: positions count from 0 in each window; in global blocks they are squeezed into the range of a
/// window, which is what pre-training saw.
fn load_grid(w: &Weights, config: &Config) -> Result<Grid> {
    let (grid, window, head_dim) = (config.grid(), config.vit.window, config.vit_head_dim());
    let scale = window as f64 / grid as f64;
    Ok(Grid {
        window,
        heads: config.vit.heads,
        window_rope: ops::rope::rope_table(w.device(), window, window, head_dim, ROPE_THETA, 1.0)?,
        global_rope: ops::rope::rope_table(w.device(), grid, grid, head_dim, ROPE_THETA, scale)?,
    })
}
