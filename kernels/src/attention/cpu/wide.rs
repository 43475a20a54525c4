//! The running softmax with AVX-512, which has the exponent's steps as instructions and rounds weights to bf16 in flight.

#![cfg(target_arch = "x86_64")]

use super::softmax::base;
use crate::isa::{Avx512, Avx512Bf16, Fused};
use crate::math::{EXP2, EXP2_ROUGH, exp2_with};
use crate::matmul::cpu::bf16::PAIR_STRIDE;
use crate::matmul::cpu::micro::STRIDE;
use crate::matmul::cpu::pack::MOST_ROWS;
use crate::wide_math::exp2;
use std::arch::x86_64::*;

/// Scores taken at a time.
const STEP: usize = 32;
/// Below the exponent of the smallest number there is: `2^-160` is 0, and `2^-inf` is taken for it.
const ZERO: f32 = -160.0;

/// As [`online_softmax`](super::softmax::online_softmax). Writes up to the next multiple of 32 scores or 16 pairs.
pub(super) fn online_softmax(
    _: Avx512,
    scores: &mut [f32],
    keys: usize,
    [max, sum, out]: [&mut [f32]; 3],
    width: usize,
    scale: f32,
    pairs: Option<(Avx512Bf16, &mut [u32])>,
) {
    let rows = max.len();
    assert!(rows <= MOST_ROWS && keys <= STRIDE && sum.len() == rows && out.len() == rows * width);
    assert!(rows == 0 || scores.len() >= rows * STRIDE);
    match pairs {
        // SAFETY: the token proves AVX-512; rows of scores are STRIDE long, a multiple of STEP.
        None => unsafe { online_f32(scores, keys, max, sum, out, width, scale) },
        Some((_, pairs)) => {
            assert!(pairs.len() >= rows * PAIR_STRIDE);
            // SAFETY: as above; the second proof is of BF16, and rows of pairs are PAIR_STRIDE long.
            unsafe { online_bf16(scores, keys, max, sum, out, width, scale, pairs) };
        }
    }
}

macro_rules! online {
    ($name:ident, $features:literal, $polynomial:expr, ($($pairs:ident)?), |$row:ident, $i:ident, $j:ident, $two:ident| $store:block) => {
        /// # Safety
        /// The features must be present; `scores` must hold a row of `STRIDE` for each of `max`, `pairs` one of
        /// `PAIR_STRIDE`; `sum` must be as long as `max` and `out` hold `width` values for each.
        #[target_feature(enable = $features)]
        #[allow(clippy::too_many_arguments)]
        unsafe fn $name(
            scores: &mut [f32],
            keys: usize,
            max: &mut [f32],
            sum: &mut [f32],
            out: &mut [f32],
            width: usize,
            scale: f32,
            $($pairs: &mut [u32],)?
        ) {
            // All maxima first: the rows then wait for none of them.
            let mut maxima = [0f32; MOST_ROWS];
            for (i, new) in maxima[..max.len()].iter_mut().enumerate() {
                let row = scores[i * STRIDE..][..STRIDE].as_mut_ptr();
                // SAFETY: the caller vouches for rows of STRIDE, and steps end at the next multiple of STEP.
                unsafe {
                    hide_tail(row, keys);
                    *new = largest(row, keys, max[i]);
                }
            }
            for $i in 0..max.len() {
                let $row = scores[$i * STRIDE..][..STRIDE].as_mut_ptr();
                // SAFETY: as above.
                unsafe {
                    let new = maxima[$i];
                    let base = base(new, scale);
                    let mut sums = [_mm512_setzero_ps(); 2];
                    for $j in (0..keys).step_by(STEP) {
                        let $two = [weight($row.add($j), scale, base, &$polynomial), weight($row.add($j + 16), scale, base, &$polynomial)];
                        sums = [_mm512_add_ps(sums[0], $two[0]), _mm512_add_ps(sums[1], $two[1])];
                        $store
                    }
                    let weights = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
                    if new != max[$i] {
                        let shrink = exp2_with::<Fused>(max[$i] * scale - base);
                        sum[$i] *= shrink;
                        out[$i * width..][..width].iter_mut().for_each(|o| *o *= shrink);
                        max[$i] = new;
                    }
                    sum[$i] += weights;
                }
            }
        }
    };
}

online!(online_f32, "avx512f", EXP2, (), |row, i, j, two| {
    _mm512_storeu_ps(row.add(j), two[0]);
    _mm512_storeu_ps(row.add(j + 16), two[1]);
});

online!(online_bf16, "avx512f,avx512bf16", EXP2_ROUGH, (pairs), |row, i, j, two| {
    let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(two[1], two[0]));
    _mm512_storeu_si512(pairs.as_mut_ptr().add(i * PAIR_STRIDE + j / 2).cast(), both);
});

/// Puts `-inf` where a row has no keys, up to the next whole step.
///
/// # Safety
/// The row must hold `keys` values up to the next multiple of [`STEP`].
#[inline(always)]
unsafe fn hide_tail(row: *mut f32, keys: usize) {
    for j in keys..keys.next_multiple_of(STEP) {
        // SAFETY: the caller vouches for the room.
        unsafe { *row.add(j) = f32::NEG_INFINITY };
    }
}

/// The largest of a row and `so_far`; NaN is passed over.
///
/// # Safety
/// AVX-512 F must be present; the row must hold `keys` values up to the next multiple of [`STEP`].
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn largest(row: *const f32, keys: usize, so_far: f32) -> f32 {
    let mut most = [_mm512_set1_ps(so_far); 2];
    for j in (0..keys).step_by(STEP) {
        // SAFETY: the caller vouches for the values. The second operand is what a comparison with NaN gives.
        unsafe {
            most[0] = _mm512_max_ps(_mm512_loadu_ps(row.add(j)), most[0]);
            most[1] = _mm512_max_ps(_mm512_loadu_ps(row.add(j + 16)), most[1]);
        }
    }
    _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]))
}

/// `2^(scores scale - base)` of 16 scores; 0 below what a number can hold, NaN for NaN.
///
/// # Safety
/// AVX-512 F must be present; `scores` must hold 16 values.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn weight(scores: *const f32, scale: f32, base: f32, polynomial: &[f32]) -> __m512 {
    // SAFETY: the caller vouches for the values.
    let scores = unsafe { _mm512_loadu_ps(scores) };
    let x = _mm512_fmsub_ps(scores, _mm512_set1_ps(scale), _mm512_set1_ps(base));
    let x = _mm512_max_ps(_mm512_set1_ps(ZERO), x); // the second operand again: NaN stays
    exp2(x, polynomial)
}
