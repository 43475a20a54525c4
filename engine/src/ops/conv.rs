//! Convolution over a channels-last map.

use super::prepared::{Form, Prepared};
use super::{Activation, values};
use crate::gpu::on_gpu;
use crate::second::{Second, second};
use crate::{Backend, Device, Error, Result, Tensor, trace};
use sam3i_kernels::conv::{Shape, cpu, reference};
use sam3i_kernels::matmul::cpu::Packed;

/// A convolution's weight, prepared for its device.
pub struct ConvWeight {
    /// Sizes but for the map's.
    shape: Shape,
    weight: Prepared<Packed>,
}

impl ConvWeight {
    /// Prepares a weight `[out_channels, channels, kernel, kernel]`, applied with this step and border of zeros.
    ///
    /// # Errors
    /// [`Error::Shape`] if the sizes are zero, the kernel is not square or the number of values is not theirs; on the
    /// shape-only device there may be no values.
    pub fn new(
        device: &Device,
        shape: [usize; 4],
        stride: usize,
        padding: usize,
        w: Vec<f32>,
    ) -> Result<Self> {
        let [out_channels, channels, kernel, kernel_width] = shape;
        let values = w.len() == shape.iter().product::<usize>() || (device.is_shapes_only() && w.is_empty());
        if !values || kernel != kernel_width || stride == 0 || channels == 0 || kernel == 0 {
            let problem = format!("{} values, step {stride} do not make a square kernel", w.len());
            return Err(Error::shape("conv weight", problem, [&shape[..]]));
        }
        let shape = Shape { height: 0, width: 0, channels, out_channels, kernel, stride, padding };
        #[cfg(feature = "gpu")]
        if let Some(gpu) = device.as_gpu() {
            let rows = sam3i_kernels::conv::gpu::rows(&shape, &w);
            let weight = gpu.weight(shape.fan_in(), &rows, false)?;
            return Ok(Self { shape, weight: Prepared::on_gpu(device, weight, w) });
        }
        let weight = {
            let pack = |isa, precision, w: &[f32]| cpu::pack(isa, precision, &shape, w);
            Prepared::new(device, w, device.precision(), pack, Packed::bytes)
        };
        Ok(Self { shape, weight })
    }

    /// `[out_channels, channels, kernel, kernel]`.
    fn shape(&self) -> [usize; 4] {
        let Shape { out_channels, channels, kernel, .. } = self.shape;
        [out_channels, channels, kernel, kernel]
    }

    /// The same on the second device.
    fn on(&self, second: &Second) -> Result<Self> {
        let values = second.values(self.weight.source.as_deref())?;
        Self::new(second.device(), self.shape(), self.shape.stride, self.shape.padding, values)
    }
}

/// `activation(conv(x, w) + bias)`.
///
/// # Shapes
/// `x [h, w, c]`, `bias [o]` to `[(h + 2 padding - kernel) / stride + 1, .., o]`.
///
/// # Errors
/// [`Error::Shape`] (also where the kernel does not fit once), [`Error::DeviceMismatch`], [`Error::DType`].
pub fn conv(x: &Tensor, w: &ConvWeight, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    if let Some(second) = second("conv", x.device(), [x.shape(), &w.shape()]) {
        return second.compare(conv(x, w, bias, activation), |on| {
            conv(&on.tensor(x)?, &w.on(on)?, on.optional(bias)?.as_ref(), activation)
        });
    }
    let [height, width, channels] = x.dims()?;
    let shape = Shape { height, width, ..w.shape };
    let weight_shape = w.shape();
    let (out_height, out_width) = shape.out_size();
    if channels != shape.channels || out_height == 0 || out_width == 0 {
        return Err(Error::shape("conv", "map and kernel do not fit", [x.shape(), &weight_shape]));
    }
    if let Some(bias) = bias.filter(|b| b.shape() != [shape.out_channels]) {
        return Err(Error::shape("conv", "the bias has not one value an output channel", [bias.shape()]));
    }
    w.weight.check_device("conv", &[x].into_iter().chain(bias).collect::<Vec<_>>())?;
    let _trace = trace::op("conv", shape.flops(), [x.shape(), &weight_shape]);
    on_gpu!(x.device(), |gpu| crate::gpu::ops::products::conv(
        gpu,
        &shape,
        x,
        w.weight.gpu(),
        bias,
        activation
    ));
    let x = x.contiguous()?;
    let (input, bias) = (values(&x)?, bias.map(values).transpose()?);
    let out_shape = [out_height, out_width, shape.out_channels];
    Tensor::build(x.device(), &out_shape, |backend, out| match (&w.weight.form, backend) {
        (Form::Plain(w), _) => reference::run(&shape, input, &w.value, bias, activation, out),
        (Form::Packed(w), Backend::Cpu(isa)) => cpu::run(isa, &shape, input, &w.value, bias, activation, out),
        _ => unreachable!("one device has one form"),
    })
}
