//! The register tile in int8: up to 14 rows times a panel of 32 columns, over the whole of `k`.
//!
//! | instruction set | how |
//! |---|---|
//! | AVX-512 VNNI | 28 sums, 2 registers of `b`, `a` broadcast a quad at a time; an instruction does 64 products and their sums |
//! | AVX2 | 3 rows x 8 columns: `b` widened to 16 bits, products of pairs summed in 32 |
//! | portable | plain loops |
//!
//! AVX2's one-instruction form (`maddubs`) is of no use: it keeps sums of two products in 16 bits, which they overflow.

use super::pack::Panel;
use super::rows::Row;
use super::{COLUMNS, ROWS};
use crate::isa::{Avx512Vnni, Isa};
use crate::matmul::ahead::Ahead;
#[cfg(target_arch = "x86_64")]
use crate::matmul::ahead::while_asking;

/// Steps of quads that both operands are asked for ahead of their use: they come from the second cache.
const AHEAD: usize = 8;
/// A tile's left operand: `[k / 4, rows]` quads, and how each row was rounded.
#[derive(Clone, Copy)]
pub(super) struct LeftTile<'a> {
    pub quads: &'a [u32],
    pub rows: &'a [Row],
}

/// `out[i, j] = f32(sum_p (a[i, p] - zero[i]) b[p, j]) * scale_a[i] * scale_b[j]` for the rows of `a`; `out` is `[rows, 32]`.
/// What is `ahead` is asked for meanwhile.
pub(super) fn tile(
    isa: Isa,
    vnni: Option<Avx512Vnni>,
    a: LeftTile,
    b: Panel,
    ahead: Ahead<u32>,
    out: &mut [f32],
) {
    let (rows, count) = (a.rows.len(), b.quads.len() / COLUMNS);
    assert!((1..=ROWS).contains(&rows) && a.quads.len() >= count * rows && out.len() >= rows * COLUMNS);
    #[cfg(target_arch = "x86_64")]
    if let Some(proof) = vnni {
        return vnni_tile(proof, a, b, ahead, out);
    }
    let _ = (vnni, ahead);
    let mut sums = [[0i32; COLUMNS]; ROWS];
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: each of these variants proves AVX2; the lengths were checked above.
        Isa::Avx2(_) | Isa::Avx512(_) => unsafe { avx2(count, a, b, &mut sums) },
        _ => portable(a, b, &mut sums),
    }
    for ((sums, row), out) in sums.iter().zip(a.rows).zip(out.chunks_exact_mut(COLUMNS)) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = (sums[j] - row.zero * b.sums[j]) as f32 * row.scale * b.scales[j];
        }
    }
}

fn portable(a: LeftTile, b: Panel, sums: &mut [[i32; COLUMNS]; ROWS]) {
    let rows = a.rows.len();
    for (a, b) in a.quads.chunks_exact(rows).zip(b.quads.chunks_exact(COLUMNS)) {
        for (a, sums) in a.iter().zip(sums.iter_mut()) {
            let a = a.to_ne_bytes().map(i32::from);
            for (sum, b) in sums.iter_mut().zip(b) {
                let b = b.to_ne_bytes().map(|b| i32::from(b as i8));
                *sum += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
            }
        }
    }
}

/// # Safety
/// AVX2 must be present; `a` must hold `[count, rows]` quads.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(count: usize, a: LeftTile, b: Panel, sums: &mut [[i32; COLUMNS]; ROWS]) {
    let rows = a.rows.len();
    for first in (0..rows).step_by(3) {
        for column in (0..COLUMNS).step_by(8) {
            let start = a.quads[first..].as_ptr();
            let b = b.quads[column..].as_ptr();
            let sums = &mut sums[first..];
            // SAFETY: `start` and `b` begin inside [count, rows] and [count, 32]; the 1 to 3 rows and 8 columns from
            // there on lie inside too.
            unsafe {
                match rows - first {
                    1 => avx2_block::<1>(count, start, rows, b, sums, column),
                    2 => avx2_block::<2>(count, start, rows, b, sums, column),
                    _ => avx2_block::<3>(count, start, rows, b, sums, column),
                }
            }
        }
    }
}

