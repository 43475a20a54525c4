//! Max pool 2 x 2, stride 2: `out[y, x, i] = max of x[2y + {0, 1}, 2x + {0, 1}, i]`.
//!
//! Shapes: `x [h, w, c]`, `out [h / 2, w / 2, c]` (rounded down: an odd last row or column is dropped). Reads `x`,
//! writes a quarter of it: 5 bytes and 0.75 flops an element of `x`. A NaN wins. Spec section 7 (level 3).

pub mod cpu;
pub mod gpu;
pub mod reference;

/// Flops of one call: three comparisons a result.
#[must_use]
pub fn flops(results: usize) -> u64 {
    3 * results as u64
}

/// The larger of two values; NaN if one is.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}
