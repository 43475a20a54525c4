//! The two kinds of ViT block: windowed and global. Pre-norm, rotary attention, MLP with GELU.

use crate::Result;
use crate::config::Config;
use crate::nn::{LayerNorm, Linear, add};
use crate::weights::Weights;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::attention::rotary_attention;
use sam3i_engine::{Tensor, ops, trace};

/// What all blocks share.
pub(super) struct Grid {
    /// Side of a window, in tokens.
    pub window: usize,
    /// Attention heads.
    pub heads: usize,
    /// `[window², d/2, 2]`.
    pub window_rope: Tensor,
    /// `[grid², d/2, 2]`.
    pub global_rope: Tensor,
}

/// A block of either kind.
pub(super) enum Block {
    Windowed(WindowedBlock),
    Global(GlobalBlock),
}

impl Block {
    /// Block `i`.
    pub fn load(w: &Weights, config: &Config, i: usize) -> Result<Self> {
        let layers = Layers::load(w, config)?;
        let global = config.vit.global_blocks.contains(&i);
        Ok(if global { Self::Global(GlobalBlock(layers)) } else { Self::Windowed(WindowedBlock(layers)) })
    }

    /// `[g, g, c]` to the same.
    pub fn forward(&self, x_hwc: Tensor, grid: &Grid) -> Result<Tensor> {
        match self {
            Self::Windowed(block) => block.forward(x_hwc, grid),
            Self::Global(block) => block.forward(x_hwc, grid),
        }
    }
}

/// Attention inside windows of `window x window` tokens.
///
/// Where the grid is not a multiple of the window, zero tokens fill it up after the norm and take part in attention.
pub(super) struct WindowedBlock(Layers);

impl WindowedBlock {
    fn forward(&self, x_hwc: Tensor, grid: &Grid) -> Result<Tensor> {
        let [h, w, _] = x_hwc.dims()?;
        let y = self.0.norm1.forward(&x_hwc)?;
        trace::tap("norm1", &y);
        let windows_bnc = ops::window::partition(&y, grid.window)?;
        drop(y);
        let windows_bnc = self.0.attention(&windows_bnc, &grid.window_rope, grid.heads)?;
        let x_hwc = add(x_hwc, &ops::window::merge(&windows_bnc, h, w)?)?;
        self.0.mlp(x_hwc)
    }
}

/// Attention over the whole grid.
pub(super) struct GlobalBlock(Layers);

impl GlobalBlock {
    fn forward(&self, x_hwc: Tensor, grid: &Grid) -> Result<Tensor> {
        let [h, w, c] = x_hwc.dims()?;
        let y = self.0.norm1.forward(&x_hwc)?;
        trace::tap("norm1", &y);
        let y = self.0.attention(&y.reshape(&[1, h * w, c])?, &grid.global_rope, grid.heads)?;
        let x_hwc = add(x_hwc, &y.reshape(&[h, w, c])?)?;
        self.0.mlp(x_hwc)
    }
}

/// The layers of a block.
struct Layers {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Layers {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (dim, hidden) = (config.vit.dim, config.vit_mlp());
        Ok(Self {
            norm1: LayerNorm::load(&w.at("norm1"), dim)?,
            qkv: Linear::load(&w.at("attn.qkv"), dim, 3 * dim)?,
            proj: Linear::load(&w.at("attn.proj"), dim, dim)?,
            norm2: LayerNorm::load(&w.at("norm2"), dim)?,
            fc1: Linear::load(&w.at("mlp.fc1"), dim, hidden)?,
            fc2: Linear::load(&w.at("mlp.fc2"), hidden, dim)?,
        })
    }

    /// Rotary self-attention of each sequence: `[b, n, c]` to the same.
    fn attention(&self, x_bnc: &Tensor, rope: &Tensor, heads: usize) -> Result<Tensor> {
        let qkv = self.qkv.forward(x_bnc)?;
        trace::tap("qkv", &qkv);
        let y = rotary_attention(qkv, rope, heads)?;
        let y = self.proj.forward(&y)?;
        trace::tap("attn", &y);
        Ok(y)
    }

    /// `x + fc2(gelu(fc1(norm2(x))))`.
    fn mlp(&self, x_hwc: Tensor) -> Result<Tensor> {
        let y = self.norm2.forward(&x_hwc)?;
        trace::tap("norm2", &y);
        let hidden = self.fc1.forward_then(&y, Activation::Gelu)?;
        drop(y);
        self.fc2.forward_add(&hidden, &x_hwc, "mlp")
    }
}
