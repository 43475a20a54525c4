//! Packing: weights into column panels once, activations into row blocks as they are used.

use super::{bf16, micro};
use crate::isa::{Avx512Bf16, Isa, Precision};
use crate::memory::Buffer;
use rayon::prelude::*;
use std::ops::Range;

/// A weight `[n, k]` in the layout of the register tile: panels of `columns` output channels, the last one filled up with
/// zeros. It belongs to the instruction set it was packed for.
#[derive(Debug)]
pub struct Packed {
    n: usize,
    k: usize,
    columns: usize,
    panels: Panels,
}

/// The panels of a weight, one after the other.
#[derive(Debug)]
pub(crate) enum Panels {
    /// Each `[k, columns]`.
    F32(Buffer<f32>),
    /// Each `[k / 2, columns]` pairs of neighbours along `k`.
    Bf16(Avx512Bf16, Buffer<u32>),
}

impl Packed {
    /// Packs a row-major `[n, k]` weight.
    #[must_use]
    pub fn new(isa: Isa, precision: Precision, n: usize, k: usize, w: &[f32]) -> Self {
        assert_eq!(w.len(), n * k);
        let columns = micro::columns(isa);
        let panels = match precision {
            Precision::F32 => Panels::F32(fill_rows(n, k, columns, |channels, out| {
                let rows: Vec<&[f32]> = channels.map(|channel| &w[channel * k..][..k]).collect();
                transpose_panel(isa, &rows, k, out, columns);
            })),
            Precision::Bf16(proof) => {
                assert_eq!(columns, bf16::COLUMNS, "bf16 products are for AVX-512");
                let pairs = k.div_ceil(2);
                Panels::Bf16(
                    proof,
                    fill_rows(n, pairs, columns, |channels, out: &mut [u32]| {
                        let mut joined = vec![0; channels.len() * pairs];
                        for (channel, joined) in channels.zip(joined.chunks_mut(pairs.max(1))) {
                            bf16::join_neighbours(proof, &w[channel * k..][..k], joined);
                        }
                        let rows: Vec<&[u32]> = joined.chunks(pairs.max(1)).collect();
                        transpose_panel(isa, &rows, pairs, out, columns);
                    }),
                )
            }
        };
        Self { n, k, columns, panels }
    }

    /// Packs the weight whose element `[channel, p]` is `value(channel, p)`.
    #[must_use]
    pub fn from_fn(
        isa: Isa,
        precision: Precision,
        n: usize,
        k: usize,
        value: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        let columns = micro::columns(isa);
        let panels = match precision {
            Precision::F32 => Panels::F32(fill(n, k, columns, &value)),
            Precision::Bf16(proof) => {
                assert_eq!(columns, bf16::COLUMNS, "bf16 products are for AVX-512");
                let second = |channel, p| if 2 * p + 1 < k { value(channel, 2 * p + 1) } else { 0.0 };
                let pair = |channel, p| bf16::pair(value(channel, 2 * p), second(channel, p));
                Panels::Bf16(proof, fill(n, k.div_ceil(2), columns, &pair))
            }
        };
        Self { n, k, columns, panels }
    }

    /// Output channels.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input channels.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::F32(panels) => size_of_val(&**panels),
            Panels::Bf16(_, panels) => size_of_val(&**panels),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn panel_count(&self) -> usize {
        self.n.div_ceil(self.columns)
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }
}

