//! Functions of one element, and of two with broadcasting.
//!
//! They take their first operand by value and write the result over it if nobody else holds its values (and it has the
//! shape of the result), else into a new tensor. To keep an operand, pass a clone: that costs no copy by itself.

use super::{check_f32, overwrite, same_device};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::elementwise::{Binary, Unary, cpu, flops, reference};

/// `a + b`, numpy's broadcasting.
///
/// # Shapes
/// Any two whose axes, counted from the last, are equal or 1 or missing; out has the larger extents.
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; [`Error::DType`] for half storage; [`Error::DeviceMismatch`].
pub fn add(a: Tensor, b: &Tensor) -> Result<Tensor> {
    binary("add", Binary::Add, a, b)
}

/// `a - b`, numpy's broadcasting.
///
/// # Shapes
/// As [`add`].
///
/// # Errors
/// As [`add`].
pub fn sub(a: Tensor, b: &Tensor) -> Result<Tensor> {
    binary("sub", Binary::Sub, a, b)
}

/// `a b`, element by element, numpy's broadcasting.
///
/// # Shapes
/// As [`add`].
///
/// # Errors
/// As [`add`].
pub fn mul(a: Tensor, b: &Tensor) -> Result<Tensor> {
    binary("mul", Binary::Mul, a, b)
}

/// `max(x, 0)`. Any shape.
///
/// # Errors
/// [`Error::DType`] for half storage.
pub fn relu(x: Tensor) -> Result<Tensor> {
    unary("relu", Unary::Relu, x)
}

/// The exact GELU, `x / 2 (1 + erf(x / sqrt 2))`. Any shape. Spec section 1.
///
/// # Errors
/// [`Error::DType`] for half storage.
pub fn gelu(x: Tensor) -> Result<Tensor> {
    unary("gelu", Unary::Gelu, x)
}

/// `1 / (1 + exp(-x))`. Any shape.
///
/// # Errors
/// [`Error::DType`] for half storage.
pub fn sigmoid(x: Tensor) -> Result<Tensor> {
    unary("sigmoid", Unary::Sigmoid, x)
}

/// `x s + t`. Any shape.
///
/// # Errors
/// [`Error::DType`] for half storage.
pub fn scale_add(x: Tensor, s: f32, t: f32) -> Result<Tensor> {
    unary("scale_add", Unary::ScaleAdd(s, t), x)
}

/// `min(max(x, low), high)`. Any shape; NaN stays NaN.
///
/// # Errors
/// [`Error::Value`] unless `low <= high`; [`Error::DType`] for half storage.
pub fn clamp(x: Tensor, low: f32, high: f32) -> Result<Tensor> {
    if low <= high {
        return unary("clamp", Unary::Clamp(low, high), x);
    }
    Err(Error::Value {
        op: "clamp",
        problem: format!("the lower bound {low} is not below the upper, {high}"),
    })
}

/// `sign(x) log2(1 + 8 |x|) / log2(8)`: phi, the box coordinates of the relative position bias. Any shape. Spec section 10.
///
/// # Errors
/// [`Error::DType`] for half storage.
pub fn signed_log2(x: Tensor) -> Result<Tensor> {
    unary("signed_log2", Unary::SignedLog2, x)
}

/// `ln(max(y, eps) / max(1 - y, eps))` of `y = x` clamped to [0, 1]: with `eps = 1e-3` the logit3 of spec section 10. Any
/// shape.
///
/// # Errors
/// [`Error::DType`] for half storage.
pub fn inverse_sigmoid(x: Tensor, eps: f32) -> Result<Tensor> {
    unary("inverse_sigmoid", Unary::InverseSigmoid(eps), x)
}

fn unary(name: &'static str, op: Unary, x: Tensor) -> Result<Tensor> {
    if let Some(second) = second(name, x.device(), [x.shape()]) {
        let copy = second.tensor(&x)?;
        return second.compare(unary(name, op, x), |_| unary(name, op, copy));
    }
    let _trace = trace::op(name, flops(x.len()), [x.shape()]);
    check_f32(name, &x)?;
    on_gpu!(x.device(), |gpu| crate::gpu::ops::elementwise::unary(gpu, op, &x));
    overwrite(name, x, |backend, x, out| match backend {
        Backend::Reference => reference::unary(op, x, out),
        Backend::Cpu(isa) => cpu::unary(isa, op, x, out),
    })
}

fn binary(name: &'static str, op: Binary, a: Tensor, b: &Tensor) -> Result<Tensor> {
    if let Some(second) = second(name, a.device(), [a.shape(), b.shape()]) {
        let copy = second.tensor(&a)?;
        return second.compare(binary(name, op, a, b), |on| binary(name, op, copy, &on.tensor(b)?));
    }
    same_device(name, &[&a, b])?;
    check_f32(name, &a)?;
    check_f32(name, b)?;
    let shape = broadcast(a.shape(), b.shape())
        .ok_or_else(|| Error::shape(name, "cannot be broadcast together", [a.shape(), b.shape()]))?;
    let _trace = trace::op(name, flops(shape.iter().product()), [a.shape(), b.shape()]);
    let b = b.expand(&shape)?;
    on_gpu!(b.device(), |gpu| {
        crate::gpu::ops::elementwise::binary(gpu, name, op, &a.expand(&shape)?, &b)
    });
    let partners = if b.device().is_shapes_only() { &[] } else { b.host_strided()? };
    let a = if a.shape() == shape { a } else { a.expand(&shape)? };
    overwrite(name, a, |backend, a, out| match backend {
        Backend::Reference => reference::binary(op, &shape, a, partners, b.strides(), out),
        Backend::Cpu(isa) => cpu::binary(isa, op, &shape, a, partners, b.strides(), out),
    })
}

/// The shape both can be repeated to, if there is one.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let axes = a.len().max(b.len());
    let extent =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(axes).map_or(1, |axis| shape[axis]);
    let fit = |axis| match (extent(a, axis), extent(b, axis)) {
        (n, m) if n == m || m == 1 => Some(n),
        (1, m) => Some(m),
        _ => None,
    };
    (0..axes).map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuOptions, Device};

    #[test]
    fn a_tensor_held_once_is_overwritten_and_a_shared_one_is_not() {
        let device = Device::cpu(&CpuOptions::default().threads(1)).expect("starts");
        let x = Tensor::from_vec(&device, &[2], vec![-1.0, 2.0]).expect("lengths agree");
        let kept = x.clone();
        assert_eq!(relu(x).expect("runs").to_vec().expect("host"), [0.0, 2.0]);
        assert_eq!(kept.to_vec().expect("host"), [-1.0, 2.0]);
        let address = kept.host().expect("host").as_ptr();
        let sum = add(relu(kept).expect("runs"), &Tensor::zeros(&device, &[]).expect("zeros")).expect("runs");
        assert_eq!(sum.host().expect("host").as_ptr(), address);
        assert_eq!(device.memory().live, 8);
    }

    #[test]
    fn shapes_broadcast_from_the_last_axis() {
        assert_eq!(broadcast(&[2, 1, 3], &[4, 1]), Some(vec![2, 4, 3]));
        assert_eq!(broadcast(&[], &[0]), Some(vec![0]));
        assert_eq!(broadcast(&[2], &[3]), None);
    }
}
