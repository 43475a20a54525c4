//! Cases of linear layers and of the product of two activations.

use super::{Bf16Case, Case, F16Case, int8_devices, rounded_products, sequence, values};
use crate::compare::{Tolerance, assert_close};
use crate::job::{Job, Sizes};
use proptest::prelude::*;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::matmul::{
    LinearOptions, Matrix, MatrixValues, QuantisedWeight, linear, matmul_transposed,
};
use sam3i_engine::{Backend, Device, Result, Tensor};
use sam3i_kernels::matmul::{Epilogue, flops, int8};

/// `activation(x wᵀ + bias) + residual`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Rows, input channels, output channels.
    pub sizes: [usize; 3],
    /// `[m, k]`.
    pub x: Vec<f32>,
    /// `[n, k]`.
    pub w: Vec<f32>,
    /// `[n]`.
    pub bias: Option<Vec<f32>>,
    /// Applied before the residual.
    pub activation: Activation,
    /// `[m, n]`.
    pub residual: Option<Vec<f32>>,
}

impl Case for Linear {
    /// Sums of up to 2100 products of values up to 4 in f32: rounding errors of about 1e-7 a term, most of which
    /// cancel; near zero what counts is the size of the terms.
    const TOLERANCE: Tolerance = Tolerance { absolute: 2e-3, relative: 2e-5 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [m, k, n] = self.sizes;
        let tensor = |shape: &[usize], values: &Option<Vec<f32>>| {
            values.as_ref().map(|v| Tensor::from_vec(device, shape, v.clone())).transpose()
        };
        let (bias, residual) = (tensor(&[n], &self.bias)?, tensor(&[m, n], &self.residual)?);
        let options =
            LinearOptions { bias: bias.as_ref(), activation: self.activation, residual: residual.as_ref() };
        let w = Matrix::new(device, n, k, self.w.clone())?;
        linear(&Tensor::from_vec(device, &[m, k], self.x.clone())?, &w, options)
    }
}

impl Bf16Case for Linear {
    /// Both operands of a product are rounded.
    fn bf16_tolerance(&self) -> Tolerance {
        rounded_products(self.sizes[1])
    }
}

impl F16Case for Linear {
    /// A weight of up to 4 is rounded to f16 by up to 2^-11 of itself, on matrix units the other operand too: 1.5e-3 (one
    /// standard deviation) in a product of two values spread over [-4, 4], a sum of `k` of them by sqrt(k) times that; six
    /// deviations. The residual and the rest stay f32.
    fn f16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 1.5e-3 * 6.0 * (self.sizes[1] as f32).sqrt(), relative: 1e-4 }
    }
}

impl Linear {
    /// With some values of `x` a thousand times as large, so that their rows need a second part in int8.
    #[must_use]
    pub fn with_outliers(mut self, every: usize) -> Self {
        self.x.iter_mut().step_by(every).for_each(|value| *value *= 1000.0);
        self
    }

    /// The call in int8 on a device, whatever 8 bits do to its weight.
    fn run_int8(&self, device: &Device, w: &QuantisedWeight) -> Result<Tensor> {
        let [m, k, n] = self.sizes;
        let tensor = |shape: &[usize], values: &Option<Vec<f32>>| {
            values.as_ref().map(|v| Tensor::from_vec(device, shape, v.clone())).transpose()
        };
        let (bias, residual) = (tensor(&[n], &self.bias)?, tensor(&[m, n], &self.residual)?);
        let options =
            LinearOptions { bias: bias.as_ref(), activation: self.activation, residual: residual.as_ref() };
        let w = Matrix::from_values(device, n, k, MatrixValues::Int8(w.clone()))?;
        assert!(w.is_int8());
        linear(&Tensor::from_vec(device, &[m, k], self.x.clone())?, &w, options)
    }

    /// How far a result in int8 may be from one in f32, for values spread over [-4, 4].
    ///
    /// Values are off by up to half a step, 8 / 255 / 2 or 4 / 127 / 2: 0.0091 (one standard deviation). A product of two
    /// is off by 0.03, a sum of `k` of them by sqrt(k) times that; six deviations.
    fn int8_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 0.03 * 6.0 * (self.sizes[1] as f32).sqrt(), relative: 1e-3 }
    }
}

/// A linear layer in int8, whatever 8 bits do to its weight. On the reference it is the plain loop over the same whole numbers.
#[derive(Clone, Debug)]
pub struct InInt8(pub Linear);

impl Case for InInt8 {
    /// Whole numbers and their sums are exact, and what follows is rounded in one order. Only our GELU is off, by 3e-6 of its
    /// operand at most, where the plain one rounds to f32.
    const TOLERANCE: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-5 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let Linear { sizes: [m, k, n], x, w, bias, activation, residual } = &self.0;
        let w = QuantisedWeight::new(*n, *k, w);
        let Some(Backend::Reference) = device.backend() else { return self.0.run_int8(device, &w) };
        let mut out = vec![0.0; m * n];
        let epilogue =
            Epilogue { bias: bias.as_deref(), activation: *activation, residual: residual.as_deref() };
        int8::reference::run(x, &w, &epilogue, &mut out);
        Tensor::from_vec(device, &[*m, *n], out)
    }
}

