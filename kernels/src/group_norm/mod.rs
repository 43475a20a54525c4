//! Group norm of a map: `out[p, i] = (x[p, i] - m_g) / sqrt(v_g + eps) * gamma[i] + beta[i]`, then `max(0, .)` if
//! [`Params::relu`]; `g = i / (c / groups)`, `m_g` and `v_g` the mean and the biased variance of all elements of
//! group g.
//!
//! Shapes: `x` and `out` `[pixels, c]` with `pixels = h * w`, `gamma` and `beta` `[c]`; `groups` divides `c`. Reads `x`
//! twice and writes `out`: 12 bytes and about 9 flops an element. Spec sections 1 (GN8) and 12.
//!
//! Statistics are taken over chunks of fixed size about the chunk's own mean and put together in f64 in the order
//! of the chunks, so the result does not depend on the number of threads. An infinity or a NaN makes its group NaN.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// What a call needs besides its operands.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Number of groups.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Whether negative results become zero.
    pub relu: bool,
}

/// Flops of one call, by the usual count of 8 an element and one for the ReLU.
#[must_use]
pub fn flops(len: usize) -> u64 {
    9 * len as u64
}

/// `max(0, v)`, NaN staying NaN.
#[inline(always)]
fn relu(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}
