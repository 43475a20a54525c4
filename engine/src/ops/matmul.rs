//! Matrix products: linear layers, and activations with activations.

use super::prepared::{Form, Prepared};
use super::{Activation, same_device, values};
use crate::gpu::on_gpu;
#[cfg(feature = "gpu")]
use crate::gpu::ops::products;
use crate::second::{Second, second};
use crate::{Backend, Device, Error, Result, Tensor, trace};
use sam3i_kernels::isa::Precision;
use sam3i_kernels::matmul::cpu::Packed;
use sam3i_kernels::matmul::{Epilogue, cpu, flops, reference};

/// The weight of a linear layer, prepared for its device.
pub struct Matrix {
    n: usize,
    k: usize,
    weight: Prepared<Packed>,
}

impl Matrix {
    /// Prepares a row-major `[n, k]` weight (`n` output channels, `k` input channels) in the device's type.
    ///
    /// # Errors
    /// [`Error::Shape`] if `k` is 0 or `values` are not `n * k` numbers; on the shape-only device they may be none.
    pub fn new(device: &Device, n: usize, k: usize, values: Vec<f32>) -> Result<Self> {
        Self::with_precision(device, device.precision(), false, n, k, values)
    }

    /// Prepares a weight whose products stay `f32` whatever the device's type: for small layers where rounding shows.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn new_f32(device: &Device, n: usize, k: usize, values: Vec<f32>) -> Result<Self> {
        Self::with_precision(device, Precision::F32, true, n, k, values)
    }

    fn with_precision(
        device: &Device,
        precision: Precision,
        in_f32: bool,
        n: usize,
        k: usize,
        values: Vec<f32>,
    ) -> Result<Self> {
        let fits = values.len() == n * k || (device.is_shapes_only() && values.is_empty());
        if !fits || k == 0 {
            return Err(Error::shape(
                "matrix",
                format!("{} values for this weight", values.len()),
                [&[n, k][..]],
            ));
        }
        #[cfg(feature = "gpu")]
        if let Some(gpu) = device.as_gpu() {
            let weight = gpu.weight(k, &values, in_f32)?;
            return Ok(Self { n, k, weight: Prepared::on_gpu(device, weight, values) });
        }
        let _ = in_f32; // a host device says it by the precision
        let pack = |isa, precision, w: &[f32]| Packed::new(isa, precision, n, k, w);
        let weight = Prepared::new(device, values, precision, pack, Packed::bytes);
        Ok(Self { n, k, weight })
    }

    /// Output channels.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.n
    }

    /// Input channels.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.k
    }

    /// The same on the second device.
    fn on(&self, second: &Second) -> Result<Self> {
        Self::new(second.device(), self.n, self.k, second.values(self.weight.source.as_deref())?)
    }
}

/// What a linear layer does besides its product.
#[derive(Clone, Copy, Default)]
pub struct LinearOptions<'a> {
    /// Added to every row, `[n]`.
    pub bias: Option<&'a Tensor>,
    /// Applied after the bias.
    pub activation: Activation,
    /// Added last; has the shape of the result.
    pub residual: Option<&'a Tensor>,
}

/// `activation(x wᵀ + bias) + residual` over the last axis of `x`.
///
/// # Shapes
/// `x [.., k]`, `w [n, k]`, `bias [n]`, `residual [.., n]` to `[.., n]`.
///
/// # Errors
/// [`Error::Shape`], [`Error::DeviceMismatch`], [`Error::DType`].
pub fn linear(x: &Tensor, w: &Matrix, options: LinearOptions) -> Result<Tensor> {
    if let Some(second) = second("linear", x.device(), [x.shape(), &[w.n, w.k]]) {
        return second.compare(linear(x, w, options), |on| {
            let (bias, residual) = (on.optional(options.bias)?, on.optional(options.residual)?);
            let options = LinearOptions { bias: bias.as_ref(), residual: residual.as_ref(), ..options };
            linear(&on.tensor(x)?, &w.on(on)?, options)
        });
    }
    let weight_shape = [w.n, w.k];
    if x.last_dim() != w.k || x.shape().is_empty() {
        let problem = format!("the last axis must have {} channels", w.k);
        return Err(Error::shape("linear", problem, [x.shape(), &weight_shape]));
    }
    let mut shape = x.shape().to_vec();
    shape[x.shape().len() - 1] = w.n;
    check_options(&options, &shape, w.n)?;
    let operands: Vec<&Tensor> = [x].into_iter().chain(options.bias).chain(options.residual).collect();
    w.weight.check_device("linear", &operands)?;
    let rows = shape[..shape.len() - 1].iter().product();
    let _trace = trace::op("linear", flops(rows, w.n, w.k), [x.shape(), &weight_shape]);

    on_gpu!(x.device(), |gpu| {
        let LinearOptions { bias, activation, residual } = options;
        products::linear(gpu, x, w.weight.gpu(), products::After { bias, activation, residual }, &shape)
    });
    let x = x.contiguous()?;
    let residual = options.residual.map(Tensor::contiguous).transpose()?;
    let input = values(&x)?;
    let epilogue = Epilogue {
        bias: options.bias.map(values).transpose()?,
        activation: options.activation,
        residual: residual.as_ref().map(values).transpose()?,
    };
    Tensor::build(x.device(), &shape, |backend, out| match (&w.weight.form, backend) {
        (Form::Plain(w), _) => reference::run(x.last_dim(), input, &w.value, &epilogue, out),
        (Form::Packed(w), Backend::Cpu(isa)) => cpu::run(isa, input, &w.value, &epilogue, out),
        _ => unreachable!("one device has one form"),
    })
}

fn check_options(options: &LinearOptions, shape: &[usize], n: usize) -> Result<()> {
    if let Some(bias) = options.bias.filter(|b| b.shape() != [n]) {
        return Err(Error::shape("linear", format!("the bias must have {n} values"), [bias.shape()]));
    }
    if let Some(residual) = options.residual.filter(|r| r.shape() != shape) {
        return Err(Error::shape(
            "linear",
            "the residual must have the result's shape",
            [residual.shape(), shape],
        ));
    }
    Ok(())
}

/// `a bᵀ` of two activations.
///
/// # Shapes
/// `a [m, k]`, `b [n, k]` to `[m, n]`.
///
/// # Errors
/// [`Error::Shape`], [`Error::DeviceMismatch`], [`Error::DType`].
pub fn matmul_transposed(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if let Some(second) = second("matmul", a.device(), [a.shape(), b.shape()]) {
        let again = |on: &Second| matmul_transposed(&on.tensor(a)?, &on.tensor(b)?);
        return second.compare(matmul_transposed(a, b), again);
    }
    same_device("matmul", &[a, b])?;
    let shapes = [a.shape(), b.shape()];
    let ([m, k], [n, b_k]) = (a.dims()?, b.dims()?);
    if k != b_k || k == 0 {
        return Err(Error::shape("matmul", "the inner axes must be equal and not empty", shapes));
    }
    let _trace = trace::op("matmul", flops(m, n, k), shapes);
    on_gpu!(a.device(), |gpu| products::matmul_transposed(gpu, a, b));
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let (left, right) = (values(&a)?, values(&b)?);
    let epilogue = Epilogue::default();
    Tensor::build(a.device(), &[m, n], |backend, out| match backend {
        Backend::Reference => reference::run(k, left, right, &epilogue, out),
        Backend::Cpu(isa) => {
            cpu::run(isa, left, &Packed::new(isa, Precision::F32, n, k, right), &epilogue, out)
        }
    })
}
