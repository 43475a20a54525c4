//! The running softmax over blocks of keys, in powers of two: `exp(s - max) = 2^(s log2 e - max log2 e)`.

use super::wide;
use crate::isa::{Arithmetic, Avx512Bf16, Isa, multiversion};
use crate::math::exp2_with;
use crate::matmul::cpu::bf16::{self, PAIR_STRIDE};
use crate::matmul::cpu::micro::STRIDE;
use crate::matmul::cpu::pack::MOST_ROWS;
use std::f32::consts::LOG2_E;

/// The running results of some queries: a value each, and `out [queries, width]`.
pub(super) struct Running<'a> {
    /// The largest score seen.
    pub max: &'a mut [f32],
    /// The sum of weights.
    pub sum: &'a mut [f32],
    /// The sums of weighted values.
    pub out: &'a mut [f32],
    /// Values of a row of `out`.
    pub width: usize,
    /// What the scores are still to be multiplied by; above zero.
    pub scale: f32,
}

/// Turns rows of scores, `STRIDE` apart, into weights relative to each row's running maximum, and shrinks the earlier sums
/// to it. With `pairs`, the weights are left there, rounded, rows `PAIR_STRIDE` apart, and `scores` means nothing.
pub(super) fn online_softmax(
    isa: Isa,
    scores: &mut [f32],
    keys: usize,
    running: Running,
    pairs: Option<(Avx512Bf16, &mut [u32])>,
) {
    let Running { max, sum, out, width, scale } = running;
    let scale = scale * LOG2_E;
    match (isa, pairs) {
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512(token), pairs) => {
            wide::online_softmax(token, scores, keys, [max, sum, out], width, scale, pairs)
        }
        (_, None) => rows(isa, scores, keys, max, sum, out, width, scale),
        (_, Some((proof, pairs))) => {
            rows(isa, scores, keys, max, sum, out, width, scale);
            for (scores, pairs) in scores.chunks(STRIDE).zip(pairs.chunks_mut(PAIR_STRIDE)).take(max.len()) {
                bf16::join_neighbours(proof, &scores[..keys], pairs);
            }
        }
    }
}

multiversion!(
    fn rows = rows_body::<A>(
        scores: &mut [f32],
        keys: usize,
        max: &mut [f32],
        sum: &mut [f32],
        out: &mut [f32],
        width: usize,
        scale: f32,
    )
);

#[inline(always)]
fn rows_body<A: Arithmetic>(
    scores: &mut [f32],
    keys: usize,
    max: &mut [f32],
    sum: &mut [f32],
    out: &mut [f32],
    width: usize,
    scale: f32,
) {
    // All maxima first: the rows then wait for none of them.
    let mut maxima = [0f32; MOST_ROWS];
    for ((new, scores), max) in maxima.iter_mut().zip(scores.chunks(STRIDE)).zip(&*max) {
        *new = largest(&scores[..keys], *max);
    }
    let rows = scores.chunks_mut(STRIDE).zip(out.chunks_exact_mut(width)).zip(maxima);
    for (((scores, out), new), (max, sum)) in rows.zip(max.iter_mut().zip(sum)) {
        let scores = &mut scores[..keys];
        let base = base(new, scale);
        let weights = weigh::<A>(scores, scale, base);
        if new != *max {
            let shrink = exp2_with::<A>(*max * scale - base);
            *sum *= shrink;
            out.iter_mut().for_each(|o| *o *= shrink);
            *max = new;
        }
        *sum += weights;
    }
}

/// What is taken off the scores, in powers of two. A row that sees nothing yet keeps weights of 2^-inf = 0.
#[inline(always)]
pub(super) fn base(max: f32, scale: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max * scale }
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

/// `scores = 2^(scores scale - base)`; returns their sum.
#[inline(always)]
fn weigh<A: Arithmetic>(scores: &mut [f32], scale: f32, base: f32) -> f32 {
    let weight = |s: f32| exp2_with::<A>(A::multiply_add(s, scale, -base));
    let mut lanes = [0f32; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (l, s) in lanes.iter_mut().zip(chunk) {
            *s = weight(*s);
            *l += *s;
        }
    }
    let mut rest = 0.0;
    for s in chunks.into_remainder() {
        *s = weight(*s);
        rest += *s;
    }
    lanes.iter().sum::<f32>() + rest
}

/// Independent partial results of a row: two vectors of the widest registers.
const LANES: usize = 32;
