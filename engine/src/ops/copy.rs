//! Strided views to contiguous tensors.

use crate::{Result, Tensor, trace};

/// A contiguous copy of a strided view.
///
/// # Errors
/// [`crate::Error::DType`] for half storage.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    let _trace = trace::op("copy", 0, [x.shape()]);
    let input = if x.device().is_shapes_only() { &[] } else { x.host_strided()? };
    Tensor::build(x.device(), x.shape(), |_, out| {
        let mut out = out.iter_mut();
        visit(x.shape(), x.strides(), 0, &mut |at| {
            if let Some(o) = out.next() {
                *o = input[at];
            }
        });
    })
}

fn visit(shape: &[usize], strides: &[usize], at: usize, f: &mut impl FnMut(usize)) {
    match (shape, strides) {
        ([n, shape @ ..], [stride, strides @ ..]) => {
            (0..*n).for_each(|i| visit(shape, strides, at + i * stride, f))
        }
        _ => f(at),
    }
}
