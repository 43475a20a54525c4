//! The running softmax over blocks of keys.

use crate::isa::{Arithmetic, multiversion};
use crate::math::exp_with;
use crate::matmul::cpu::micro::STRIDE;

multiversion!(
    /// Turns rows of scores, `STRIDE` apart, into weights relative to each row's running maximum, and shrinks the earlier
    /// sums of weights and of weighted values (`out [rows, width]`) to it.
    pub(super) fn online_softmax = online_softmax_body::<A>(
        scores: &mut [f32],
        keys: usize,
        max: &mut [f32],
        sum: &mut [f32],
        out: &mut [f32],
        width: usize,
    )
);

#[inline(always)]
fn online_softmax_body<A: Arithmetic>(
    scores: &mut [f32],
    keys: usize,
    max: &mut [f32],
    sum: &mut [f32],
    out: &mut [f32],
    width: usize,
) {
    let rows = scores.chunks_mut(STRIDE).zip(out.chunks_exact_mut(width));
    for ((scores, out), (max, sum)) in rows.zip(max.iter_mut().zip(sum)) {
        let scores = &mut scores[..keys];
        let new = largest(scores, *max);
        // A row that sees nothing yet keeps weights of exp(-inf) = 0.
        let base = if new == f32::NEG_INFINITY { 0.0 } else { new };
        let weights = weigh::<A>(scores, base);
        if new != *max {
            let shrink = exp_with::<A>(*max - base);
            *sum *= shrink;
            out.iter_mut().for_each(|o| *o *= shrink);
            *max = new;
        }
        *sum += weights;
    }
}

/// The largest of `scores` and `so_far`; NaN is passed over.
#[inline(always)]
fn largest(scores: &[f32], so_far: f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = scores.chunks_exact(LANES);
    for chunk in &mut chunks {
        lanes.iter_mut().zip(chunk).for_each(|(m, &s)| *m = if s > *m { s } else { *m });
    }
    chunks.remainder().iter().chain(&lanes).fold(so_far, |m, &s| if s > m { s } else { m })
}

/// `scores = exp(scores - base)`; returns their sum.
#[inline(always)]
fn weigh<A: Arithmetic>(scores: &mut [f32], base: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (l, s) in lanes.iter_mut().zip(chunk) {
            *s = exp_with::<A>(*s - base);
            *l += *s;
        }
    }
    let mut rest = 0.0;
    for s in chunks.into_remainder() {
        *s = exp_with::<A>(*s - base);
        rest += *s;
    }
    lanes.iter().sum::<f32>() + rest
}

/// Independent partial results of a row: two vectors of the widest registers.
const LANES: usize = 32;

multiversion!(pub(super) fn scale = scale_body(values: &mut [f32], by: f32));

#[inline(always)]
fn scale_body(values: &mut [f32], by: f32) {
    values.iter_mut().for_each(|v| *v *= by);
}
