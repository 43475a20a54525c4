//! The register tile in bf16: both operands as pairs of neighbours along `k`, sums in f32.
//!
//! A pair is a `u32`, the earlier value in its low half. `b` is a column panel `[k / 2, 32]` of pairs, `a` is packed `[k /
//! 2, rows]` or rows of pairs [`PAIR_STRIDE`] apart; where `k` is odd the last pair ends in zero. The instruction rounds
//! nothing: products of two bf16 are exact in f32, sums are rounded once for each pair and flush denormals.

use super::micro::{AHEAD, STRIDE, Target};
use crate::isa::Avx512Bf16;
use half::bf16;

/// Columns of a tile and of a packed panel.
pub const COLUMNS: usize = 32;

/// Distance of the rows of an unpacked `a`, in pairs.
pub const PAIR_STRIDE: usize = STRIDE / 2;

/// How the left operand of a tile lies in memory.
#[derive(Clone, Copy)]
pub enum LeftPairs<'a> {
    /// `[k / 2, rows]`.
    Packed(&'a [u32]),
    /// `[rows, k / 2]`, row `i` starting at `i * PAIR_STRIDE`.
    Strided(&'a [u32]),
}

/// The pair of two values, each rounded to the nearest bf16 (ties to even).
#[must_use]
pub fn pair(first: f32, second: f32) -> u32 {
    u32::from(bf16::from_f32(first).to_bits()) | u32::from(bf16::from_f32(second).to_bits()) << 16
}

/// Computes `rows` rows of a tile over `pairs` pairs; as [`micro::tile`](super::micro::tile) otherwise.
#[allow(clippy::too_many_arguments)]
pub fn tile(
    proof: Avx512Bf16,
    rows: usize,
    pairs: usize,
    a: LeftPairs,
    b: &[u32],
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    assert!((1..=14).contains(&rows));
    assert!(b.len() >= pairs * COLUMNS && out.len() >= (rows - 1) * stride + COLUMNS);
    match a {
        LeftPairs::Packed(a) => assert!(a.len() >= pairs * rows),
        LeftPairs::Strided(a) => assert!(pairs <= PAIR_STRIDE && a.len() >= (rows - 1) * PAIR_STRIDE + pairs),
    }
    let out = Target { start: out.as_mut_ptr(), stride, add };
    #[cfg(target_arch = "x86_64")]
    {
        let _ = proof;
        macro_rules! dispatch {
            ($($n:literal)*) => {
                match (rows, a) {
                    // SAFETY: `proof` proves the features; the lengths were checked above.
                    $(($n, LeftPairs::Packed(a)) => unsafe { avx512::<$n>(pairs, a.as_ptr(), 1, $n, b.as_ptr(), out) },)*
                    $(($n, LeftPairs::Strided(a)) => {
                        // SAFETY: as above.
                        unsafe { avx512::<$n>(pairs, a.as_ptr(), PAIR_STRIDE, 1, b.as_ptr(), out) }
                    })*
                    _ => unreachable!("rows were checked above"),
                }
            };
        }
        dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("{proof:?} and {:p} exist on x86-64 only", out.start);
}

/// # Safety
/// AVX-512 F and BF16 must be present; `a` must hold `pairs` columns of `ROWS` pairs at the given steps, `b` `[pairs,
/// 32]`; `out` must have room for `ROWS` rows of 32.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
unsafe fn avx512<const ROWS: usize>(
    pairs: usize,
    a: *const u32,
    row_step: usize,
    k_step: usize,
    b: *const u32,
    out: Target,
) {
    use std::arch::x86_64::*;
    use std::mem::transmute;
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (mut a, mut b) = (a, b);
    for _ in 0..pairs {
        // SAFETY: the caller vouches for both operands; pointers advance inside them (or one past their end). The two
        // vector types are the same 64 bytes.
        unsafe {
            let b0: __m512bh = transmute(_mm512_loadu_si512(b.cast()));
            let b1: __m512bh = transmute(_mm512_loadu_si512(b.add(16).cast()));
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * COLUMNS).cast());
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * COLUMNS + 16).cast());
            for (i, sum) in sums.iter_mut().enumerate() {
                let value: __m512bh = transmute(_mm512_set1_epi32(*a.add(i * row_step) as i32));
                sum[0] = _mm512_dpbf16_ps(sum[0], value, b0);
                sum[1] = _mm512_dpbf16_ps(sum[1], value, b1);
            }
            a = a.wrapping_add(k_step);
            b = b.wrapping_add(COLUMNS);
        }
    }
    // SAFETY: the caller vouches for room for ROWS rows.
    unsafe {
        super::micro::store_avx512!(sums, out);
    }
}

/// Joins the rows `2p` and `2p + 1` of `from [k, width]` into row `p` of `out [k / 2, width]`, pair by pair.
///
/// May write up to 15 pairs more where `out` goes on, so blocks are joined in rising order.
pub fn join_rows(proof: Avx512Bf16, k: usize, width: usize, from: &[f32], out: &mut [u32]) {
    assert!(from.len() >= k * width && out.len() >= k.div_ceil(2) * width);
    let _ = proof;
    let mut done = 0; // elements of `out`
    #[cfg(target_arch = "x86_64")]
    if width <= 16 {
        while done + width <= k / 2 * width && done + 16 <= out.len() && 2 * done + width + 16 <= from.len() {
            // SAFETY: `proof` proves the features; 16 values of both rows and 16 pairs of room were just checked.
            unsafe {
                let first = from.as_ptr().add(2 * done);
                join_16(first, first.add(width), out.as_mut_ptr().add(done));
            }
            done += width;
        }
    }
    for (at, out) in out.iter_mut().enumerate().take(k.div_ceil(2) * width).skip(done) {
        let (p, i) = (at / width, at % width);
        let second = if 2 * p + 1 < k { from[(2 * p + 1) * width + i] } else { 0.0 };
        *out = pair(from[2 * p * width + i], second);
    }
}

