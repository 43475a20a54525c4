//! Transposed convolution 2 x 2, stride 2.

use super::prepared::{Form, Prepared};
use super::{Activation, values};
use crate::gpu::on_gpu;
use crate::second::{Second, second};
use crate::{Backend, Device, Error, Result, Tensor, trace};
use sam3i_kernels::conv_transpose::cpu::PackedTaps;
use sam3i_kernels::conv_transpose::{Shape, cpu, reference};

/// A transposed convolution's weight, prepared for its device.
pub struct ConvTransposeWeight {
    channels: usize,
    out_channels: usize,
    weight: Prepared<PackedTaps>,
}

impl ConvTransposeWeight {
    /// Prepares a weight `[channels, out_channels, 2, 2]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of values is not that; on the shape-only device there may be none.
    pub fn new(device: &Device, channels: usize, out_channels: usize, w: Vec<f32>) -> Result<Self> {
        if w.len() != channels * out_channels * 4 && !(device.is_shapes_only() && w.is_empty()) {
            let problem = format!("{} values for this weight", w.len());
            return Err(Error::shape(
                "conv_transpose weight",
                problem,
                [&[channels, out_channels, 2, 2][..]],
            ));
        }
        #[cfg(feature = "gpu")]
        if let Some(gpu) = device.as_gpu() {
            let rows = sam3i_kernels::conv_transpose::gpu::as_matrix(channels, out_channels, &w);
            let weight = Prepared::on_gpu(device, gpu.weight(channels, &rows, false)?, w);
            return Ok(Self { channels, out_channels, weight });
        }
        let pack = |isa, precision, w: &[f32]| PackedTaps::new(isa, precision, channels, out_channels, w);
        Ok(Self {
            channels,
            out_channels,
            weight: Prepared::new(device, w, device.precision(), pack, PackedTaps::bytes),
        })
    }

    /// The same on the second device.
    fn on(&self, second: &Second) -> Result<Self> {
        let values = second.values(self.weight.source.as_deref())?;
        Self::new(second.device(), self.channels, self.out_channels, values)
    }
}

/// `activation(conv_transpose(x, w) + bias)`: every pixel becomes 2 x 2 of them.
///
/// # Shapes
/// `x [h, w, c]`, `bias [o]` to `[2h, 2w, o]`.
///
/// # Errors
/// [`Error::Shape`], [`Error::DeviceMismatch`], [`Error::DType`].
pub fn conv_transpose_2x2(
    x: &Tensor,
    w: &ConvTransposeWeight,
    bias: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    if let Some(second) =
        second("conv_transpose", x.device(), [x.shape(), &[w.channels, w.out_channels, 2, 2]])
    {
        return second.compare(conv_transpose_2x2(x, w, bias, activation), |on| {
            conv_transpose_2x2(&on.tensor(x)?, &w.on(on)?, &on.tensor(bias)?, activation)
        });
    }
    let [height, width, channels] = x.dims()?;
    let weight_shape = [w.channels, w.out_channels, 2, 2];
    if channels != w.channels || bias.shape() != [w.out_channels] {
        let shapes = [x.shape(), &weight_shape, bias.shape()];
        return Err(Error::shape("conv_transpose", "map, weight and bias do not fit", shapes));
    }
    w.weight.check_device("conv_transpose", &[x, bias])?;
    let shape = Shape { height, width, channels, out_channels: w.out_channels };
    let _trace = trace::op("conv_transpose", shape.flops(), [x.shape(), &weight_shape]);
    on_gpu!(x.device(), |gpu| crate::gpu::ops::products::conv_transpose(
        gpu,
        &shape,
        x,
        w.weight.gpu(),
        bias,
        activation
    ));
    let x = x.contiguous()?;
    let (input, bias) = (values(&x)?, values(bias)?);
    let out_shape = [2 * height, 2 * width, w.out_channels];
    Tensor::build(x.device(), &out_shape, |backend, out| match (&w.weight.form, backend) {
        (Form::Plain(w), _) => reference::run(&shape, input, &w.value, bias, activation, out),
        (Form::Packed(w), Backend::Cpu(isa)) => cpu::run(isa, &shape, input, &w.value, bias, activation, out),
        _ => unreachable!("one device has one form"),
    })
}
