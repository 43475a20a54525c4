//! Cases of linear layers and of the product of two activations.

use super::{Bf16Case, Case, F16Case, rounded_products, sequence, values};
use crate::compare::Tolerance;
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::matmul::{LinearOptions, Matrix, linear, matmul_transposed};
use sam3i_engine::{Device, Result, Tensor};
use sam3i_kernels::matmul::flops;

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

/// Rows, channels in and out that hit full tiles, tails, several blocks of `k` and several tasks.
fn sizes() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![
        6 => [0usize..40, 1usize..40, 0usize..70],
        2 => [1usize..4, 1usize..300, 1usize..300],
        1 => [1usize..30, 1000usize..2100, 1usize..40],
        1 => [250usize..320, 1usize..20, 1usize..50],
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
    };
    vec![
        job("mask logits of 5 [82944, 256] x [5, 256]", [82_944, 256, 5]),
        job("class logits [200, 256] x [1, 256]", [200, 256, 1]),
    ]
}
