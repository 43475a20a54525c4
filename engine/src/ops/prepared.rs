//! Weights in the form a device's kernels want them.

use crate::memory::Counted;
use crate::{Backend, Device, Isa, Result, Tensor};
use sam3i_kernels::isa::Precision;

/// A weight on a device: as it came, packed, or only its shape.
pub(super) struct Prepared<P> {
    pub device: Device,
    pub form: Form<P>,
    /// The values it was made from, if they were asked for (see `crate::second`).
    pub source: Option<Vec<f32>>,
}

pub(super) enum Form<P> {
    /// Row-major, as checkpoints store it: for the reference kernels.
    Plain(Counted<Vec<f32>>),
    /// In the layout of the fast CPU kernels, with the instruction set it is for.
    Packed(Counted<P>),
    /// In a GPU's memory.
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::Weight),
    /// Nothing: the device has shapes only.
    Shapes,
}

impl<P> Prepared<P> {
    /// Brings `values` into the form of `device`.
    pub fn new(
        device: &Device,
        values: Vec<f32>,
        precision: Precision,
        pack: impl FnOnce(Isa, Precision, &[f32]) -> P + Send,
        bytes: impl FnOnce(&P) -> usize,
    ) -> Self
    where
        P: Send,
    {
        let source = crate::trace::comparer().map(|_| values.clone());
        let form = match device.backend() {
            None => Form::Shapes,
            Some(Backend::Reference) => {
                let bytes = size_of_val(values.as_slice());
                Form::Plain(Counted::new(values, bytes, device.pool()))
            }
            Some(Backend::Cpu(isa)) => {
                let packed = device.run(|| pack(isa, precision, &values));
                let bytes = bytes(&packed);
                Form::Packed(Counted::new(packed, bytes, device.pool()))
            }
        };
        Self { device: device.clone(), form, source }
    }

    /// A weight on a GPU.
    #[cfg(feature = "gpu")]
    pub fn on_gpu(device: &Device, weight: crate::gpu::Weight, values: Vec<f32>) -> Self {
        let source = crate::trace::comparer().map(|_| values);
        Self { device: device.clone(), form: Form::Gpu(weight), source }
    }

    /// The weight on the GPU it lives on.
    #[cfg(feature = "gpu")]
    pub fn gpu(&self) -> &crate::gpu::Weight {
        match &self.form {
            Form::Gpu(weight) => weight,
            _ => unreachable!("one device has one form"),
        }
    }

    /// Fails unless `operands` live where this weight does.
    pub fn check_device(&self, op: &'static str, operands: &[&Tensor]) -> Result<()> {
        super::same_device(op, operands)?;
        let Some(first) = operands.first().filter(|t| t.device() != &self.device) else { return Ok(()) };
        let devices = format!("{}, weight on {}", first.device(), self.device);
        Err(crate::Error::DeviceMismatch { op, devices })
    }
}
