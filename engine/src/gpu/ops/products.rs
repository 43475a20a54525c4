//! Matrix products and convolutions.

use super::matrices::{self, MatrixUnits, Product, UnitForm};
use super::{Buffer, Call, Gpu};
use crate::gpu::{Site, Weight};
use crate::ops::Activation;
use crate::{Result, Tensor};
use sam3i_kernels::gpu::{Constant, Kernel};
use sam3i_kernels::matmul::gpu::{
    BIAS, HALVES, Params, RESIDUAL, TILED, activation, groups, matrices_tile, tile,
};
use sam3i_kernels::{conv, conv_transpose};

/// Rows, columns and terms from which on matrix units pay: below a tile, most of their work would be padding.
const WORTH_IT: usize = 64;

/// What follows a product.
#[derive(Clone, Copy, Default)]
pub(crate) struct After<'a> {
    pub bias: Option<&'a Tensor>,
    pub activation: Activation,
    pub residual: Option<&'a Tensor>,
}

/// `activation(x wᵀ + bias) + residual`; the result has this shape, `n` its last axis.
pub(crate) fn linear(gpu: &Gpu, x: &Tensor, w: &Weight, after: After, shape: &[usize]) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (left, a_at) = x.on_gpu("linear")?;
    let (n, k) = (shape[shape.len() - 1], x.last_dim());
    let m = shape[..shape.len() - 1].iter().product::<usize>();
    let params = Params { m: m as u32, n: n as u32, k: k as u32, a_at, ..Params::default() };
    let output = gpu.buffer(m * n)?;
    product(gpu, params, left, w, after, false, &output)?;
    Ok(Tensor::from_gpu(x.device(), shape, output))
}

/// `a bᵀ` of two activations.
pub(crate) fn matmul_transposed(gpu: &Gpu, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let ([m, k], [n, _]) = (a.dims()?, b.dims()?);
    let ((left, a_at), (right, w_at)) = (a.on_gpu("matmul")?, b.on_gpu("matmul")?);
    let params =
        Params { m: m as u32, n: n as u32, k: k as u32, w_stride: k as u32, a_at, w_at, ..Params::default() };
    let output = gpu.buffer(m * n)?;
    let inputs = [Some(left), Some(right), None, None];
    let across = across(gpu.form(Site::Product { m, n, k, half: false }, &tiled_forms(gpu, &TILED), &[]));
    tiles(gpu, (&TILED, tile(across)), &[("ACROSS", across)], &inputs, &output, [m, n, k], |first_tile| {
        Params { first_tile, ..params }
    })?;
    Ok(Tensor::from_gpu(a.device(), &[m, n], output))
}

/// A transposed convolution 2 x 2: a product whose results go to the doubled map.
pub(crate) fn conv_transpose(
    gpu: &Gpu,
    shape: &conv_transpose::Shape,
    x: &Tensor,
    w: &Weight,
    bias: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (left, a_at) = x.on_gpu("conv_transpose")?;
    let params = Params {
        m: (shape.height * shape.width) as u32,
        n: 4 * shape.out_channels as u32,
        k: shape.channels as u32,
        a_at,
        width: shape.width as u32,
        out_channels: shape.out_channels as u32,
        ..Params::default()
    };
    let out_shape = [2 * shape.height, 2 * shape.width, shape.out_channels];
    let output = gpu.buffer(out_shape.iter().product())?;
    let after = After { bias: Some(bias), activation, residual: None };
    product(gpu, params, left, w, after, true, &output)?;
    Ok(Tensor::from_gpu(x.device(), &out_shape, output))
}

/// The forms of a product; those in f16 only if its weight is.
pub(crate) fn forms(gpu: &Gpu, half: bool) -> Vec<&'static str> {
    let mut forms = tiled_forms(gpu, &TILED);
    if half {
        forms.extend(halves_forms(gpu, &HALVES));
    }
    if half {
        forms.extend(matrices::names(gpu, "product"));
    }
    forms
}

/// The forms of a convolution; those in f16 only if its weight is, on matrix units only if its channels come in fours.
pub(crate) fn conv_forms(gpu: &Gpu, shape: &conv::Shape, half: bool) -> Vec<&'static str> {
    let mut forms = tiled_forms(gpu, &conv::gpu::TILED);
    if half {
        forms.extend(halves_forms(gpu, &conv::gpu::HALVES));
    }
    if half && shape.channels.is_multiple_of(4) {
        forms.extend(matrices::names(gpu, "conv"));
    }
    forms
}

/// The forms of a kernel that comes in tiles.
pub(crate) fn tiled_forms(gpu: &Gpu, kernel: &Kernel) -> Vec<&'static str> {
    let mut forms = vec!["tiled_64"];
    if gpu.fits(kernel, &[("ACROSS", 16)]) {
        forms.push("tiled_128");
    }
    forms
}

