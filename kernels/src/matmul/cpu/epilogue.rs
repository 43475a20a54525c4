//! What happens to a tile on its way out: sums of earlier `k` blocks, bias, activation, residual.

use super::micro::Tile;
use crate::isa::{Arithmetic, Isa, multiversion};
use crate::math::gelu_with;
use crate::matmul::Activation;

/// What is to be done with a tile besides storing it.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// Whether the output holds sums of earlier blocks of `k`.
    pub add: bool,
    /// Whether this is the last block of `k`, so that the rest applies.
    pub last: bool,
    /// A value a column.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
}

/// Stores a tile, `sums [rows, columns]`, to its rows of the output. `residual` holds as many rows, or none. What `sums`
/// holds afterwards means nothing.
pub(crate) fn finish(
    isa: Isa,
    sums: &mut Tile,
    columns: usize,
    rows: &mut [&mut [f32]],
    residual: &[&[f32]],
    how: &Finish<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Avx512(_) = isa
        && columns == wide::COLUMNS
        && rows.iter().all(|row| row.len() == columns)
        && residual.iter().all(|row| row.len() == columns)
        && how.bias.is_none_or(|bias| bias.len() == columns)
    {
        assert!(
            rows.len() * columns <= sums.0.len() && (residual.is_empty() || residual.len() == rows.len())
        );
        // SAFETY: the token proves AVX-512; all lengths were just checked.
        unsafe { wide::finish(sums, rows, residual, how) };
        return;
    }
    finish_rows(isa, sums, columns, rows, residual, how);
}

multiversion!(
    fn finish_rows = finish_rows_body::<A>(
        sums: &mut Tile,
        columns: usize,
        rows: &mut [&mut [f32]],
        residual: &[&[f32]],
        how: &Finish<'_>,
    )
);

#[inline(always)]
fn finish_rows_body<A: Arithmetic>(
    sums: &mut Tile,
    columns: usize,
    rows: &mut [&mut [f32]],
    residual: &[&[f32]],
    how: &Finish<'_>,
) {
    for (row, sums) in rows.iter().zip(sums.0.chunks_exact_mut(columns)) {
        let sums = &mut sums[..row.len()];
        if how.add {
            sums.iter_mut().zip(&**row).for_each(|(s, o)| *s += o);
        }
        if let Some(bias) = how.bias.filter(|_| how.last) {
            sums.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
        }
    }
    // The whole tile as one run, which a loop over vectors fills better than its short rows.
    let run = &mut sums.0[..rows.len() * columns];
    match how.activation {
        Activation::Relu if how.last => run.iter_mut().for_each(|s| *s = if *s < 0.0 { 0.0 } else { *s }),
        Activation::Gelu if how.last => gelu_body::<A>(run),
        _ => {}
    }
    for (i, (row, sums)) in rows.iter_mut().zip(sums.0.chunks_exact(columns)).enumerate() {
        match residual.get(i).filter(|_| how.last) {
            Some(residual) => {
                row.iter_mut().zip(sums).zip(*residual).for_each(|((o, s), r)| *o = s + r);
            }
            None => row.copy_from_slice(&sums[..row.len()]),
        }
    }
}

#[inline(always)]
fn gelu_body<A: Arithmetic>(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = gelu_with::<A>(*v));
}

/// Full tiles with AVX-512, in one pass.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Activation, Finish, Tile};
    use crate::wide_math::gelu;
    use std::arch::x86_64::*;

    pub(super) const COLUMNS: usize = 32;

    /// # Safety
    /// AVX-512 F must be present; rows, residual rows (as many, or none) and bias must be [`COLUMNS`] long, and `sums` hold
    /// as many rows.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn finish(sums: &Tile, rows: &mut [&mut [f32]], residual: &[&[f32]], how: &Finish<'_>) {
        let zero = _mm512_setzero_ps();
        // SAFETY: the caller vouches for the lengths.
        unsafe {
            let bias = how.bias.filter(|_| how.last).map_or([zero; 2], |b| load(b.as_ptr()));
            let activation = if how.last { how.activation } else { Activation::None };
            let floor = _mm512_set1_ps(if activation == Activation::Relu { 0.0 } else { f32::NEG_INFINITY });
            let residual = if how.last { residual } else { &[] };
            for (i, row) in rows.iter_mut().enumerate() {
                let mut values = load(sums.0.as_ptr().add(i * COLUMNS));
                if how.add {
                    values = add(values, load(row.as_ptr()));
                }
                values = add(values, bias);
                if activation == Activation::Gelu {
                    values = [gelu(values[0]), gelu(values[1])];
                }
                // The second operand is what a comparison with NaN gives, so NaN stays.
                values = [_mm512_max_ps(floor, values[0]), _mm512_max_ps(floor, values[1])];
                if let Some(residual) = residual.get(i) {
                    values = add(values, load(residual.as_ptr()));
                }
                store(row.as_mut_ptr(), values);
            }
        }
    }

    /// # Safety
    /// AVX-512 F must be present; `from` must hold [`COLUMNS`] values.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load(from: *const f32) -> [__m512; 2] {
        // SAFETY: the caller vouches for the values.
        unsafe { [_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16))] }
    }

    /// # Safety
    /// AVX-512 F must be present; `to` must have room for [`COLUMNS`] values.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn store(to: *mut f32, values: [__m512; 2]) {
        // SAFETY: the caller vouches for the room.
        unsafe {
            _mm512_storeu_ps(to, values[0]);
            _mm512_storeu_ps(to.add(16), values[1]);
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn add(a: [__m512; 2], b: [__m512; 2]) -> [__m512; 2] {
        [_mm512_add_ps(a[0], b[0]), _mm512_add_ps(a[1], b[1])]
    }
}
