//! Softmax by rows, vectorised: one pass for the maximum, one for the exponentials, one for their sum, one to scale.

use crate::isa::{Isa, multiversion};
use crate::math::exp;
use crate::parallel::for_rows;

/// Softmax of each row of `cols` elements. See the [module](super) for the contract.
pub fn run(isa: Isa, cols: usize, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    for_rows(out, cols, 8 * cols, |first, rows| {
        let x = &x[first * cols..][..rows.len()];
        softmax_rows(isa, cols, x, rows);
    });
}

multiversion!(fn softmax_rows = softmax_rows_body(cols: usize, x: &[f32], out: &mut [f32]));

#[inline(always)]
fn softmax_rows_body(cols: usize, x: &[f32], out: &mut [f32]) {
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        softmax_row(x, out);
    }
}

#[inline(always)]
fn softmax_row(x: &[f32], out: &mut [f32]) {
    let max = max_of(x);
    if max == f32::NEG_INFINITY && !x.iter().any(|v| v.is_nan()) {
        return out.fill(0.0);
    }
    for (o, &v) in out.iter_mut().zip(x) {
        *o = exp(v - max);
    }
    let scale = 1.0 / sum_of(out);
    for o in out {
        *o *= scale;
    }
}

/// Independent partial results, so that the compiler may use a vector of them.
const LANES: usize = 16;

#[inline(always)]
fn max_of(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (m, &v) in lanes.iter_mut().zip(chunk) {
            *m = if v > *m { v } else { *m };
        }
    }
    chunks.remainder().iter().chain(&lanes).fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

#[inline(always)]
fn sum_of(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (s, &v) in lanes.iter_mut().zip(chunk) {
            *s += v;
        }
    }
    lanes.iter().sum::<f32>() + chunks.remainder().iter().sum::<f32>()
}
