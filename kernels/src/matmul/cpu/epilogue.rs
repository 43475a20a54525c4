//! What happens to a tile on its way out: sums of earlier `k` blocks, bias, activation, residual.

use crate::isa::multiversion;
use crate::math::gelu;
use crate::matmul::Activation;

multiversion!(
    /// `out = tile`, or `out += tile` where earlier blocks of `k` came before.
    pub fn accumulate = accumulate_body(first: bool, tile: &[f32], out: &mut [f32])
);

#[inline(always)]
fn accumulate_body(first: bool, tile: &[f32], out: &mut [f32]) {
    if first {
        return out.copy_from_slice(tile);
    }
    for (o, &t) in out.iter_mut().zip(tile) {
        *o += t;
    }
}

multiversion!(
    /// Finishes a row of sums in place: bias, activation, residual.
    pub fn finish = finish_body(row: &mut [f32], bias: Option<&[f32]>, activation: Activation, residual: Option<&[f32]>)
);

#[inline(always)]
fn finish_body(row: &mut [f32], bias: Option<&[f32]>, activation: Activation, residual: Option<&[f32]>) {
    if let Some(bias) = bias {
        for (o, &b) in row.iter_mut().zip(bias) {
            *o += b;
        }
    }
    match activation {
        Activation::None => {}
        Activation::Relu => row.iter_mut().for_each(|o| *o = if *o < 0.0 { 0.0 } else { *o }),
        Activation::Gelu => row.iter_mut().for_each(|o| *o = gelu(*o)),
    }
    if let Some(residual) = residual {
        for (o, &r) in row.iter_mut().zip(residual) {
            *o += r;
        }
    }
}
