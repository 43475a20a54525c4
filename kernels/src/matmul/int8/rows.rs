//! Rows of activations rounded to 8 bits.

use crate::isa::{Isa, multiversion};

/// The span of a row, in units of its mean magnitude, from which it gets a second part.
///
/// Measured in docs/performance.md; the span of normally distributed values is 8 to 10 such units.
pub const WIDE: f32 = 32.0;

/// How a row is rounded: `a ≈ scale (q - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// One step; NaN where the row cannot be rounded, 0 where it is zero throughout.
    pub scale: f32,
    /// What stands for 0.
    pub zero: i32,
    /// Steps a unit; 0 where all values become `zero`.
    inverse: f32,
    /// Whether the row needs a second part.
    wide: bool,
}

/// Steps of the second part in one of the first.
const FINER: f32 = 256.0;

impl Row {
    /// Looks at a row. `isa` changes the time it takes and nothing else.
    #[must_use]
    pub fn measure(isa: Isa, a: &[f32]) -> Self {
        let mut extent = Extent::default();
        measure(isa, a, &mut extent);
        let Extent { least, most, magnitude } = extent;
        let span = most - least;
        let (scale, inverse) = (span / 255.0, 255.0 / span);
        if !magnitude.is_finite() || !span.is_finite() {
            return Self { scale: f32::NAN, zero: 0, inverse: 0.0, wide: false };
        }
        if span < 1e-30 {
            return Self { scale: 0.0, zero: 0, inverse: 0.0, wide: false };
        }
        let wide = span * a.len() as f32 > WIDE * magnitude;
        Self { scale, zero: (-least * inverse).round_ties_even() as i32, inverse, wide }
    }

    /// Whether one value dwarfs the rest, so that the row needs a second part.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.wide
    }

    /// The second part's scale and zero point.
    #[must_use]
    pub fn second(&self) -> Self {
        let (scale, inverse) = (self.scale / FINER, self.inverse * FINER);
        Self { scale, zero: 128, inverse, wide: false }
    }

    /// Rounds the row to `out`, as long.
    pub fn quantise(&self, isa: Isa, a: &[f32], out: &mut [u8]) {
        quantise(isa, a, self.inverse, self.zero as f32, out);
    }

    /// Rounds what the first part, `first`, leaves of the row.
    pub fn quantise_rest(&self, isa: Isa, a: &[f32], first: &[u8], out: &mut [u8]) {
        quantise_rest(isa, a, first, self, out);
    }
}

/// Smallest value (0 at most), largest (0 at least), sum of magnitudes.
#[derive(Default)]
struct Extent {
    least: f32,
    most: f32,
    magnitude: f32,
}

multiversion!(
    fn measure = measure_body(a: &[f32], extent: &mut Extent)
);

/// In lanes of a fixed number, so that the sum is the same whatever the width of the vectors.
#[inline(always)]
fn measure_body(a: &[f32], extent: &mut Extent) {
    let (mut least, mut most, mut magnitude) = ([0f32; 32], [0f32; 32], [0f32; 32]);
    let (blocks, rest) = a.as_chunks::<32>();
    for block in blocks {
        for (i, &value) in block.iter().enumerate() {
            least[i] = if value < least[i] { value } else { least[i] };
            most[i] = if value > most[i] { value } else { most[i] };
            magnitude[i] += value.abs();
        }
    }
    for (i, &value) in rest.iter().enumerate() {
        least[i] = if value < least[i] { value } else { least[i] };
        most[i] = if value > most[i] { value } else { most[i] };
        magnitude[i] += value.abs();
    }
    extent.least = least.into_iter().fold(0.0, f32::min);
    extent.most = most.into_iter().fold(0.0, f32::max);
    extent.magnitude = magnitude.into_iter().sum();
}

/// Adding it leaves the nearest whole number (ties to even) in the low bits of a value below 2^22.
const ROUND: f32 = 12_582_912.0;

/// The nearest whole number of a value, kept in 0..=255.
#[inline(always)]
fn step(value: f32) -> u8 {
    let value = if value < 255.0 { value } else { 255.0 };
    let value = if value > 0.0 { value } else { 0.0 };
    (value + ROUND).to_bits() as u8
}

multiversion!(
    fn quantise = quantise_body(a: &[f32], inverse: f32, zero: f32, out: &mut [u8])
);

#[inline(always)]
fn quantise_body(a: &[f32], inverse: f32, zero: f32, out: &mut [u8]) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = step(a * inverse + zero);
    }
}

multiversion!(
    fn quantise_rest = quantise_rest_body(a: &[f32], first: &[u8], row: &Row, out: &mut [u8])
);

#[inline(always)]
fn quantise_rest_body(a: &[f32], first: &[u8], row: &Row, out: &mut [u8]) {
    let (scale, zero, inverse) = (row.scale, row.zero as f32, row.inverse * FINER);
    for ((out, &a), &first) in out.iter_mut().zip(a).zip(first) {
        let rest = a - scale * (f32::from(first) - zero);
        *out = step(rest * inverse + 128.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row as its parts stand for it.
    fn restored(isa: Isa, a: &[f32]) -> Vec<f32> {
        let row = Row::measure(isa, a);
        let mut first = vec![0; a.len()];
        row.quantise(isa, a, &mut first);
        let value = |row: &Row, q: u8| row.scale * (i32::from(q) - row.zero) as f32;
        if !row.is_wide() {
            return first.iter().map(|&q| value(&row, q)).collect();
        }
        let mut second = vec![0; a.len()];
        row.quantise_rest(isa, a, &first, &mut second);
        first.iter().zip(&second).map(|(&x, &y)| value(&row, x) + value(&row.second(), y)).collect()
    }

    #[test]
    fn values_come_back_to_half_a_step() {
        for isa in Isa::available() {
            let even: Vec<f32> = (0..77).map(|i| (i * 31 % 77) as f32 * 0.3 - 4.0).collect();
            let step = 76.0 * 0.3 / 255.0;
            let close =
                |a: &[f32], most: f32| a.iter().zip(restored(isa, a)).all(|(x, y)| (x - y).abs() <= most);
            assert!(close(&even, step * 0.501), "{isa}");
            assert!(!Row::measure(isa, &even).is_wide());
            let mut outlier = even.clone();
            outlier[40] = -9000.0;
            assert!(Row::measure(isa, &outlier).is_wide());
            assert!(close(&outlier, 9023.0 / 255.0 / 256.0 * 0.51), "{isa}");
            assert_eq!(restored(isa, &[0.0, 0.0, 1e-40]), [0.0; 3]);
            assert_eq!(restored(isa, &[5.0; 9]), [5.0; 9], "zero is part of the span");
        }
    }

    #[test]
    fn a_row_that_is_not_finite_has_no_scale() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 31, 32, 69] {
                let mut a = vec![0.5; 70];
                a[at] = bad;
                assert!(Row::measure(Isa::detect(), &a).scale.is_nan(), "{bad} at {at}");
            }
        }
        assert!(Row::measure(Isa::detect(), &[3e38, -3e38]).scale.is_nan());
    }
}
