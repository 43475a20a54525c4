//! Max pool, vectorised along the channels, rows of the result in parallel.

use super::larger;
use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Max pool of a map `w` wide of `c` channels. See the [module](super) for the contract.
pub fn run(isa: Isa, w: usize, c: usize, x: &[f32], out: &mut [f32]) {
    let row = w / 2 * c;
    for_rows(out, row, 5 * row, |first, rows| {
        for (i, out) in rows.chunks_exact_mut(row).enumerate() {
            let (top, bottom) = x[2 * (first + i) * w * c..][..2 * w * c].split_at(w * c);
            pool_row(isa, c, top, bottom, out);
        }
    });
}

multiversion!(fn pool_row = pool_row_body(c: usize, top: &[f32], bottom: &[f32], out: &mut [f32]));

#[inline(always)]
fn pool_row_body(c: usize, top: &[f32], bottom: &[f32], out: &mut [f32]) {
    let squares = top.chunks_exact(2 * c).zip(bottom.chunks_exact(2 * c));
    for (out, (top, bottom)) in out.chunks_exact_mut(c).zip(squares) {
        for i in 0..c {
            out[i] = larger(larger(top[i], top[c + i]), larger(bottom[i], bottom[c + i]));
        }
    }
}
