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
pub use sam3i_kernels::matmul::int8::QuantisedWeight;
use sam3i_kernels::matmul::{Epilogue, cpu, flops, int8, reference};
use std::ops::Range;

/// The weight of a linear layer, prepared for its device.
pub struct Matrix {
    n: usize,
    k: usize,
    weight: Prepared<Layout>,
}

/// The values of a weight on their way to a device.
#[derive(Clone, Debug, PartialEq)]
pub enum MatrixValues {
    /// Row-major; on the shape-only device they may be none.
    F32(Vec<f32>),
    /// Rounded to 8 bits.
    Int8(QuantisedWeight),
}

impl MatrixValues {
    /// Rounds a weight `[n, k]` where the device computes in `int8` and 8 bits hold it well.
    #[must_use]
    pub fn rounded_for(self, device: &Device, n: usize, k: usize) -> Self {
        match self {
            Self::F32(values) if device.is_int8() && k > 0 && values.len() == n * k => {
                let rounded = device.run(|| QuantisedWeight::new_if_close(n, k, &values));
                rounded.map_or(Self::F32(values), Self::Int8)
            }
            other => other,
        }
    }

    /// Rows of a weight with `k` input channels; none of no values.
    ///
    /// # Panics
    /// If the rows are not there.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>, k: usize) -> Self {
        match self {
            Self::F32(values) if values.is_empty() => Self::F32(Vec::new()),
            Self::F32(values) => Self::F32(values[rows.start * k..rows.end * k].to_vec()),
            Self::Int8(w) => Self::Int8(QuantisedWeight {
                n: rows.len(),
                k,
                values: w.values[rows.start * k..rows.end * k].to_vec(),
                scales: w.scales[rows].to_vec(),
            }),
        }
    }

    /// The values, or those that the rounded ones stand for.
    #[must_use]
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::Int8(w) => w.to_f32(),
        }
    }
}

/// A weight in the layout of the fast kernels.
enum Layout {
    Float(Packed),
    Int8(int8::Packed),
}

impl Layout {
    fn bytes(&self) -> usize {
        match self {
            Self::Float(packed) => packed.bytes(),
            Self::Int8(packed) => packed.bytes(),
        }
    }
}

impl Matrix {
    /// Prepares a row-major `[n, k]` weight (`n` output channels, `k` input channels) in the device's type.
    ///
    /// On an `int8` device a weight that 8 bits do not hold well stays in the type of the device's other products.
    ///
    /// # Errors
    /// [`Error::Shape`] if `k` is 0 or `values` are not `n * k` numbers; on the shape-only device they may be none.
    pub fn new(device: &Device, n: usize, k: usize, values: Vec<f32>) -> Result<Self> {
        Self::from_values(device, n, k, MatrixValues::F32(values).rounded_for(device, n, k))
    }

    /// Prepares a weight whose products stay `f32` whatever the device's type: for small layers where rounding shows.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn new_f32(device: &Device, n: usize, k: usize, values: Vec<f32>) -> Result<Self> {
        Self::with_precision(device, Precision::F32, true, n, k, values)
    }

    /// Prepares a weight as it is: 8 bits for int8 products where the device computes them, else the values they stand
    /// for, in the type of the device's other products.
    ///
    /// # Errors
    /// As [`Matrix::new`]; [`Error::Shape`] also if rounded values are too many a row for sums in 32 bits.
    pub fn from_values(device: &Device, n: usize, k: usize, values: MatrixValues) -> Result<Self> {
        match values {
            MatrixValues::F32(values) => {
                Self::with_precision(device, device.precision(), false, n, k, values)
            }
            MatrixValues::Int8(w) if (w.n, w.k) == (n, k) => Self::from_quantised(device, &w),
            MatrixValues::Int8(w) => {
                Err(Error::shape("matrix", "rounded values of another shape", [&[n, k][..], &[w.n, w.k]]))
            }
        }
    }

    fn from_quantised(device: &Device, w: &QuantisedWeight) -> Result<Self> {
        let (n, k) = (w.n, w.k);
        if k == 0 || k > int8::LONGEST || w.values.len() != n * k || w.scales.len() != n {
            let problem = format!("{} values, {} scales for this weight", w.values.len(), w.scales.len());
            return Err(Error::shape("matrix", problem, [&[n, k][..]]));
        }
        let Some(Backend::Cpu(isa)) = device.backend().filter(|_| device.is_int8()) else {
            return Self::with_precision(device, device.precision(), false, n, k, w.to_f32());
        };
        let packed = Layout::Int8(device.run(|| int8::Packed::new(isa, w)));
        let bytes = packed.bytes();
        Ok(Self { n, k, weight: Prepared::of_packed(device, packed, bytes, || w.to_f32()) })
    }

    /// Whether its products are computed in int8.
    #[must_use]
    pub fn is_int8(&self) -> bool {
        matches!(&self.weight.form, Form::Packed(w) if matches!(w.value, Layout::Int8(_)))
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
        let pack = |isa, precision, w: &[f32]| Layout::Float(Packed::new(isa, precision, n, k, w));
        let weight = Prepared::new(device, values, precision, pack, Layout::bytes);
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
    let name = if w.is_int8() { "linear_int8" } else { "linear" };
    let _trace = trace::op(name, flops(rows, w.n, w.k), [x.shape(), &weight_shape]);

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
        (Form::Packed(w), Backend::Cpu(isa)) => match &w.value {
            Layout::Float(w) => cpu::run(isa, input, w, &epilogue, out),
            Layout::Int8(w) => int8::run(isa, input, w, &epilogue, out),
        },
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
