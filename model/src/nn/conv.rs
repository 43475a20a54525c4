//! Convolutions over channels-last maps.

use crate::Result;
use crate::weights::Weights;
use sam3i_engine::Tensor;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::conv::{ConvWeight, conv};
use sam3i_engine::ops::conv_transpose::{ConvTransposeWeight, conv_transpose_2x2};

/// A convolution.
pub(crate) struct Conv {
    weight: ConvWeight,
    bias: Option<Tensor>,
}

impl Conv {
    /// 1 x 1: `weight [outputs, inputs, 1, 1]`, `bias`.
    pub fn load_1x1(w: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        Self::load(w, [outputs, inputs, 1, 1], 1, 0)
    }

    /// 3 x 3 with a border of one: `weight [outputs, inputs, 3, 3]`, `bias`.
    pub fn load_3x3(w: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        Self::load(w, [outputs, inputs, 3, 3], 1, 1)
    }

    /// A whole map to one pixel: `weight [outputs, inputs, side, side]`, `bias`.
    pub fn load_whole(w: &Weights, inputs: usize, outputs: usize, side: usize) -> Result<Self> {
        Self::load(w, [outputs, inputs, side, side], side, 0)
    }

    /// Patches side by side, no bias: `weight [outputs, inputs, patch, patch]`.
    pub fn load_patches(w: &Weights, inputs: usize, outputs: usize, patch: usize) -> Result<Self> {
        let shape = [outputs, inputs, patch, patch];
        Ok(Self {
            weight: ConvWeight::new(w.device(), shape, patch, 0, w.values("weight", &shape)?)?,
            bias: None,
        })
    }

    fn load(w: &Weights, shape: [usize; 4], stride: usize, padding: usize) -> Result<Self> {
        let weight = ConvWeight::new(w.device(), shape, stride, padding, w.values("weight", &shape)?)?;
        Ok(Self { weight, bias: Some(w.tensor("bias", &[shape[0]])?) })
    }

    /// `[h, w, inputs]` to `[h', w', outputs]`.
    pub fn forward(&self, x_hwc: &Tensor) -> Result<Tensor> {
        Ok(conv(x_hwc, &self.weight, self.bias.as_ref(), Activation::None)?)
    }
}

/// A transposed convolution 2 x 2, stride 2.
pub(crate) struct ConvTranspose {
    weight: ConvTransposeWeight,
    bias: Tensor,
}

impl ConvTranspose {
    /// `weight [inputs, outputs, 2, 2]`, `bias [outputs]`.
    pub fn load(w: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        let values = w.values("weight", &[inputs, outputs, 2, 2])?;
        let weight = ConvTransposeWeight::new(w.device(), inputs, outputs, values)?;
        Ok(Self { weight, bias: w.tensor("bias", &[outputs])? })
    }

    /// `[h, w, inputs]` to `activation([2h, 2w, outputs])`.
    pub fn forward(&self, x_hwc: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(conv_transpose_2x2(x_hwc, &self.weight, &self.bias, activation)?)
    }
}
