//! The ways an operand may lie in memory.

use super::sequence;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor};
use std::cell::Cell;

/// How the same values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Row-major, without gaps.
    Whole,
    /// The axes in reverse order.
    Reversed,
    /// Rows of the last axis with something (NaN) before and after them.
    Gapped,
}

/// Any form.
pub fn any_form() -> impl Strategy<Value = Form> {
    prop::sample::select(vec![Form::Whole, Form::Whole, Form::Reversed, Form::Gapped])
}

impl Form {
    /// A tensor of these values (given row-major) that is stored in this form.
    ///
    /// # Errors
    /// Those of the tensor's making.
    pub fn place(self, device: &Device, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        match self {
            Self::Whole => Tensor::from_vec(device, shape, values.to_vec()),
            Self::Reversed => {
                let backwards: Vec<_> = (0..shape.len()).rev().collect();
                let stored: Vec<_> = shape.iter().rev().copied().collect();
                Tensor::from_vec(device, &stored, reversed(shape, values))?.permute(&backwards)
            }
            Self::Gapped => gapped(device, shape, values),
        }
    }
}

/// The values in the order of the reversed axes.
fn reversed(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let mut out = values.to_vec();
    for (i, &v) in values.iter().enumerate() {
        let (mut rest, mut at, mut stride) = (i, 0, values.len());
        for &n in shape.iter().rev() {
            stride /= n;
            at += rest % n * stride;
            rest /= n;
        }
        out[at] = v;
    }
    out
}

fn gapped(device: &Device, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    let Some((&n, outer)) = shape.split_last() else { return Form::Whole.place(device, shape, values) };
    let rows = outer.iter().product();
    let row = |r: usize| [&[f32::NAN][..], &values[r * n..][..n], &[f32::NAN; 2]].concat();
    let stored = [outer, &[n + 3]].concat();
    Tensor::from_vec(device, &stored, (0..rows).flat_map(row).collect())?.narrow(outer.len(), 1, n)
}

thread_local! {
    static TAME: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with every special value that is not an ordinary number or zero left out of [`seeded`]: WGSL promises nothing
/// for infinities, NaN and denormals, nor which products and sums are rounded apart.
pub fn tamely<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            TAME.set(self.0);
        }
    }
    let _restore = Restore(TAME.replace(true));
    f()
}

/// `len` values made from a seed, in [-4, 4), of which every 50th or so is replaced by one of `special`.
#[must_use]
pub fn seeded(len: usize, seed: u32, special: &[f32]) -> Vec<f32> {
    let is_ordinary = |v: &f32| *v == 0.0 || (1e-10..1e10).contains(&v.abs());
    let special: Vec<f32> = special.iter().copied().filter(|v| !TAME.get() || is_ordinary(v)).collect();
    let mut values: Vec<_> = sequence(len, seed).into_iter().map(|v| 4.0 * v).collect();
    for (value, chance) in values.iter_mut().zip(sequence(len, seed ^ 0x5eed)) {
        if chance > 0.96 && !special.is_empty() {
            *value = special[((chance - 0.96) * 25.0 * special.len() as f32) as usize % special.len()];
        }
    }
    values
}

/// Zeros, denormals, huge numbers, infinities and NaN.
pub const EXTREMES: [f32; 9] =
    [0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
