//! Mean of the rows that count: `out[i] = sum over kept r of x[r, i] / max(1, number of kept rows)`.
//!
//! Shapes: `x [n, c]`, `keep [n]`, `out [c]`. With no row kept the result is zero. Sums are in f64, in the order of
//! the rows. Reads the kept rows once: 4 bytes and one flop an element.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// Flops of one call: an addition an element.
#[must_use]
pub fn flops(n: usize, c: usize) -> u64 {
    (n * c) as u64
}

/// What the sums are multiplied by.
fn scale(keep: &[bool]) -> f64 {
    1.0 / keep.iter().filter(|&&kept| kept).count().max(1) as f64
}
