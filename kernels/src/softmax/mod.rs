//! Softmax over the last axis: `out[r, i] = exp(x[r, i] - m_r) / sum_j exp(x[r, j] - m_r)`, `m_r` the row's maximum.
//!
//! Shapes: `x` and `out` are `[rows, cols]`. Reads `x` once or twice, writes `out`: 8 bytes and about 20 flops an
//! element.
//!
//! A row that is `-inf` throughout (every key masked) becomes zero rather than NaN; a NaN in a row makes the whole
//! row NaN. An empty row stays empty.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// Flops of one call, by the usual count of 5 an element (max, subtract, exp, sum, divide).
#[must_use]
pub fn flops(rows: usize, cols: usize) -> u64 {
    5 * (rows * cols) as u64
}
