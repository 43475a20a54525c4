//! The register tile: `tile[i, j] = sum_p a[p, i] b[p, j]` for up to `rows(isa)` rows and exactly `columns(isa)` columns.
//!
//! | instruction set | rows x columns | registers |
//! |---|---|---|
//! | AVX-512 | 14 x 32 | 28 sums, 2 of `b`, `a` broadcast from memory |
//! | AVX2 | 6 x 16 | 12 sums, 2 of `b`, 1 of `a` |
//! | portable | 4 x 8 | left to the compiler |
//!
//! `b` is a column panel, `[k, columns]`. `a` is either packed `[k, rows]` or plain rows [`STRIDE`] apart.

use crate::isa::Isa;

/// The largest tile of any instruction set, in elements.
pub const LARGEST: usize = 14 * 32;

/// Distance of the rows of an unpacked `a`, in elements.
pub const STRIDE: usize = 256;

/// A result tile, `[rows, columns]`, on a cache line boundary.
#[repr(C, align(64))]
pub struct Tile(pub [f32; LARGEST]);

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
pub fn tile(isa: Isa, rows: usize, k: usize, a: Left, b: &[f32], tile: &mut Tile) {
    assert!(rows >= 1 && rows <= self::rows(isa));
    assert!(b.len() >= k * columns(isa));
    match a {
        Left::Packed(a) => assert!(a.len() >= k * rows),
        Left::Strided(a) => assert!(k <= STRIDE && a.len() >= (rows - 1) * STRIDE + k),
    }
    macro_rules! dispatch {
        ($function:ident: $($n:literal)*) => {
            match (rows, a) {
                // SAFETY: the variant of `isa` proves the features; the lengths were checked above.
                $(($n, Left::Packed(a)) => unsafe { $function::<$n>(k, a.as_ptr(), 1, $n, b.as_ptr(), tile) },)*
                // SAFETY: as above.
                $(($n, Left::Strided(a)) => unsafe { $function::<$n>(k, a.as_ptr(), STRIDE, 1, b.as_ptr(), tile) },)*
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

/// # Safety
/// AVX-512 F must be present; `a` must hold `k` columns of `ROWS` values at the given steps, `b` `[k, 32]`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn avx512<const ROWS: usize>(
    k: usize,
    a: *const f32,
    row_step: usize,
    k_step: usize,
    b: *const f32,
    tile: &mut Tile,
) {
    use std::arch::x86_64::*;
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (mut a, mut b) = (a, b);
    for _ in 0..k {
        // SAFETY: the caller vouches for both operands; pointers advance inside them (or one past their end).
        unsafe {
            let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
            for (i, sum) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*a.add(i * row_step));
                sum[0] = _mm512_fmadd_ps(value, b0, sum[0]);
                sum[1] = _mm512_fmadd_ps(value, b1, sum[1]);
            }
            a = a.wrapping_add(k_step);
            b = b.wrapping_add(32);
        }
    }
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: ROWS <= 14 rows of 32 fit the tile.
        unsafe {
            _mm512_store_ps(tile.0.as_mut_ptr().add(i * 32), sum[0]);
            _mm512_store_ps(tile.0.as_mut_ptr().add(i * 32 + 16), sum[1]);
        }
    }
}

/// # Safety
/// AVX2 and FMA must be present; `a` must hold `k` columns of `ROWS` values at the given steps, `b` `[k, 16]`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn avx2<const ROWS: usize>(
    k: usize,
    a: *const f32,
    row_step: usize,
    k_step: usize,
    b: *const f32,
    tile: &mut Tile,
) {
    use std::arch::x86_64::*;
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    let (mut a, mut b) = (a, b);
    for _ in 0..k {
        // SAFETY: the caller vouches for both operands; pointers advance inside them (or one past their end).
        unsafe {
            let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
            for (i, sum) in sums.iter_mut().enumerate() {
                let value = _mm256_broadcast_ss(&*a.add(i * row_step));
                sum[0] = _mm256_fmadd_ps(value, b0, sum[0]);
                sum[1] = _mm256_fmadd_ps(value, b1, sum[1]);
            }
            a = a.wrapping_add(k_step);
            b = b.wrapping_add(16);
        }
    }
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: ROWS <= 6 rows of 16 fit the tile, which is aligned to 64 bytes.
        unsafe {
            _mm256_store_ps(tile.0.as_mut_ptr().add(i * 16), sum[0]);
            _mm256_store_ps(tile.0.as_mut_ptr().add(i * 16 + 8), sum[1]);
        }
    }
}

/// # Safety
/// `a` must hold `k` columns of `ROWS` values at the given steps, `b` `[k, 8]`.
#[inline]
unsafe fn portable<const ROWS: usize>(
    k: usize,
    a: *const f32,
    row_step: usize,
    k_step: usize,
    b: *const f32,
    tile: &mut Tile,
) {
    let mut sums = [[0f32; 8]; ROWS];
    for p in 0..k {
        // SAFETY: the caller vouches for both operands.
        let b: [f32; 8] = unsafe { b.add(p * 8).cast::<[f32; 8]>().read_unaligned() };
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let value = unsafe { *a.add(i * row_step + p * k_step) };
            for (s, b) in sum.iter_mut().zip(b) {
                *s = multiply_add(value, b, *s);
            }
        }
    }
    for (row, sum) in tile.0.chunks_exact_mut(8).zip(&sums) {
        row.copy_from_slice(sum);
    }
}

/// `a * b + c`, fused where the target surely can.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
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
                let (mut x, mut y) = (Tile([0.0; LARGEST]), Tile([1.0; LARGEST]));
                tile(isa, rows, k, Left::Packed(&packed), &b, &mut x);
                tile(isa, rows, k, Left::Strided(&strided), &b, &mut y);
                let n = columns(isa);
                assert_eq!(x.0[..rows * n], y.0[..rows * n], "{isa}");
                let exact: f32 = (0..k).map(|p| value(rows - 1, p) * b[p * n + n - 1]).sum();
                assert_eq!(x.0[rows * n - 1], exact, "{isa}");
            }
        }
    }
}
