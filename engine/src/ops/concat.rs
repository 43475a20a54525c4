//! Tensors one after the other along an axis.

use super::{check_f32, operand, same_device, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::concat::{Part, cpu, reference};

/// The operands one after the other along `axis`.
///
/// # Shapes
/// All alike but for the extent of `axis`, of which the result has the sum.
///
/// # Errors
/// [`Error::Shape`] if there is no operand, they do not have that axis or differ in another; [`Error::DType`] for half
/// storage; [`Error::DeviceMismatch`].
pub fn concat(operands: &[&Tensor], axis: usize) -> Result<Tensor> {
    if let Some(first) = operands.first()
        && let Some(second) = second("concat", first.device(), operands.iter().map(|t| t.shape()))
    {
        return second.compare(concat(operands, axis), |on| {
            let operands = operands.iter().map(|t| on.tensor(t)).collect::<Result<Vec<_>>>()?;
            concat(&operands.iter().collect::<Vec<_>>(), axis)
        });
    }
    same_device("concat", operands)?;
    let shape = joined_shape(operands, axis)
        .map_err(|problem| Error::shape("concat", problem, operands.iter().map(|t| t.shape())))?;
    let _trace = trace::op("concat", 0, operands.iter().map(|t| t.shape()));
    for t in operands {
        check_f32("concat", t)?;
    }
    on_gpu!(operands[0].device(), |gpu| crate::gpu::ops::copy::concat(gpu, operands, axis, &shape));
    let tensors = operands.iter().map(|t| operand("concat", t)).collect::<Result<Vec<_>>>()?;
    let part = |t| Ok(Part { values: values(t)?, len: t.shape()[axis..].iter().product() });
    let parts = tensors.iter().map(part).collect::<Result<Vec<_>>>()?;
    let rows = shape[..axis].iter().product();
    Tensor::build(operands[0].device(), &shape, |backend, out| match backend {
        Backend::Reference => reference::run(rows, &parts, out),
        Backend::Cpu(_) => cpu::run(rows, &parts, out),
    })
}

/// The shape of the result, or what is wrong.
fn joined_shape(operands: &[&Tensor], axis: usize) -> Result<Vec<usize>, String> {
    let Some((first, rest)) = operands.split_first() else { return Err("there is no operand".into()) };
    let mut shape = first.shape().to_vec();
    if axis >= shape.len() {
        return Err(format!("the operands have no axis {axis}"));
    }
    for other in rest {
        let mut same_but_axis = other.shape().to_vec();
        if same_but_axis.len() == shape.len() {
            same_but_axis[axis] = shape[axis];
        }
        if same_but_axis != shape {
            return Err(format!("the operands differ in more than axis {axis}"));
        }
        shape[axis] += other.shape()[axis];
    }
    Ok(shape)
}
