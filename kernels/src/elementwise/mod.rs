//! Functions of one element, and of two with broadcasting.
//!
//! Unary: `out[i] = f(x[i])` ([`Unary`]). Binary: `out[i] = f(a[i], b[j(i)])` ([`Binary`]), where `b` is walked with a
//! stride for each axis of `out`, 0 along the axes it is repeated on (numpy's rules, applied by the caller).
//!
//! Both may run in place: with the first operand absent, `out` holds it. Reads the operands, writes `out`: 8 bytes (12
//! for two operands of the same shape) and 1 to 40 flops an element. NaN in, NaN out.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`.
    Relu,
    /// `x / 2 (1 + erf(x / sqrt 2))`; 0 at `-inf`. Spec section 1.
    Gelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x s + t`.
    ScaleAdd(f32, f32),
    /// `min(max(x, low), high)`, `low <= high`.
    Clamp(f32, f32),
    /// `sign(x) log2(1 + 8 |x|) / log2(8)`. Spec section 10 (phi).
    SignedLog2,
    /// `ln(max(y, eps) / max(1 - y, eps))`, `y = min(max(x, 0), 1)`. Spec section 10 (logit3).
    InverseSigmoid(f32),
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
}

/// Flops of one call: one a result, whatever the function, as is usual.
#[must_use]
pub fn flops(results: usize) -> u64 {
    results as u64
}

/// The larger of `v` and a number, NaN staying NaN.
#[inline(always)]
fn at_least(v: f32, low: f32) -> f32 {
    if v < low { low } else { v }
}

/// The smaller of `v` and a number, NaN staying NaN.
#[inline(always)]
fn at_most(v: f32, high: f32) -> f32 {
    if v > high { high } else { v }
}
