//! The fast mean: blocks of columns in parallel, each adding row to row.

use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Columns summed together: their f64 sums stay in registers and the first-level cache.
const BLOCK: usize = 256;

/// Mean of the kept rows of `out.len()` elements. See the [module](super) for the contract.
pub fn run(isa: Isa, x: &[f32], keep: &[bool], out: &mut [f32]) {
    let c = out.len();
    assert_eq!(x.len(), keep.len() * c);
    for_rows(out, 1, keep.len(), |first, columns| mean_columns(isa, c, first, x, keep, columns));
}

multiversion!(
    fn mean_columns = mean_columns_body(c: usize, first: usize, x: &[f32], keep: &[bool], out: &mut [f32])
);

#[inline(always)]
fn mean_columns_body(c: usize, first: usize, x: &[f32], keep: &[bool], out: &mut [f32]) {
    let scale = super::scale(keep);
    for (b, out) in out.chunks_mut(BLOCK).enumerate() {
        let at = first + b * BLOCK;
        let mut sums = [0f64; BLOCK];
        for (row, _) in keep.iter().enumerate().filter(|(_, kept)| **kept) {
            for (sum, &v) in sums.iter_mut().zip(&x[row * c + at..][..out.len()]) {
                *sum += f64::from(v);
            }
        }
        for (o, sum) in out.iter_mut().zip(sums) {
            *o = (sum * scale) as f32;
        }
    }
}
