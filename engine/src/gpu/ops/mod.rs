//! The ops on a GPU: parameters, operands and launch of their kernels. Shapes have been checked by then.

pub(crate) mod attention;
pub(crate) mod copy;
pub(crate) mod elementwise;
pub(crate) mod maps;
pub(crate) mod matrices;
pub(crate) mod products;
pub(crate) mod rows;
mod trial;

use super::{Buffer, Call, Gpu};
use crate::{Device, Result, Tensor};
use sam3i_kernels::gpu::{Constant, Kernel};

/// A kernel whose threads each make one of `n` items, and a new tensor for its results.
struct Line<'a> {
    device: &'a Device,
    kernel: &'static Kernel,
    constants: &'a [Constant],
    params: &'a [u8],
    inputs: &'a [Option<&'a Buffer>],
    items: usize,
}

impl Line<'_> {
    /// Runs it; the result has this shape.
    fn run(&self, gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
        let output = gpu.buffer(shape.iter().product())?;
        gpu.dispatch(&Call {
            kernel: self.kernel,
            constants: self.constants,
            params: self.params,
            inputs: self.inputs,
            output: &output,
            groups: if self.items == 0 { [0; 3] } else { gpu.line(self.items, self.kernel.threads) },
            work: 16 * self.items as u64,
        })?;
        Ok(Tensor::from_gpu(self.device, shape, output))
    }
}
