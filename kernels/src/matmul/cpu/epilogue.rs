//! What happens to a tile on its way out: sums of earlier `k` blocks, bias, activation, residual.

use crate::isa::{Arithmetic, multiversion};
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

multiversion!(
    /// Stores a tile, `sums [rows, columns]`, to its rows of the output. `residual` holds as many rows, or none.
    pub(crate) fn finish = finish_body::<A>(
        sums: &[f32],
        columns: usize,
        rows: &mut [&mut [f32]],
        residual: &[&[f32]],
        how: &Finish<'_>,
    )
);

#[inline(always)]
fn finish_body<A: Arithmetic>(
    sums: &[f32],
    columns: usize,
    rows: &mut [&mut [f32]],
    residual: &[&[f32]],
    how: &Finish<'_>,
) {
    for (i, (row, sums)) in rows.iter_mut().zip(sums.chunks_exact(columns)).enumerate() {
        let sums = &sums[..row.len()];
        if how.add {
            row.iter_mut().zip(sums).for_each(|(o, s)| *o += s);
        } else {
            row.copy_from_slice(sums);
        }
        if how.last {
            finish_row::<A>(row, how, residual.get(i).copied());
        }
    }
}

#[inline(always)]
fn finish_row<A: Arithmetic>(row: &mut [f32], how: &Finish<'_>, residual: Option<&[f32]>) {
    if let Some(bias) = how.bias {
        row.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
    }
    match how.activation {
        Activation::None => {}
        Activation::Relu => row.iter_mut().for_each(|o| *o = if *o < 0.0 { 0.0 } else { *o }),
        Activation::Gelu => row.iter_mut().for_each(|o| *o = gelu_with::<A>(*o)),
    }
    if let Some(residual) = residual {
        row.iter_mut().zip(residual).for_each(|(o, r)| *o += r);
    }
}
