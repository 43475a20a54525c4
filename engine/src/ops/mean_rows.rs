//! Mean of the rows that count.

use super::{dims, operand, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::mean_rows::{cpu, flops, reference};

/// The sum of the rows whose `keep` is true, divided by their number, at least 1 (so without any it is zero). Spec section
/// 11 (pooled).
///
/// # Shapes
/// `x_nc [n, c]`, `keep` n flags; out `[c]`.
///
/// # Errors
/// [`Error::Shape`] if `x_nc` has other axes or another number of rows than there are flags; [`Error::DType`] for half
/// storage.
pub fn mean_rows(x_nc: &Tensor, keep: &[bool]) -> Result<Tensor> {
    if let Some(second) = second("mean_rows", x_nc.device(), [x_nc.shape()]) {
        return second.compare(mean_rows(x_nc, keep), |on| mean_rows(&on.tensor(x_nc)?, keep));
    }
    let [n, c] = dims("mean_rows", "[n, c]", x_nc)?;
    if n != keep.len() {
        let problem = format!("{} flags for {n} rows", keep.len());
        return Err(Error::shape("mean_rows", problem, [x_nc.shape()]));
    }
    let _trace = trace::op("mean_rows", flops(n, c), [x_nc.shape()]);
    let x = operand("mean_rows", x_nc)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::rows::mean_rows(gpu, &x, keep));
    let input = values(&x)?;
    Tensor::build(x.device(), &[c], |backend, out| match backend {
        Backend::Reference => reference::run(input, keep, out),
        Backend::Cpu(isa) => cpu::run(isa, input, keep, out),
    })
}
