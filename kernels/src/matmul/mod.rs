//! Matrix product with a weight, and what follows it: `out = activation(a wᵀ + bias) + residual`.
//!
//! | operand | shape | |
//! |---|---|---|
//! | `a` | `[m, k]` | activations, row-major |
//! | `w` | `[n, k]` | weight, one row an output channel, packed once ([`cpu::Packed`]) |
//! | `bias` | `[n]` | optional |
//! | `residual` | `[m, n]` | optional, added last |
//! | `out` | `[m, n]` | |
//!
//! `k` is at least 1. `2 m n k` flops; reads `4 (m k + n k)` bytes and writes `4 m n`. Accumulation is in f32 over blocks of `k` in a
//! fixed order, so an element does not depend on the number of threads or on the other rows.

pub(crate) mod ahead;
pub mod cpu;
pub mod gpu;
pub mod int8;
pub mod reference;

/// The function applied to a product before the residual is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x / 2 (1 + erf(x / sqrt 2))`, the exact form.
    Gelu,
}

/// What happens to a product before it is stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to every row; `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
    /// Added after the activation; `[m, n]`.
    pub residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    pub(crate) fn check(&self, m: usize, n: usize) {
        assert!(self.bias.is_none_or(|b| b.len() == n), "bias has not one value an output channel");
        assert!(self.residual.is_none_or(|r| r.len() == m * n), "residual has not the result's shape");
    }
}

/// Flops of one call, two a multiply-add.
#[must_use]
pub fn flops(m: usize, n: usize, k: usize) -> u64 {
    2 * (m * n) as u64 * k as u64
}