/// Panels of `columns` channels, each `[k, columns]`, which `fill` writes from the channels it is given; zeros beyond them.
fn fill_rows<T: Copy + bytemuck::Zeroable + Send>(
    n: usize,
    k: usize,
    columns: usize,
    fill: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> Buffer<T> {
    let mut panels = Buffer::zeroed(n.div_ceil(columns) * columns * k);
    panels.par_chunks_mut((columns * k).max(1)).enumerate().for_each(|(panel, out)| {
        fill(panel * columns..((panel + 1) * columns).min(n), out);
    });
    panels
}

/// `out[p * columns + j] = rows[j][p]`, whatever a value is. Moving four bytes as `f32` changes no bit.
pub(in crate::matmul) fn transpose_panel<T: bytemuck::Pod>(
    isa: Isa,
    rows: &[&[T]],
    k: usize,
    out: &mut [T],
    columns: usize,
) {
    let out: &mut [f32] = bytemuck::cast_slice_mut(out);
    // Full blocks of rows only: a narrower one may write behind itself.
    for (block, rows) in rows.chunks(MOST_ROWS).enumerate() {
        let mut from = [&[] as &[f32]; MOST_ROWS];
        for (from, row) in from.iter_mut().zip(rows) {
            *from = bytemuck::cast_slice(row);
        }
        let (isa, out) =
            (if rows.len() == MOST_ROWS { isa } else { Isa::Portable }, &mut out[block * MOST_ROWS..]);
        transpose(isa, &from[..rows.len()], k, out, columns);
    }
}

/// Panels of `columns` channels, each `[k, columns]`, of the elements `value(channel, p)`.
fn fill<T: Copy + bytemuck::Zeroable + Send>(
    n: usize,
    k: usize,
    columns: usize,
    value: &(impl Fn(usize, usize) -> T + Sync),
) -> Buffer<T> {
    let mut panels = Buffer::zeroed(n.div_ceil(columns) * columns * k);
    panels.par_chunks_mut((columns * k).max(1)).enumerate().for_each(|(panel, out)| {
        let first = panel * columns;
        for j in 0..columns.min(n - first) {
            for p in 0..k {
                out[p * columns + j] = value(first + j, p);
            }
        }
    });
    panels
}

/// Where the rows of the left operand come from: a matrix, or a picture seen through a sliding kernel.
pub(crate) trait LeftRows: Sync {
    /// Writes columns `first_k .. first_k + k` of rows `first .. first + rows` as `[k, rows]`.
    fn pack(&self, isa: Isa, first: usize, rows: usize, first_k: usize, k: usize, out: &mut [f32]);

    /// As [`LeftRows::pack`], as pairs of neighbours along `k`: `[k / 2, rows]`. `room` has [`MOST_ROWS`] times `k` elements
    /// and those of a vector twice.
    #[allow(clippy::too_many_arguments)]
    fn pack_pairs(
        &self,
        isa: Isa,
        proof: Avx512Bf16,
        first: usize,
        rows: usize,
        first_k: usize,
        k: usize,
        room: &mut [f32],
        out: &mut [u32],
    );
}

/// The rows of a row-major matrix.
pub(crate) struct MatrixRows<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

impl LeftRows for MatrixRows<'_> {
    fn pack(&self, isa: Isa, first: usize, rows: usize, first_k: usize, k: usize, out: &mut [f32]) {
        let mut slices = [&[] as &[f32]; MOST_ROWS];
        for (i, slice) in slices[..rows].iter_mut().enumerate() {
            *slice = &self.values[(first + i) * self.stride + first_k..][..k];
        }
        transpose(isa, &slices[..rows], k, out, rows);
    }

    fn pack_pairs(
        &self,
        isa: Isa,
        proof: Avx512Bf16,
        first: usize,
        rows: usize,
        first_k: usize,
        k: usize,
        room: &mut [f32],
        out: &mut [u32],
    ) {
        let mut slices = [&[] as &[f32]; MOST_ROWS];
        for (i, slice) in slices[..rows].iter_mut().enumerate() {
            *slice = &self.values[(first + i) * self.stride + first_k..][..k];
        }
        transpose_pairs(isa, proof, &slices[..rows], k, bytemuck::cast_slice_mut(room), out, rows);
    }
}

/// `out[p * stride + i]` is the pair of `from[i][2p]` and the value after it, for `k` values; as [`transpose`] otherwise. `room`
/// holds the rows' pairs on the way.
pub(crate) fn transpose_pairs(
    isa: Isa,
    proof: Avx512Bf16,
    from: &[&[f32]],
    k: usize,
    room: &mut [u32],
    out: &mut [u32],
    stride: usize,
) {
    let pairs = k.div_ceil(2);
    for (row, joined) in from.iter().zip(room.chunks_exact_mut(pairs.max(1))) {
        bf16::join_neighbours(proof, &row[..k], joined);
    }
    let mut rows = [&[] as &[f32]; MOST_ROWS];
    for (row, joined) in rows.iter_mut().zip(room.chunks_exact(pairs.max(1))).take(from.len()) {
        *row = bytemuck::cast_slice(joined); // only moved, never computed with
    }
    transpose(isa, &rows[..from.len()], pairs, bytemuck::cast_slice_mut(out), stride);
}

