//! The register tile: `tile[i, j] = sum_p a[p, i] b[p, j]` for up to `rows(isa)` rows and exactly `columns(isa)` columns.
//!
//! | instruction set | rows x columns | registers |
//! |---|---|---|
//! | AVX-512 | 14 x 32 | 28 sums, 2 of `b`, `a` broadcast from memory |
//! | AVX2 | 6 x 16 | 12 sums, 2 of `b`, 1 of `a` |
//! | portable | 4 x 8 | left to the compiler |
//!
//! `b` is a column panel, `[k, columns]`. `a` is either packed `[k, rows]` or plain rows [`STRIDE`] apart.

use crate::isa::{Arithmetic, Isa, Plain};
use crate::matmul::ahead::Ahead;
#[cfg(target_arch = "x86_64")]
use crate::matmul::ahead::while_asking;

/// The largest tile of any instruction set, in elements.
pub const LARGEST: usize = 14 * 32;

/// Distance of the rows of an unpacked `a`, in elements.
pub const STRIDE: usize = 256;

/// Steps of `k` that the rows of `b` are asked for ahead of their use: it comes from the second cache.
pub(super) const AHEAD: usize = 12;

/// The same for a packed `a`.
const AHEAD_OF_A: usize = 8;

/// Room for a result tile, on a cache line boundary.
#[repr(C, align(64))]
pub struct Tile(pub [f32; LARGEST]);

impl Default for Tile {
    fn default() -> Self {
        Self([0.0; LARGEST])
    }
}

/// How the left operand of a tile lies in memory.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// `[k, rows]`.
    Packed(&'a [f32]),
    /// `[rows, k]`, row `i` starting at `i * STRIDE`.
    Strided(&'a [f32]),
}

/// Rows of a full tile.
#[must_use]
pub fn rows(isa: Isa) -> usize {
    match isa {
        Isa::Avx512(_) => 14,
        Isa::Avx2(_) => 6,
        _ => 4,
    }
}

/// Columns of a tile and of a packed panel.
#[must_use]
pub fn columns(isa: Isa) -> usize {
    match isa {
        Isa::Avx512(_) => 32,
        Isa::Avx2(_) => 16,
        _ => 8,
    }
}

/// Computes the first `rows` rows of a tile over `k` products. `b` is `[k, columns(isa)]`.
///
/// Row `i` goes to `out[i * stride ..]`, over what is there or, with `add`, added to it. What is `ahead` is asked for meanwhile.
#[allow(clippy::too_many_arguments)]
pub fn tile(
    isa: Isa,
    rows: usize,
    k: usize,
    a: Left,
    b: &[f32],
    ahead: Ahead<f32>,
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    let columns = columns(isa);
    assert!(rows >= 1 && rows <= self::rows(isa));
    assert!(b.len() >= k * columns && out.len() >= (rows - 1) * stride + columns);
    match a {
        Left::Packed(a) => assert!(a.len() >= k * rows),
        Left::Strided(a) => assert!(k <= STRIDE && a.len() >= (rows - 1) * STRIDE + k),
    }
    let result = Target { start: out.as_mut_ptr(), stride, add };
    #[cfg(target_arch = "x86_64")]
    let ahead = ahead.or(b);
    macro_rules! dispatch {
        ($function:ident: $($n:literal)*) => {
            match (rows, a) {
                // SAFETY: the variant of `isa` proves the features; the lengths were checked above.
                $(($n, Left::Packed(a)) => unsafe { $function::<$n, 1, $n>(k, a.as_ptr(), b.as_ptr(), ahead, result) },)*
                // SAFETY: as above.
                $(($n, Left::Strided(a)) => unsafe { $function::<$n, STRIDE, 1>(k, a.as_ptr(), b.as_ptr(), ahead, result) },)*
                _ => unreachable!("rows were checked above"),
            }
        };
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(_) => dispatch!(avx512: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(_) => dispatch!(avx2: 1 2 3 4 5 6),
        _ => dispatch!(portable: 1 2 3 4),
    }
}

/// Where a tile goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub start: *mut f32,
    pub stride: usize,
    pub add: bool,
}

/// Steps of `a` are constants, so that its elements are addressed without any arithmetic: a core that starts four
/// instructions a cycle has none to spare beside the multiply-adds.
///
/// # Safety
/// AVX-512 F must be present; `a` must hold `k` columns of `ROWS` values at the given steps, `b` `[k, 32]`; `out` must have
/// room for `ROWS` rows of 32.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn avx512<const ROWS: usize, const ROW_STEP: usize, const K_STEP: usize>(
    k: usize,
    a: *const f32,
    b: *const f32,
    ahead: Ahead<f32>,
    out: Target,
) {
    use std::arch::x86_64::*;
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (mut a, mut b) = (a, b);
    // The caller vouches for both operands; pointers advance inside them (or one past their end).
    macro_rules! step {
        () => {
            let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * 32).cast());
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * 32 + 16).cast());
            if ROW_STEP == 1 {
                _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD_OF_A * K_STEP).cast());
            }
            for (i, sum) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*a.add(i * ROW_STEP));
                sum[0] = _mm512_fmadd_ps(value, b0, sum[0]);
                sum[1] = _mm512_fmadd_ps(value, b1, sum[1]);
            }
            a = a.wrapping_add(K_STEP);
            b = b.wrapping_add(32);
        };
    }
    while_asking!(ahead, k, step);
    // SAFETY: the caller vouches for room for ROWS rows.
    unsafe {
        store_avx512!(sums, out);
    }
}

