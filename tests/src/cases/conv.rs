//! Cases of convolution and transposed convolution.

use super::{Bf16Case, Case, F16Case, values};
use crate::compare::Tolerance;
use proptest::prelude::*;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::conv::{ConvWeight, conv};
use sam3i_engine::ops::conv_transpose::{ConvTransposeWeight, conv_transpose_2x2};
use sam3i_engine::{Device, Result, Tensor};

/// A convolution.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Rows, columns, channels of the map.
    pub map: [usize; 3],
    /// Output channels, side of the kernel, step, border.
    pub kernel: [usize; 4],
    /// `[h, w, c]`.
    pub x: Vec<f32>,
    /// `[o, c, k, k]`.
    pub w: Vec<f32>,
    /// `[o]`.
    pub bias: Vec<f32>,
}

impl Case for Conv {
    /// Sums of up to 1800 products of values up to 4 in f32.
    const TOLERANCE: Tolerance = Tolerance { absolute: 2e-3, relative: 2e-5 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [out, side, step, border] = self.kernel;
        let w = ConvWeight::new(device, [out, self.map[2], side, side], step, border, self.w.clone())?;
        let bias = Tensor::from_vec(device, &[out], self.bias.clone())?;
        conv(&Tensor::from_vec(device, &self.map, self.x.clone())?, &w, Some(&bias), Activation::Relu)
    }
}

impl Bf16Case for Conv {
    /// Each operand is rounded by up to 2^-8 of itself, so a product of two values spread over [-4, 4] is off by about
    /// 0.012 (one standard deviation), a sum of `k` of them by sqrt(k) times that; six deviations. It is 1 % of the
    /// result's own spread, so a pair in the wrong place shows.
    fn bf16_tolerance(&self) -> Tolerance {
        let k = self.kernel[1] * self.kernel[1] * self.map[2];
        Tolerance { absolute: 0.012 * 6.0 * (k as f32).sqrt(), relative: 1e-3 }
    }
}

impl F16Case for Conv {
    /// A weight of up to 4 is rounded to f16 by up to 2^-11 of itself, 3e-4 (one standard deviation) in a product of two values
    /// spread over [-4, 4]; a sum of `k` of them by sqrt(k) times 1.5e-3; six deviations.
    fn f16_tolerance(&self) -> Tolerance {
        Tolerance {
            absolute: 1.5e-3 * 6.0 * ((self.kernel[1] * self.kernel[1] * self.map[2]) as f32).sqrt(),
            relative: 1e-4,
        }
    }
}

/// Any convolution whose kernel fits: 1 x 1, 3 x 3 with a border, patches.
pub fn any_conv() -> impl Strategy<Value = Conv> {
    let kernel = prop_oneof![
        Just([1usize, 1, 0]),
        Just([3, 1, 1]),
        Just([14, 14, 0]),
        Just([2, 2, 0]),
        Just([3, 2, 2]),
    ];
    let map = prop_oneof![3 => [14usize..20, 14usize..20, 1usize..6], 1 => [14usize..16, 14usize..16, 30usize..140]];
    (map, kernel, 0usize..40).prop_flat_map(|(map, [side, step, border], out)| {
        let [h, w, c] = map;
        let out = if side == 14 { out % 5 } else { out };
        (values(h * w * c), values(out * c * side * side), values(out)).prop_map(move |(x, w, bias)| Conv {
            map,
            kernel: [out, side, step, border],
            x,
            w,
            bias,
        })
    })
}

/// A transposed convolution.
#[derive(Clone, Debug)]
pub struct ConvTranspose(pub Conv);

impl Case for ConvTranspose {
    const TOLERANCE: Tolerance = Conv::TOLERANCE;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let w = ConvTransposeWeight::new(device, self.0.map[2], self.0.kernel[0], self.0.w.clone())?;
        let bias = Tensor::from_vec(device, &[self.0.kernel[0]], self.0.bias.clone())?;
        let x = Tensor::from_vec(device, &self.0.map, self.0.x.clone())?;
        conv_transpose_2x2(&x, &w, &bias, Activation::Gelu)
    }
}

impl Bf16Case for ConvTranspose {
    /// As for a convolution, with a sum over the channels.
    fn bf16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 0.012 * 6.0 * (self.0.map[2] as f32).sqrt(), relative: 1e-3 }
    }
}

impl F16Case for ConvTranspose {
    /// A weight of up to 4 is rounded to f16 by up to 2^-11 of itself, 3e-4 (one standard deviation) in a product of two values
    /// spread over [-4, 4]; a sum of `k` of them by sqrt(k) times 1.5e-3; six deviations.
    fn f16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 1.5e-3 * 6.0 * (self.0.map[2] as f32).sqrt(), relative: 1e-4 }
    }
}

/// Any transposed convolution.
pub fn any_conv_transpose() -> impl Strategy<Value = ConvTranspose> {
    ([1usize..10, 1usize..10, 1usize..60], 0usize..40).prop_flat_map(|(map, out)| {
        let [h, w, c] = map;
        (values(h * w * c), values(4 * c * out), values(out))
            .prop_map(move |(x, w, bias)| ConvTranspose(Conv { map, kernel: [out, 2, 2, 0], x, w, bias }))
    })
}
