//! Layer norm by rows, vectorised. A row is read from memory once; the four passes over it find it in the
//! first-level cache.

use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Layer norm of each row of `gamma.len()` elements. See the [module](super) for the contract.
pub fn run(isa: Isa, x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
    let c = gamma.len();
    assert_eq!(x.len(), out.len());
    assert_eq!(beta.len(), c);
    for_rows(out, c, 4 * c, |first, rows| {
        let x = &x[first * c..][..rows.len()];
        norm_rows(isa, x, gamma, beta, eps, rows);
    });
}

multiversion!(
    fn norm_rows = norm_rows_body(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32])
);

#[inline(always)]
fn norm_rows_body(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
    let c = gamma.len();
    let over = 1.0 / c as f32;
    for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        let rough = sum_of(x, |v| v) * over;
        let rest = sum_of(x, |v| v - rough) * over;
        let variance = sum_of(x, |v| (v - rough - rest) * (v - rough - rest)) * over;
        let scale = 1.0 / (variance + eps).sqrt();
        for (((o, &v), &g), &b) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
            *o = (v - rough - rest) * scale * g + b;
        }
    }
}

/// Independent partial sums, so that the compiler may use two vectors of them.
const LANES: usize = 32;

#[inline(always)]
fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (sum, &v) in lanes.iter_mut().zip(chunk) {
            *sum += f(v);
        }
    }
    lanes.iter().sum::<f32>() + chunks.remainder().iter().map(|&v| f(v)).sum::<f32>()
}