/// Rows that [`transpose`] takes at most.
pub(crate) const MOST_ROWS: usize = 16;

/// `out[p * stride + i] = from[i][p]` for `p < k`, with `stride` at least the number of rows. May write zeros to up to 15
/// values behind each column (where `out` goes on), so that blocks are packed in rising order.
pub(crate) fn transpose(isa: Isa, from: &[&[f32]], k: usize, out: &mut [f32], stride: usize) {
    let rows = from.len();
    assert!(rows <= MOST_ROWS && rows <= stride && from.iter().all(|row| row.len() >= k));
    assert!(k == 0 || out.len() >= (k - 1) * stride + rows);
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Isa::Avx512(_) = isa {
        while done + 16 <= k && (done + 15) * stride + 16 <= out.len() {
            // SAFETY: the token proves AVX-512; every row has 16 values from `done` on, and the last of the 16 stores
            // ends at (done + 15) * stride + 16 <= out.len().
            unsafe { transpose_16(from, done, out.as_mut_ptr().add(done * stride), stride) };
            done += 16;
        }
    }
    #[cfg(target_arch = "x86_64")]
    if let Isa::Avx2(_) = isa {
        let width = if rows > 8 { 16 } else { 8 };
        while done + 8 <= k && (done + 7) * stride + width <= out.len() {
            // SAFETY: the token proves AVX2; every row has 8 values from `done` on, and the last of the 8 columns of
            // stores ends at (done + 7) * stride + width <= out.len().
            unsafe { transpose_8(from, done, out.as_mut_ptr().add(done * stride), stride) };
            done += 8;
        }
    }
    let _ = isa;
    for p in done..k {
        for (i, row) in from.iter().enumerate() {
            out[p * stride + i] = row[p];
        }
    }
}

