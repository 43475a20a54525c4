//! Comparing what two devices computed.

use sam3i_engine::{Error, Result, Tensor};
use std::fmt;

/// How far a result may be from the reference: `|x - y| <= absolute + relative * |y|`, element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// For values near zero.
    pub absolute: f32,
    /// For all others.
    pub relative: f32,
}

/// The same bits (or the same number: 0 equals -0).
pub const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

/// How far two results are apart. NaN equals NaN, an infinity only itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// The largest `|x - y|`; infinite where one of them is no number.
    pub largest: f32,
    /// The largest part of its tolerance that an element takes up: 1 just fits, infinite is a difference where there may
    /// be none.
    pub share: f32,
    /// The first element that leaves the tolerance.
    pub first: Option<Offender>,
}

/// An element that leaves the tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offender {
    /// Its number, row-major.
    pub index: usize,
    /// What it is.
    pub actual: f32,
    /// What it has to be.
    pub expected: f32,
}

impl Difference {
    /// The difference of values; `allowed(i, expected)` is how far element `i` may be off.
    #[must_use]
    pub fn of(actual: &[f32], expected: &[f32], allowed: impl Fn(usize, f32) -> f32) -> Self {
        let mut difference = Self::default();
        for (index, (&x, &y)) in actual.iter().zip(expected).enumerate() {
            if x == y || (x.is_nan() && y.is_nan()) {
                continue;
            }
            let off = if (x - y).is_finite() { (x - y).abs() } else { f32::INFINITY };
            let allowed = allowed(index, y);
            let share = if off.is_finite() { off / allowed } else { f32::INFINITY };
            difference.largest = difference.largest.max(off);
            difference.share = difference.share.max(share);
            if share > 1.0 && difference.first.is_none() {
                difference.first = Some(Offender { index, actual: x, expected: y });
            }
        }
        difference
    }

    /// The difference of two tensors.
    ///
    /// # Errors
    /// [`Error::Shape`] if their shapes differ; those of reading them.
    pub fn of_tensors(actual: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<Self> {
        if actual.shape() != expected.shape() {
            let shapes = format!("{:?} for {:?}", actual.shape(), expected.shape());
            return Err(Error::Shape { op: "compare", problem: "the shapes differ".to_owned(), shapes });
        }
        let Tolerance { absolute, relative } = tolerance;
        Ok(Self::of(&actual.to_vec()?, &expected.to_vec()?, |_, y| absolute + relative * y.abs()))
    }
}

/// Panics with the first element that leaves the tolerance.
pub fn assert_close(what: impl fmt::Display, actual: &Tensor, expected: &Tensor, tolerance: Tolerance) {
    let difference = Difference::of_tensors(actual, expected, tolerance);
    let difference = difference.unwrap_or_else(|error| panic!("{what}: {error}"));
    if let Some(Offender { index, actual: x, expected: y }) = difference.first {
        panic!("{what}: element {index} of {:?} is {x:e}, not {y:e}", actual.shape());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_measured_against_their_tolerance() {
        struct Case(f32, f32, f32, f32, bool);
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let cases = [
            Case(1.0, 1.0, 0.0, 0.0, false),
            Case(0.0, -0.0, 0.0, 0.0, false),
            Case(nan, nan, 0.0, 0.0, false),
            Case(inf, inf, 0.0, 0.0, false),
            Case(1.5, 1.0, 1.0, 0.5, false),
            Case(3.0, 1.0, 1.0, 2.0, true),
            Case(1.5, 1.0, 0.0, inf, true),
            Case(nan, 1.0, 1.0, inf, true),
            Case(1.0, nan, 1.0, inf, true),
            Case(inf, -inf, 1.0, inf, true),
            Case(1.0, inf, inf, inf, true),
        ];
        for Case(x, y, allowed, share, leaves) in cases {
            let difference = Difference::of(&[0.0, x], &[0.0, y], |_, _| allowed);
            assert_eq!(difference.share, share, "{x} for {y}");
            assert_eq!(difference.first.map(|o| o.index), leaves.then_some(1), "{x} for {y}");
        }
    }
}
