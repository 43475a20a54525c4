//! Sine codes: of numbers, and of the positions of a map.
//!
//! Of an angle a in C channels: `code(a)[k] = sin(a / d_k)` for even k, `cos(a / d_k)` for odd k, `d_k = 10000^(2 floor(k
//! / 2) / C)`, C even.
//!
//! * Of a number v: `S(v) = code(2 pi v)`. Shapes `[n]` to `[n, channels]`. Spec section 8.
//! * Of the pixel (y, x) of a map: `code(2 pi (y + 1) / (h + 1e-6))` in the first half of the channels, `code(2 pi (x + 1) /
//!   (w + 1e-6))` in the second. Shape `[h * w, channels]`, `channels` a multiple of 4. Spec section 7.
//!
//! Angles, sines and cosines are f64, rounded once at the end; every device gives the same bits.

use std::f64::consts::TAU;

pub mod cpu;
pub mod gpu;
pub mod reference;

/// Flops of one code of numbers: a division and a sine a result, counted as one each.
#[must_use]
pub fn flops(results: usize) -> u64 {
    2 * results as u64
}

/// `d_k` for `k = 0, 2, 4, ..` of a code in so many channels.
fn divisors(channels: usize) -> Vec<f64> {
    (0..channels / 2).map(|pair| 10_000f64.powf(2.0 * pair as f64 / channels as f64)).collect()
}

/// The angle of position `i` of `n`.
fn position_angle(i: usize, n: usize) -> f64 {
    (i + 1) as f64 / (n as f64 + 1e-6) * TAU
}

/// Writes the code of an angle.
fn code(angle: f64, divisors: &[f64], out: &mut [f32]) {
    for (pair, divisor) in out.chunks_exact_mut(2).zip(divisors) {
        let (sin, cos) = (angle / divisor).sin_cos();
        pair.copy_from_slice(&[sin as f32, cos as f32]);
    }
}