/// Transposes 16 columns of up to 16 rows; writes 16 values at each `p * stride`, zeros beyond the rows.
///
/// # Safety
/// AVX-512 F must be present; each of the up to 16 rows must hold 16 values from `first` on, and `out`
/// `15 * stride + 16` values.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_16(from: &[&[f32]], first: usize, out: *mut f32, stride: usize) {
    use std::arch::x86_64::*;
    let mut x = [_mm512_setzero_ps(); 16];
    for (register, row) in x.iter_mut().zip(from) {
        // SAFETY: the caller vouches for 16 values of each row.
        *register = unsafe { _mm512_loadu_ps(row.as_ptr().add(first)) };
    }
    // Within 128-bit lanes: pairs, then quadruples; then whole lanes across registers.
    let mut y = [_mm512_setzero_ps(); 16];
    for i in 0..8 {
        y[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
    }
    for i in 0..4 {
        let [a, b, c, d] = [y[4 * i], y[4 * i + 1], y[4 * i + 2], y[4 * i + 3]];
        x[4 * i] = _mm512_shuffle_ps::<0x44>(a, c);
        x[4 * i + 1] = _mm512_shuffle_ps::<0xee>(a, c);
        x[4 * i + 2] = _mm512_shuffle_ps::<0x44>(b, d);
        x[4 * i + 3] = _mm512_shuffle_ps::<0xee>(b, d);
    }
    for i in 0..4 {
        let (a, b) = (x[i], x[i + 4]);
        let (c, d) = (x[i + 8], x[i + 12]);
        let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        y[i] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
        y[i + 8] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
        y[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
        y[i + 12] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
    }
    for (p, column) in y.iter().enumerate() {
        // SAFETY: the caller vouches for the room; stores are in rising order, so each row's excess is overwritten.
        unsafe { _mm512_storeu_ps(out.add(p * stride), *column) };
    }
}

/// Transposes 8 columns of up to 16 rows; writes 8 values (16 of more than 8 rows) at each `p * stride`, zeros beyond the rows.
///
/// # Safety
/// AVX2 must be present; each of the up to 16 rows must hold 8 values from `first` on, and `out` `7 * stride` values and those
/// written behind.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn transpose_8(from: &[&[f32]], first: usize, out: *mut f32, stride: usize) {
    use std::arch::x86_64::*;
    let mut columns = [[_mm256_setzero_ps(); 8]; 2];
    for (columns, from) in columns.iter_mut().zip(from.chunks(8)) {
        let mut x = [_mm256_setzero_ps(); 8];
        for (register, row) in x.iter_mut().zip(from) {
            // SAFETY: the caller vouches for 8 values of each row.
            *register = unsafe { _mm256_loadu_ps(row.as_ptr().add(first)) };
        }
        // Within 128-bit lanes: pairs, then quadruples; then whole lanes across registers.
        for i in [0, 4] {
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(x[i], x[i + 1]), _mm256_unpackhi_ps(x[i], x[i + 1]));
            let (cd_low, cd_high) =
                (_mm256_unpacklo_ps(x[i + 2], x[i + 3]), _mm256_unpackhi_ps(x[i + 2], x[i + 3]));
            x[i] = _mm256_shuffle_ps::<0x44>(ab_low, cd_low);
            x[i + 1] = _mm256_shuffle_ps::<0xee>(ab_low, cd_low);
            x[i + 2] = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
            x[i + 3] = _mm256_shuffle_ps::<0xee>(ab_high, cd_high);
        }
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(x[i], x[i + 4]);
            columns[i + 4] = _mm256_permute2f128_ps::<0x31>(x[i], x[i + 4]);
        }
    }
    let [first, second] = columns;
    for (p, (first, second)) in first.into_iter().zip(second).enumerate() {
        // SAFETY: the caller vouches for the room; stores are in rising order, so each row's excess is overwritten.
        unsafe {
            _mm256_storeu_ps(out.add(p * stride), first);
            if from.len() > 8 {
                _mm256_storeu_ps(out.add(p * stride + 8), second);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_rows_is_packing_their_elements() {
        for isa in Isa::available() {
            for (n, k) in [(0, 3), (1, 1), (5, 7), (32, 33), (70, 40), (48, 130)] {
                let w: Vec<f32> = (0..n * k).map(|i| (i * 37 % 101) as f32 - 50.5).collect();
                let element = |channel: usize, p: usize| w[channel * k + p];
                let bf16 = Avx512Bf16::detect().filter(|_| matches!(isa, Isa::Avx512(_)));
                for precision in [Some(Precision::F32), bf16.map(Precision::Bf16)].into_iter().flatten() {
                    let (rows, elements) = (
                        Packed::new(isa, precision, n, k, &w),
                        Packed::from_fn(isa, precision, n, k, element),
                    );
                    match (rows.panels, elements.panels) {
                        (Panels::F32(x), Panels::F32(y)) => assert_eq!(*x, *y, "{isa} {n} x {k}"),
                        (Panels::Bf16(_, x), Panels::Bf16(_, y)) => assert_eq!(*x, *y, "{isa} {n} x {k}"),
                        _ => panic!("two precisions"),
                    }
                }
            }
        }
    }

    #[test]
    fn every_transpose_is_the_plain_one() {
        for isa in Isa::available() {
            for rows in 1..=16 {
                for k in [0, 1, 15, 16, 17, 40] {
                    let from: Vec<f32> = (0..rows * k).map(|x| x as f32).collect();
                    let slices: Vec<&[f32]> = (0..rows).map(|i| &from[i * k..][..k]).collect();
                    let mut out = vec![-1.0; rows * k];
                    transpose(isa, &slices, k, &mut out, rows);
                    for p in 0..k {
                        for i in 0..rows {
                            assert_eq!(out[p * rows + i], from[i * k + p], "{isa} {rows}x{k}");
                        }
                    }
                }
            }
        }
    }
}