/// Stores the sums of a tile, `[[__m512; 2]; ROWS]`, to rows of 32. A macro and no function, so that the sums never leave
/// their registers for the stack. To be used where AVX-512 F is enabled, and where the target has room for the rows.
#[cfg(target_arch = "x86_64")]
macro_rules! store_avx512 {
    ($sums:ident, $out:ident) => {
        for (i, sum) in $sums.iter().enumerate() {
            let row = $out.start.add(i * $out.stride);
            if $out.add {
                _mm512_storeu_ps(row, _mm512_add_ps(_mm512_loadu_ps(row), sum[0]));
                _mm512_storeu_ps(row.add(16), _mm512_add_ps(_mm512_loadu_ps(row.add(16)), sum[1]));
            } else {
                _mm512_storeu_ps(row, sum[0]);
                _mm512_storeu_ps(row.add(16), sum[1]);
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use store_avx512;

/// # Safety
/// AVX2 and FMA must be present; `a` must hold `k` columns of `ROWS` values at the given steps, `b` `[k, 16]`; `out` must
/// have room for `ROWS` rows of 16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn avx2<const ROWS: usize, const ROW_STEP: usize, const K_STEP: usize>(
    k: usize,
    a: *const f32,
    b: *const f32,
    ahead: Ahead<f32>,
    out: Target,
) {
    use std::arch::x86_64::*;
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    let (mut a, mut b) = (a, b);
    // As for AVX-512.
    macro_rules! step {
        () => {
            let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * 16).cast());
            for (i, sum) in sums.iter_mut().enumerate() {
                let value = _mm256_broadcast_ss(&*a.add(i * ROW_STEP));
                sum[0] = _mm256_fmadd_ps(value, b0, sum[0]);
                sum[1] = _mm256_fmadd_ps(value, b1, sum[1]);
            }
            a = a.wrapping_add(K_STEP);
            b = b.wrapping_add(16);
        };
    }
    while_asking!(ahead, k, step);
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: the caller vouches for room for ROWS rows.
        unsafe {
            let row = out.start.add(i * out.stride);
            if out.add {
                _mm256_storeu_ps(row, _mm256_add_ps(_mm256_loadu_ps(row), sum[0]));
                _mm256_storeu_ps(row.add(8), _mm256_add_ps(_mm256_loadu_ps(row.add(8)), sum[1]));
            } else {
                _mm256_storeu_ps(row, sum[0]);
                _mm256_storeu_ps(row.add(8), sum[1]);
            }
        }
    }
}

/// # Safety
/// `a` must hold `k` columns of `ROWS` values at the given steps, `b` `[k, 8]`; `out` must have room for `ROWS` rows of 8.
#[inline]
unsafe fn portable<const ROWS: usize, const ROW_STEP: usize, const K_STEP: usize>(
    k: usize,
    a: *const f32,
    b: *const f32,
    _ahead: Ahead<f32>,
    out: Target,
) {
    let mut sums = [[0f32; 8]; ROWS];
    for p in 0..k {
        // SAFETY: the caller vouches for both operands.
        let b: [f32; 8] = unsafe { b.add(p * 8).cast::<[f32; 8]>().read_unaligned() };
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let value = unsafe { *a.add(i * ROW_STEP + p * K_STEP) };
            for (s, b) in sum.iter_mut().zip(b) {
                *s = Plain::multiply_add(value, b, *s);
            }
        }
    }
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: the caller vouches for room for ROWS rows.
        let row = unsafe { &mut *out.start.add(i * out.stride).cast::<[f32; 8]>() };
        for (o, s) in row.iter_mut().zip(sum) {
            *o = if out.add { *o + s } else { *s };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_strided_left_operands_give_the_same_tile() {
        for isa in Isa::available() {
            let k = 37;
            for rows in 1..=rows(isa) {
                let value = |i: usize, p: usize| ((i * 31 + p * 17) % 13) as f32 - 6.0;
                let packed: Vec<f32> = (0..k * rows).map(|x| value(x % rows, x / rows)).collect();
                let strided: Vec<f32> = (0..rows * STRIDE).map(|x| value(x / STRIDE, x % STRIDE)).collect();
                let b: Vec<f32> = (0..k * columns(isa)).map(|x| (x % 7) as f32).collect();
                let (mut x, mut y) = (Tile::default(), Tile([1.0; LARGEST]));
                let lines = vec![b.as_ptr(); rows]; // fewer and more than there are fours of steps
                let n = columns(isa);
                tile(
                    isa,
                    rows,
                    k,
                    Left::Packed(&packed),
                    &b,
                    Ahead { next: &b, lines: &lines },
                    &mut x.0,
                    n,
                    false,
                );
                tile(isa, rows, k, Left::Strided(&strided), &b, Ahead::default(), &mut y.0, n, true);
                y.0.iter_mut().for_each(|y| *y -= 1.0);
                assert_eq!(x.0[..rows * n], y.0[..rows * n], "{isa}");
                let exact: f32 = (0..k).map(|p| value(rows - 1, p) * b[p * n + n - 1]).sum();
                assert_eq!(x.0[rows * n - 1], exact, "{isa}");
            }
        }
    }
}
