//! A form on matrix units is tried before it is first used: on small problems of odd sizes, against the plain loops.

use super::attention::{Packed, Seen};
use super::matrices::{MatrixUnits, Product, UnitForm};
use super::products::{Operands, conv_on_units};
use super::{Buffer, Gpu};
use crate::gpu::Weight;
use crate::ops::attention::Bias;
use crate::{Error, Result};
use sam3i_kernels::matmul::gpu::activation;
use sam3i_kernels::matmul::{self, Activation, Epilogue};
use sam3i_kernels::{attention, conv};

/// How far a result may be from the plain loop's. Operands are whole 64ths, which f16 holds, so products differ by the order of
/// their sums only.
const APART: f32 = 1e-3;
/// Weights of attention are rounded to f16 (2^-12 of them), and average values of up to 0.8; scores of operands of whole 64ths
/// times log2(e) / sqrt(head_dim) are off by 2^-12 of the query, which moves a weight by 1e-3 of it.
const ATTENTION_APART: f32 = 4e-3;

/// Whether a form computes what it should with these matrices. A GPU that cannot compile it, or run it, does not.
///
/// # Errors
/// [`Error::GpuMemory`], [`Error::GpuLost`]: of these the form is not to blame.
pub(super) fn passes(gpu: &Gpu, units: MatrixUnits, form: &UnitForm) -> Result<bool> {
    // Where subgroups are of several sizes, a driver may take another one for each text.
    let activations: &[_] = match gpu.facts().subgroups {
        Some([least, most]) if least == most => &[Activation::Gelu],
        _ => &[Activation::None, Activation::Relu, Activation::Gelu],
    };
    match form.op {
        "attention" => all(&[true, false], |&causal| attends(gpu, units, form, causal)),
        "conv" => all(activations, |&activation| convolution(gpu, units, form, activation)),
        _ => all(activations, |&activation| product(gpu, units, form, activation)),
    }
}

fn all<T>(items: &[T], passes: impl Fn(&T) -> Result<bool>) -> Result<bool> {
    for item in items {
        if !passes(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `len` whole 64ths, from -50 to 50 of them.
fn numbers(len: usize, first: usize) -> Vec<f32> {
    (first..first + len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect()
}

/// Whether what `run` writes is as expected. What it does not write is not.
fn agrees(gpu: &Gpu, expected: &[f32], apart: f32, run: impl FnOnce(&Buffer) -> Result<()>) -> Result<bool> {
    let result = || -> Result<Vec<f32>> {
        let output = gpu.upload(&vec![f32::NAN; expected.len()])?;
        run(&output)?;
        gpu.read(&output, 0, expected.len())
    };
    match result() {
        Ok(got) => Ok(got.iter().zip(expected).all(|(v, exact)| (v - exact).abs() < apart)),
        Err(error @ (Error::GpuMemory { .. } | Error::GpuLost { .. })) => Err(error),
        Err(_) => Ok(false),
    }
}

fn product(gpu: &Gpu, units: MatrixUnits, form: &UnitForm, act: Activation) -> Result<bool> {
    let sizes @ [m, n, k] = [67, 41, 53];
    let (a, w, bias, residual) = (numbers(m * k, 0), numbers(n * k, 17), numbers(n, 3), numbers(m * n, 5));
    let epilogue = Epilogue { bias: Some(&bias), activation: act, residual: Some(&residual) };
    let mut expected = vec![0.0; m * n];
    matmul::reference::run(k, &a, &w, &epilogue, &mut expected);
    agrees(gpu, &expected, APART, |output| {
        let [left, bias, residual] = [gpu.upload(&a)?, gpu.upload(&bias)?, gpu.upload(&residual)?];
        let weight = &Weight::new(gpu, k, &w, true)?;
        let operands = Operands { left: (&left, 0), bias: Some((&bias, 0)), residual: Some((&residual, 0)) };
        Product { operands, weight, activation: activation(act), sizes, doubled: None }
            .run(gpu, units, form, output)
    })
}

fn convolution(gpu: &Gpu, units: MatrixUnits, form: &UnitForm, act: Activation) -> Result<bool> {
    let shape = conv::Shape {
        height: 9,
        width: 11,
        channels: 12,
        out_channels: 37,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let map = numbers(shape.height * shape.width * shape.channels, 0);
    let w = numbers(shape.out_channels * shape.fan_in(), 17);
    let mut expected = vec![0.0; shape.height * shape.width * shape.out_channels];
    conv::reference::run(&shape, &map, &w, None, act, &mut expected);
    agrees(gpu, &expected, APART, |output| {
        let map = gpu.upload(&map)?;
        let weight = Weight::new(gpu, shape.fan_in(), &conv::gpu::rows(&shape, &w), true)?;
        conv_on_units(gpu, units, form, &shape, (&map, 0), &weight, (None, activation(act)), output)
    })
}

fn attends(gpu: &Gpu, units: MatrixUnits, form: &UnitForm, causal: bool) -> Result<bool> {
    // Programs take a minute to compile the larger heads.
    let head_dim = if gpu.facts().is_software { 13 } else { 61 };
    let shape = attention::Shape { batch: 1, heads: 2, head_dim, queries: 71, keys: 75 };
    let [q, k, v] = [(shape.queries, 0), (shape.keys, 17), (shape.keys, 5)]
        .map(|(tokens, first)| (tokens, numbers(tokens * shape.width(), first)));
    let view = |(tokens, values)| attention::View {
        values,
        batch_stride: tokens * shape.width(),
        token_stride: shape.width(),
    };
    let scale = 1.0 / (shape.head_dim as f32).sqrt();
    let options = attention::Options { scale, causal, ..Default::default() };
    let mut expected = vec![0.0; shape.queries * shape.width()];
    let [q_view, k_view, v_view] = [(q.0, &q.1[..]), (k.0, &k.1[..]), (v.0, &v.1[..])].map(view);
    attention::reference::run(&shape, q_view, k_view, v_view, &options, &mut expected);
    agrees(gpu, &expected, ATTENTION_APART, |output| {
        let [q, k, v] = [gpu.upload(&q.1)?, gpu.upload(&k.1)?, gpu.upload(&v.1)?];
        let strides = [shape.queries, shape.keys, shape.keys].map(|n| [n * shape.width(), shape.width()]);
        let operands = [&q, &k, &v].map(|buffer| (buffer, 0));
        let packed = Packed::new(gpu, &shape, form, operands, strides, None)?;
        let seen = Seen { causal, key_padding: None, bias: Bias::None, in_f32: false };
        packed.attend(gpu, units, form, &shape, &seen, output)
    })
}
