//! Layer norm over the last axis: `out[r, i] = (x[r, i] - m_r) / sqrt(v_r + eps) * gamma[i] + beta[i]`, `m_r` and
//! `v_r` the mean and the biased variance of row r.
//!
//! Shapes: `x` and `out` `[rows, c]`, `gamma` and `beta` `[c]`. Reads `x`, writes `out`: 8 bytes and about 8 flops an
//! element. Spec section 1 (LN).
//!
//! The mean is taken in two steps and the variance from the differences to it, so a mean that is large against the
//! spread costs no digits. Squares are f32: rows spread wider than 1e18 overflow. An infinity or a NaN makes its
//! whole row NaN.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// Flops of one call, by the usual count of 8 an element.
#[must_use]
pub fn flops(rows: usize, c: usize) -> u64 {
    8 * (rows * c) as u64
}