/// The forms of a kernel that comes in tiles and keeps f16 in workgroup memory.
fn halves_forms(gpu: &Gpu, kernel: &Kernel) -> impl Iterator<Item = &'static str> {
    let fits = |across| gpu.fits(kernel, &[("ACROSS", across)]);
    [("halves_64", fits(8)), ("halves_128", fits(16))]
        .into_iter()
        .filter_map(|(form, fits)| fits.then_some(form))
}

/// Threads along either axis of a workgroup, of a form in tiles.
fn across(form: &str) -> u32 {
    if form.ends_with("_128") { 16 } else { 8 }
}

/// Whether a form keeps f16 in workgroup memory.
fn is_halves(form: &str) -> bool {
    form.starts_with("halves")
}

/// Operands of a product on the GPU, and where each begins.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub left: (&'a Buffer, u32),
    pub bias: Option<(&'a Buffer, u32)>,
    pub residual: Option<(&'a Buffer, u32)>,
}

impl Operands<'_> {
    /// Which there are, as the kernels read it.
    pub fn flags(&self) -> u32 {
        let flag = |there: bool, flag: u32| if there { flag } else { 0 };
        flag(self.bias.is_some(), BIAS) | flag(self.residual.is_some(), RESIDUAL)
    }
}

fn product(
    gpu: &Gpu,
    params: Params,
    left: &Buffer,
    w: &Weight,
    after: After,
    doubled: bool,
    output: &Buffer,
) -> Result<()> {
    let bias = after.bias.map(Tensor::contiguous).transpose()?;
    let residual = after.residual.map(Tensor::contiguous).transpose()?;
    let bias = bias.as_ref().map(|t| t.on_gpu("linear")).transpose()?;
    let residual = residual.as_ref().map(|t| t.on_gpu("linear")).transpose()?;
    let operands = Operands { left: (left, params.a_at), bias, residual };
    let sizes @ [m, n, k] = [params.m, params.n, params.k].map(|n| n as usize);
    let rule = rule(gpu, w.half, sizes);
    let form = gpu.form(Site::Product { m, n, k, half: w.half }, &forms(gpu, w.half), &rule);
    if let Some((units, form)) = gpu.on_units("product", form) {
        let activation = activation(after.activation);
        let doubled = doubled.then_some([params.width, params.out_channels]);
        return Product { operands, weight: w, activation, sizes, doubled }.run(gpu, units, form, output);
    }
    let across = across(form);
    let params = Params {
        w_stride: w.stride as u32,
        bias_at: bias.map_or(0, |(_, at)| at),
        residual_at: residual.map_or(0, |(_, at)| at),
        flags: operands.flags(),
        ..params
    };
    let constants = [
        ("ACROSS", across),
        activation(after.activation),
        ("DOUBLED", u32::from(doubled)),
        how(form, w, params.a_at, k),
    ];
    let inputs = [Some(left), Some(&w.buffer), bias.map(|(b, _)| b), residual.map(|(b, _)| b)];
    let params = |first_tile| Params { first_tile, ..params };
    if is_halves(form) {
        let inputs = [&inputs[..1], &inputs].concat(); // the left operand by quads too
        return tiles(gpu, (&HALVES, tile(across)), &constants, &inputs, output, sizes, params);
    }
    tiles(gpu, (&TILED, tile(across)), &constants, &inputs, output, sizes, params)
}

/// The constant that tells how operands of a form in tiles lie: what the weight is stored as, or with f16 in workgroup memory, whether
/// the other one begins on a quad and `k` of its values, or its channels, come in fours.
fn how(form: &str, w: &Weight, at: u32, k: usize) -> Constant {
    if is_halves(form) {
        return ("ALIGNED", u32::from(at.is_multiple_of(4) && k.is_multiple_of(4)));
    }
    ("HALF", u32::from(w.half))
}

/// The forms that a product or convolution takes of itself, best first: on matrix units where they pay, else with f16 in workgroup
/// memory where the weight is f16. GPUs without f16 are not offered that.
pub(crate) fn rule(gpu: &Gpu, half: bool, sizes: [usize; 3]) -> Vec<&'static str> {
    let mut rule = Vec::new();
    if half && sizes.iter().all(|&n| n >= WORTH_IT) {
        rule.extend(matrices::usual_forms(gpu, sizes[0], sizes[1]));
    }
    rule.extend(half.then_some("halves_64"));
    rule
}

