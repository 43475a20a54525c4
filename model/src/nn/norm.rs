//! Normalisations; eps is 1e-5 throughout the model (spec section 1).

use crate::Result;
use crate::weights::Weights;
use sam3i_engine::{Tensor, ops};

const EPS: f32 = 1e-5;

/// Layer norm over the last axis.
pub(crate) struct LayerNorm {
    gamma: Tensor,
    beta: Tensor,
}

impl LayerNorm {
    /// `weight [dim]`, `bias [dim]`.
    pub fn load(w: &Weights, dim: usize) -> Result<Self> {
        Ok(Self { gamma: w.tensor("weight", &[dim])?, beta: w.tensor("bias", &[dim])? })
    }

    /// Any shape in, the same out.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm::layer_norm(x, &self.gamma, &self.beta, EPS)?)
    }
}

/// Group norm with 8 groups over a channels-last map.
pub(crate) struct GroupNorm {
    gamma: Tensor,
    beta: Tensor,
}

impl GroupNorm {
    /// `weight [dim]`, `bias [dim]`.
    pub fn load(w: &Weights, dim: usize) -> Result<Self> {
        Ok(Self { gamma: w.tensor("weight", &[dim])?, beta: w.tensor("bias", &[dim])? })
    }

    /// `[h, w, c]` to the same, with or without the ReLU that follows.
    pub fn forward(&self, x_hwc: Tensor, relu: bool) -> Result<Tensor> {
        Ok(ops::group_norm::group_norm(x_hwc, 8, &self.gamma, &self.beta, EPS, relu)?)
    }
}
