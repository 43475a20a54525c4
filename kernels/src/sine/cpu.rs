//! The fast codes: numbers in parallel; of a map, the codes of its rows and columns once each.

use super::{TAU, code, divisors, position_angle};
use crate::parallel::for_rows;

/// A sine costs about as much as this many copied elements.
const SINE_WORK: usize = 32;

/// The codes of numbers. See the [module](super) for the contract.
pub fn of_values(channels: usize, values: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), values.len() * channels);
    let divisors = divisors(channels);
    for_rows(out, channels, SINE_WORK * channels, |first, rows| {
        for (row, &v) in rows.chunks_exact_mut(channels).zip(&values[first..]) {
            code(f64::from(v) * TAU, &divisors, row);
        }
    });
}

/// The codes of the positions of a map of `h x w` pixels. See the [module](super) for the contract.
pub fn of_positions(h: usize, w: usize, channels: usize, out: &mut [f32]) {
    assert_eq!(out.len(), h * w * channels);
    let half = channels / 2;
    let (from_y, from_x) = (axis(h, half), axis(w, half));
    for_rows(out, channels, 2 * channels, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(channels).enumerate() {
            let (y, x) = ((first + i) / w, (first + i) % w);
            row[..half].copy_from_slice(&from_y[y * half..][..half]);
            row[half..].copy_from_slice(&from_x[x * half..][..half]);
        }
    });
}

/// The codes of all positions of an axis.
fn axis(n: usize, channels: usize) -> Vec<f32> {
    let divisors = divisors(channels);
    let mut codes = vec![0.0; n * channels];
    for_rows(&mut codes, channels, SINE_WORK * channels, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(channels).enumerate() {
            code(position_angle(first + i, n), &divisors, row);
        }
    });
    codes
}
