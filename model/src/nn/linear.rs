//! Linear layers and stacks of them.

use crate::Result;
use crate::weights::Weights;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::matmul::{LinearOptions, Matrix, linear};
use sam3i_engine::{Tensor, trace};

/// `y = x Wᵀ + b`.
pub(crate) struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

impl Linear {
    /// `weight [outputs, inputs]`, `bias [outputs]`.
    pub fn load(w: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = w.matrix("weight", [outputs, inputs])?;
        Ok(Self { weight, bias: Some(w.tensor("bias", &[outputs])?) })
    }

    /// A layer of a weight and a bias that are there already.
    pub fn of(weight: Matrix, bias: Tensor) -> Self {
        Self { weight, bias: Some(bias) }
    }

    /// `x Wᵀ + b`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_then(x, Activation::None)
    }

    /// `activation(x Wᵀ + b)`.
    pub fn forward_then(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(linear(x, &self.weight, LinearOptions { bias: self.bias.as_ref(), activation, residual: None })?)
    }

    /// `x Wᵀ + b + residual`. An observer is shown the product without the residual under `name`.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor, name: &str) -> Result<Tensor> {
        if trace::wants_tensors() {
            let y = self.forward(x)?;
            trace::tap(name, &y);
            return super::add(y, residual);
        }
        let options = LinearOptions {
            bias: self.bias.as_ref(),
            activation: Activation::None,
            residual: Some(residual),
        };
        Ok(linear(x, &self.weight, options)?)
    }
}

/// `linear2(relu(linear1(x)))`, the feed-forward part of the detector's layers.
pub(crate) struct FeedForward {
    linear1: Linear,
    linear2: Linear,
}

impl FeedForward {
    /// `linear1 [hidden, dim]`, `linear2 [dim, hidden]`; `w` is the layer's.
    pub fn load(w: &Weights, dim: usize, hidden: usize) -> Result<Self> {
        Ok(Self {
            linear1: Linear::load(&w.at("linear1"), dim, hidden)?,
            linear2: Linear::load(&w.at("linear2"), hidden, dim)?,
        })
    }

    /// `[n, c]` to the same.
    pub fn forward(&self, x_nc: &Tensor) -> Result<Tensor> {
        self.linear2.forward(&self.linear1.forward_then(x_nc, Activation::Relu)?)
    }

    /// `residual + forward(x)`; an observer is shown `forward(x)` by itself under `name`.
    pub fn forward_add(&self, x_nc: &Tensor, residual: &Tensor, name: &str) -> Result<Tensor> {
        self.linear2.forward_add(&self.linear1.forward_then(x_nc, Activation::Relu)?, residual, name)
    }
}

/// Linear layers `layers.0`, `layers.1`, .. with ReLU between them and none at the end.
pub(crate) struct Mlp(Vec<Linear>);

impl Mlp {
    /// Layers of the given widths: `widths[i]` to `widths[i + 1]` channels.
    pub fn load(w: &Weights, widths: &[usize]) -> Result<Self> {
        let layers = widths.windows(2).enumerate();
        layers
            .map(|(i, ends)| Linear::load(&w.at(format!("layers.{i}")), ends[0], ends[1]))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// All layers, ReLU between them.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let last = self.0.len() - 1;
        self.0.iter().enumerate().try_fold(x.clone(), |x, (i, layer)| {
            layer.forward_then(&x, if i < last { Activation::Relu } else { Activation::None })
        })
    }
}