/// Joins two rows of one length, element by element.
pub fn join_two(proof: Avx512Bf16, first: &[f32], second: &[f32], out: &mut [u32]) {
    let len = first.len();
    assert!(second.len() == len && out.len() >= len);
    let _ = proof;
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    while done + 16 <= len {
        // SAFETY: `proof` proves the features; 16 values of both rows and room for 16 pairs were just checked.
        unsafe { join_16(first.as_ptr().add(done), second.as_ptr().add(done), out.as_mut_ptr().add(done)) };
        done += 16;
    }
    let rest = first[done..].iter().zip(&second[done..]);
    for (out, (&first, &second)) in out[done..].iter_mut().zip(rest) {
        *out = pair(first, second);
    }
}

/// # Safety
/// AVX-512 BW and BF16 must be present; both rows must hold 16 values, `out` room for 16 pairs.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn join_16(first: *const f32, second: *const f32, out: *mut u32) {
    use std::arch::x86_64::*;
    // Word 2i of the result is word i of the first row, word 2i + 1 is word 16 + i: that of the second.
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 16 {
            order[2 * i] = i as u16;
            order[2 * i + 1] = 16 + i as u16;
            i += 1;
        }
        order
    };
    // SAFETY: the caller vouches for both operands and the room; the two vector types are the same 64 bytes.
    unsafe {
        let (first, second) = (_mm512_loadu_ps(first), _mm512_loadu_ps(second));
        let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(second, first));
        let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
        _mm512_storeu_si512(out.cast(), _mm512_permutexvar_epi16(order, both));
    }
}

/// Rounds a row of values to pairs of neighbours; the last pair ends in zero where their number is odd.
pub fn join_neighbours(proof: Avx512Bf16, from: &[f32], out: &mut [u32]) {
    assert!(out.len() >= from.len().div_ceil(2));
    let _ = proof;
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    while done + 32 <= from.len() {
        // SAFETY: `proof` proves the features; 32 values and room for 16 pairs were just checked.
        unsafe { join_32(from.as_ptr().add(done), out.as_mut_ptr().add(done / 2)) };
        done += 32;
    }
    for (values, out) in from[done..].chunks(2).zip(&mut out[done / 2..]) {
        *out = pair(values[0], values.get(1).copied().unwrap_or(0.0));
    }
}

/// # Safety
/// AVX-512 F and BF16 must be present; `from` must hold 32 values, `out` room for 16 pairs.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
unsafe fn join_32(from: *const f32, out: *mut u32) {
    use std::arch::x86_64::*;
    // SAFETY: the caller vouches for both; the two vector types are the same 64 bytes.
    unsafe {
        let both: __m512i =
            std::mem::transmute(_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from.add(16)), _mm512_loadu_ps(from)));
        _mm512_storeu_si512(out.cast(), both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.731).collect()
    }

    #[test]
    fn joining_is_rounding_each_value() {
        let Some(proof) = Avx512Bf16::detect() else { return };
        for width in [1, 5, 14, 16, 20] {
            for k in [0, 1, 2, 7, 40] {
                let from = values(k * width);
                let mut out = vec![7; k.div_ceil(2) * width];
                join_rows(proof, k, width, &from, &mut out);
                for (at, &joined) in out.iter().enumerate() {
                    let (p, i) = (at / width, at % width);
                    let second = from.get((2 * p + 1) * width + i).copied().unwrap_or(0.0);
                    assert_eq!(joined, pair(from[2 * p * width + i], second), "{k} x {width}");
                }
            }
        }
        let from = values(77);
        let mut out = vec![7; 39];
        join_neighbours(proof, &from, &mut out);
        assert!(
            out.iter()
                .enumerate()
                .all(|(p, &v)| v == pair(from[2 * p], from.get(2 * p + 1).copied().unwrap_or(0.0)))
        );
    }

    #[test]
    fn a_tile_of_small_whole_numbers_is_exact() {
        let Some(proof) = Avx512Bf16::detect() else { return };
        let pairs = 9;
        for rows in 1..=14 {
            let value = |i: usize, p: usize| ((i * 31 + p * 17) % 13) as f32 - 6.0;
            let b_value = |p: usize, j: usize| ((p * 7 + j) % 5) as f32;
            let packed: Vec<u32> = (0..pairs * rows)
                .map(|x| pair(value(x % rows, 2 * (x / rows)), value(x % rows, 2 * (x / rows) + 1)))
                .collect();
            let strided: Vec<u32> = (0..rows * PAIR_STRIDE)
                .map(|x| (x / PAIR_STRIDE, x % PAIR_STRIDE))
                .map(|(i, p)| pair(value(i, 2 * p), value(i, 2 * p + 1)))
                .collect();
            let b: Vec<u32> = (0..pairs * COLUMNS)
                .map(|x| (x / COLUMNS, x % COLUMNS))
                .map(|(p, j)| pair(b_value(2 * p, j), b_value(2 * p + 1, j)))
                .collect();
            let mut out = vec![0.0; rows * COLUMNS];
            tile(proof, rows, pairs, LeftPairs::Packed(&packed), &b, &mut out, COLUMNS, false);
            tile(proof, rows, pairs, LeftPairs::Strided(&strided), &b, &mut out, COLUMNS, true);
            for (at, &sum) in out.iter().enumerate() {
                let (i, j) = (at / COLUMNS, at % COLUMNS);
                let exact: f32 = (0..2 * pairs).map(|p| value(i, p) * b_value(p, j)).sum();
                assert_eq!(sum, 2.0 * exact);
            }
        }
    }
}