/// `activation(conv(x, w) + bias)`.
pub(crate) fn conv(
    gpu: &Gpu,
    shape: &conv::Shape,
    x: &Tensor,
    w: &Weight,
    bias: Option<&Tensor>,
    act: Activation,
) -> Result<Tensor> {
    let (height, width) = shape.out_size();
    let out_shape = [height, width, shape.out_channels];
    if shape.kernel == 1 && shape.stride == 1 && shape.padding == 0 {
        let after = After { bias, activation: act, residual: None };
        return linear(gpu, x, w, after, &out_shape); // nothing to gather
    }
    let x = x.contiguous()?;
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let (map, x_at) = x.on_gpu("conv")?;
    let bias = bias.as_ref().map(|t| t.on_gpu("conv")).transpose()?;
    let output = gpu.buffer(out_shape.iter().product())?;
    let sizes = [height * width, shape.out_channels, shape.fan_in()];
    let site = Site::Conv { shape: *shape, half: w.half };
    let form = gpu.form(site, &conv_forms(gpu, shape, w.half), &rule(gpu, w.half, sizes));
    let after = (bias, activation(act));
    match gpu.on_units("conv", form) {
        Some((units, form)) => {
            conv_on_units(gpu, units, form, shape, (map, x_at), w, after, &output)?;
        }
        None => {
            let across = across(form);
            let constants = [("ACROSS", across), how(form, w, x_at, shape.channels)];
            let kernel = if is_halves(form) { &conv::gpu::HALVES } else { &conv::gpu::TILED };
            let kernel = (kernel, tile(across));
            gathered(gpu, kernel, &constants, shape, (map, x_at), w, after, &output)?;
        }
    }
    Ok(Tensor::from_gpu(x.device(), &out_shape, output))
}

/// A convolution with an f16 weight in a form on matrix units; what follows it: bias, activation.
#[allow(clippy::too_many_arguments)] // as many as a convolution has
pub(super) fn conv_on_units(
    gpu: &Gpu,
    units: MatrixUnits,
    form: &UnitForm,
    shape: &conv::Shape,
    map: (&Buffer, u32),
    w: &Weight,
    after: (Option<(&Buffer, u32)>, Constant),
    output: &Buffer,
) -> Result<()> {
    let [side, lanes] = units.constants();
    let UnitForm { kernel, each, .. } = *form;
    let kernel = (kernel, matrices_tile(units.side, each));
    gathered(gpu, kernel, &[side, lanes, ("EACH", each)], shape, map, w, after, output)
}

/// A convolution in tiles, whose kernel gathers its left operand.
#[allow(clippy::too_many_arguments)] // as many as a convolution has
fn gathered(
    gpu: &Gpu,
    kernel: (&'static Kernel, usize),
    constants: &[Constant],
    shape: &conv::Shape,
    (map, x_at): (&Buffer, u32),
    w: &Weight,
    (bias, activation): (Option<(&Buffer, u32)>, Constant),
    output: &Buffer,
) -> Result<()> {
    let params = conv::gpu::Params {
        w_stride: if kernel.0.needs.matrices { 2 * w.stride as u32 } else { w.stride as u32 },
        x_at,
        bias_at: bias.map_or(0, |(_, at)| at),
        flags: if bias.is_some() { BIAS } else { 0 },
        ..conv::gpu::Params::new(shape)
    };
    let constants = [constants, &[activation]].concat();
    let operands = [Some(map), Some(map), Some(&w.buffer), bias.map(|(b, _)| b)];
    let inputs = &operands[operands.len() - kernel.0.inputs..]; // by quads too, where the kernel wants that
    let sizes = [params.m, params.n, params.k].map(|n| n as usize);
    tiles(gpu, kernel, &constants, inputs, output, sizes, |first_tile| conv::gpu::Params {
        first_tile,
        ..params
    })
}

/// Dispatches a product of `[m, n, k]` in bands of rows, each of bounded work. `params` is given the number of tiles of rows
/// before a band.
pub(super) fn tiles<P: bytemuck::Pod>(
    gpu: &Gpu,
    (kernel, tile): (&'static Kernel, usize),
    constants: &[Constant],
    inputs: &[Option<&Buffer>],
    output: &Buffer,
    [m, n, k]: [usize; 3],
    params: impl Fn(u32) -> P,
) -> Result<()> {
    let rows = m.div_ceil(tile);
    let work_of_row = 2 * (tile * n) as u64 * k as u64;
    let band = (gpu.bounds().work / work_of_row.max(1)).clamp(1, 65_535) as usize;
    for first in (0..rows).step_by(band) {
        let count = band.min(rows - first);
        gpu.dispatch(&Call {
            kernel,
            constants,
            params: bytemuck::bytes_of(&params(first as u32)),
            inputs,
            output,
            groups: groups(count, n, tile),
            work: work_of_row * count as u64,
        })?;
    }
    Ok(())
}