/// `N` rows times 8 columns.
///
/// # Safety
/// AVX2 must be present; `a` must hold `count` times `N` quads `rows` apart, `b` `count` times 8 quads 32 apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn avx2_block<const N: usize>(
    count: usize,
    a: *const u32,
    rows: usize,
    b: *const u32,
    sums: &mut [[i32; COLUMNS]],
    column: usize,
) {
    use std::arch::x86_64::*;
    // Two sums a column: of the first two and of the last two products of each quad.
    let mut pairs = [[_mm256_setzero_si256(); 2]; N];
    for p in 0..count {
        // SAFETY: the caller vouches for both operands.
        let (b0, b1) = unsafe {
            let b = b.add(p * COLUMNS);
            (_mm_loadu_si128(b.cast()), _mm_loadu_si128(b.add(4).cast()))
        };
        let (b0, b1) = (_mm256_cvtepi8_epi16(b0), _mm256_cvtepi8_epi16(b1));
        for (i, pairs) in pairs.iter_mut().enumerate() {
            // SAFETY: as above.
            let quad = unsafe { *a.add(p * rows + i) };
            let a = _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(quad as i32)));
            pairs[0] = _mm256_add_epi32(pairs[0], _mm256_madd_epi16(a, b0));
            pairs[1] = _mm256_add_epi32(pairs[1], _mm256_madd_epi16(a, b1));
        }
    }
    for (pairs, sums) in pairs.iter().zip(sums) {
        // Adds neighbours; the 128-bit halves come out as columns 0 1 4 5 and 2 3 6 7.
        let added = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(pairs[0], pairs[1]));
        let out: &mut [i32; 8] = (&mut sums[column..column + 8]).try_into().expect("8 columns");
        // SAFETY: `out` has room for 8 sums.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), added) };
    }
}

#[cfg(target_arch = "x86_64")]
fn vnni_tile(proof: Avx512Vnni, a: LeftTile, b: Panel, ahead: Ahead<u32>, out: &mut [f32]) {
    let _ = proof;
    let ahead = ahead.or(b.quads);
    let count = b.quads.len() / COLUMNS;
    macro_rules! dispatch {
        ($($n:literal)*) => {
            match a.rows.len() {
                // SAFETY: `proof` proves the features; `tile` checked the lengths.
                $($n => unsafe { vnni_rows::<$n>(count, a, b, ahead, out.as_mut_ptr()) },)*
                _ => unreachable!("rows were checked"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// # Safety
/// AVX-512 F and VNNI must be present; `a` must hold `N` rows and `[count, N]` quads, `b` `[count, 32]`; `out` must have room
/// for `N` rows of 32.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn vnni_rows<const N: usize>(count: usize, a: LeftTile, b: Panel, ahead: Ahead<u32>, out: *mut f32) {
    use std::arch::x86_64::*;
    let mut sums = [[_mm512_setzero_si512(); 2]; N];
    let (mut left, mut right) = (a.quads.as_ptr(), b.quads.as_ptr());
    // The caller vouches for both operands; pointers advance inside them (or one past their end).
    macro_rules! step {
        () => {
            let b0 = _mm512_loadu_si512(right.cast());
            let b1 = _mm512_loadu_si512(right.add(16).cast());
            _mm_prefetch::<_MM_HINT_T0>(right.wrapping_add(AHEAD * COLUMNS).cast());
            _mm_prefetch::<_MM_HINT_T0>(right.wrapping_add(AHEAD * COLUMNS + 16).cast());
            _mm_prefetch::<_MM_HINT_T0>(left.wrapping_add(AHEAD * N).cast());
            for (i, sum) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_epi32(*left.add(i) as i32);
                sum[0] = _mm512_dpbusd_epi32(sum[0], value, b0);
                sum[1] = _mm512_dpbusd_epi32(sum[1], value, b1);
            }
            left = left.wrapping_add(N);
            right = right.wrapping_add(COLUMNS);
        };
    }
    while_asking!(ahead, count, step);
    // The sums go to memory first, by a loop so small that it is unrolled: else they would live there all along.
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: the caller vouches for room for N rows of 32 values of four bytes.
        unsafe {
            _mm512_storeu_si512(out.add(i * COLUMNS).cast(), sum[0]);
            _mm512_storeu_si512(out.add(i * COLUMNS + 16).cast(), sum[1]);
        }
    }
    // SAFETY: both arrays have 32 values.
    let (columns, scales) = unsafe {
        let (sums, scales) = (b.sums.as_ptr(), b.scales.as_ptr());
        let columns = [_mm512_loadu_si512(sums.cast()), _mm512_loadu_si512(sums.add(16).cast())];
        (columns, [_mm512_loadu_ps(scales), _mm512_loadu_ps(scales.add(16))])
    };
    for (i, row) in a.rows.iter().take(N).enumerate() {
        let (zero, scale) = (_mm512_set1_epi32(row.zero), _mm512_set1_ps(row.scale));
        for half in 0..2 {
            // SAFETY: as above; the sums were just stored there.
            unsafe {
                let out = out.add(i * COLUMNS + 16 * half);
                let sum = _mm512_loadu_si512(out.cast());
                let value =
                    _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_mullo_epi32(zero, columns[half])));
                _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_mul_ps(value, scale), scales[half]));
            }
        }
    }
}