/// Runs a linear layer in int8 with each instruction set, on one thread and on three, and compares: to the bit with the
/// plain loop over the same whole numbers (GELU to what it rounds), and roughly with f32 where there are no outliers.
pub fn check_int8(case: &Linear, outliers: bool) {
    let case = InInt8(case.clone());
    let exact = case.run(&Device::reference()).expect("the reference runs");
    let in_f32 = case.0.run(&Device::reference()).expect("the reference runs");
    for device in int8_devices() {
        let actual = case.run(device).expect("the device runs");
        match case.0.activation {
            Activation::Gelu => {
                assert_close(format_args!("{case:?} on {device}"), &actual, &exact, InInt8::TOLERANCE);
            }
            _ => {
                let (actual, exact) = (actual.to_vec().expect("values"), exact.to_vec().expect("values"));
                assert_eq!(actual, exact, "{case:?} on {device}");
            }
        }
        if !outliers {
            assert_close(format_args!("{case:?} on {device}"), &actual, &in_f32, case.0.int8_tolerance());
        }
    }
}

/// Rows, channels in and out that hit full tiles, tails, several blocks of `k` and several tasks; and some that are large along
/// all three, for GPUs take matrix units only then.
fn sizes() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![
        6 => [0usize..40, 1usize..40, 0usize..70],
        2 => [1usize..4, 1usize..300, 1usize..300],
        1 => [1usize..30, 1000usize..2100, 1usize..40],
        1 => [250usize..320, 1usize..20, 1usize..50],
        1 => [64usize..150, 64usize..150, 64usize..150],
    ]
}

/// Any linear layer.
pub fn any_linear() -> impl Strategy<Value = Linear> {
    let activation = prop::sample::select(vec![Activation::None, Activation::Relu, Activation::Gelu]);
    (sizes(), activation, any::<bool>(), any::<bool>()).prop_flat_map(
        |(sizes, activation, bias, residual)| {
            let [m, k, n] = sizes;
            let optional = |wanted: bool, len: usize| {
                values(if wanted { len } else { 0 }).prop_map(move |v| wanted.then_some(v))
            };
            (values(m * k), values(n * k), optional(bias, n), optional(residual, m * n))
                .prop_map(move |(x, w, bias, residual)| Linear { sizes, x, w, bias, activation, residual })
        },
    )
}

/// `a bᵀ` of two activations, the left one a column view.
#[derive(Clone, Debug)]
pub struct Product(pub Linear);

impl Case for Product {
    const TOLERANCE: Tolerance = Linear::TOLERANCE;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [m, k, n] = self.0.sizes;
        let columns = Tensor::from_vec(device, &[k, m], self.0.x.clone())?;
        matmul_transposed(&columns.permute(&[1, 0])?, &Tensor::from_vec(device, &[n, k], self.0.w.clone())?)
    }
}

/// Calls of the published model at 1008 pixels.
pub fn published_linear() -> Vec<Job> {
    let job = |what, [m, k, n]: [usize; 3], activation, residual: bool| {
        let elements = m * k + n * k + n + m * n * (1 + usize::from(residual));
        Job::new(what, flops(m, n, k), elements, move |device| {
            let x = Tensor::from_vec(device, &[m, k], sequence(m * k, 1))?;
            let w = Matrix::new(device, n, k, sequence(n * k, 2))?;
            let bias = Tensor::from_vec(device, &[n], sequence(n, 3))?;
            let held = Tensor::from_vec(device, &[m, n], sequence(if residual { m * n } else { 0 }, 4));
            let residual = if residual { Some(held?) } else { None };
            Ok(Box::new(move || {
                linear(&x, &w, LinearOptions { bias: Some(&bias), activation, residual: residual.as_ref() })
            }))
        })
        .of_sizes(Sizes::Weighted { m, n, k })
    };
    vec![
        job("ViT qkv [5184, 1024] x [3072, 1024]", [5184, 1024, 3072], Activation::None, false),
        job("ViT mlp, GELU [5184, 1024] x [4736, 1024]", [5184, 1024, 4736], Activation::Gelu, false),
        job("ViT mlp, residual [5184, 4736] x [1024, 4736]", [5184, 4736, 1024], Activation::None, true),
        job("fusion ffn, ReLU [5184, 256] x [2048, 256]", [5184, 256, 2048], Activation::Relu, false),
        job("text qkv [32, 1024] x [3072, 1024]", [32, 1024, 3072], Activation::None, false),
        job("decoder projection [201, 256] x [256, 256]", [201, 256, 256], Activation::None, false),
    ]
}

/// Calls of the published model at 1008 pixels.
pub fn published_product() -> Vec<Job> {
    let job = |what, [m, k, n]: [usize; 3]| {
        Job::new(what, flops(m, n, k), m * k + n * k + m * n, move |device| {
            let a = Tensor::from_vec(device, &[m, k], sequence(m * k, 1))?;
            let b = Tensor::from_vec(device, &[n, k], sequence(n * k, 2))?;
            Ok(Box::new(move || matmul_transposed(&a, &b)))
        })
        .of_sizes(Sizes::Activations { m, n, k })
    };
    vec![
        job("mask logits of 5 [82944, 256] x [5, 256]", [82_944, 256, 5]),
        job("class logits [200, 256] x [1, 256]", [200, 256, 1]),
    ]
}
