//! Cases of convolution and transposed convolution.

use super::{Bf16Case, Case, F16Case, rounded_products, sequence, values};
use crate::compare::Tolerance;
use crate::job::{Job, Sizes};
use proptest::prelude::*;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::conv::{ConvWeight, conv};
use sam3i_engine::ops::conv_transpose::{ConvTransposeWeight, conv_transpose_2x2};
use sam3i_engine::{Device, Result, Tensor};
use sam3i_kernels::conv::Shape;

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
    /// Both operands of a product are rounded.
    fn bf16_tolerance(&self) -> Tolerance {
        rounded_products(self.kernel[1] * self.kernel[1] * self.map[2])
    }
}

impl F16Case for Conv {
    /// A weight of up to 4 is rounded to f16 by up to 2^-11 of itself, in workgroup memory and on matrix units the other operand too:
    /// 1.5e-3 (one standard deviation) in a product of two values spread over [-4, 4], a sum of `k` of them by sqrt(k) times that;
    /// six deviations.
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
        rounded_products(self.0.map[2])
    }
}

impl F16Case for ConvTranspose {
    /// A weight of up to 4 is rounded to f16 by up to 2^-11 of itself, in workgroup memory and on matrix units the other operand too:
    /// 1.5e-3 (one standard deviation) in a product of two values spread over [-4, 4], a sum of `k` of them by sqrt(k) times that;
    /// six deviations.
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

/// Calls of the published model at 1008 pixels.
pub fn published_conv() -> Vec<Job> {
    let job = |what, [h, w, c]: [usize; 3], [out, side, step, border]: [usize; 4]| {
        let shape = Shape {
            height: h,
            width: w,
            channels: c,
            out_channels: out,
            kernel: side,
            stride: step,
            padding: border,
        };
        let (out_h, out_w) = shape.out_size();
        let elements = h * w * c + out * c * side * side + out_h * out_w * out;
        Job::new(what, shape.flops(), elements, move |device| {
            let weight = sequence(out * c * side * side, 2);
            let weight = ConvWeight::new(device, [out, c, side, side], step, border, weight)?;
            let bias = Tensor::from_vec(device, &[out], sequence(out, 3))?;
            let x = Tensor::from_vec(device, &[h, w, c], sequence(h * w * c, 1))?;
            Ok(Box::new(move || conv(&x, &weight, Some(&bias), Activation::None)))
        })
        .of_sizes(Sizes::Conv(shape))
    };
    vec![
        job("patches 14 x 14 of [1008, 1008, 3]", [1008, 1008, 3], [1024, 14, 14, 0]),
        job("neck 3 x 3 of [72, 72, 256]", [72, 72, 256], [256, 3, 1, 1]),
        job("neck 3 x 3 of [288, 288, 256]", [288, 288, 256], [256, 3, 1, 1]),
        job("neck 1 x 1 of [72, 72, 1024]", [72, 72, 1024], [256, 1, 1, 0]),
    ]
}

/// Calls of the published model at 1008 pixels.
pub fn published_conv_transpose() -> Vec<Job> {
    let job = |what, [h, w, c]: [usize; 3], out: usize| {
        let elements = h * w * c + 4 * c * out + 4 * h * w * out;
        Job::new(what, 8 * (h * w * c * out) as u64, elements, move |device| {
            let weight = ConvTransposeWeight::new(device, c, out, sequence(4 * c * out, 2))?;
            let bias = Tensor::from_vec(device, &[out], sequence(out, 3))?;
            let x = Tensor::from_vec(device, &[h, w, c], sequence(h * w * c, 1))?;
            Ok(Box::new(move || conv_transpose_2x2(&x, &weight, &bias, Activation::Gelu)))
        })
        .of_sizes(Sizes::Weighted { m: h * w, n: 4 * out, k: c })
    };
    vec![
        job("neck [72, 72, 1024] to 512 channels", [72, 72, 1024], 512),
        job("neck [144, 144, 512] to 256 channels", [144, 144, 512], 256),
    ]
}
