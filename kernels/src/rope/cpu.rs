//! The fast rotation: tokens in parallel, pairs vectorised.

use super::Params;
use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Rotates q and k in place. See the [module](super) for the contract.
pub fn run(isa: Isa, params: Params, table: &[f32], qkv: &mut [f32]) {
    let width = params.heads * params.head_dim;
    if width == 0 || qkv.is_empty() {
        return;
    }
    assert_eq!(params.head_dim % 2, 0);
    assert!(!table.is_empty() && table.len().is_multiple_of(params.head_dim));
    let tokens = table.len() / params.head_dim;
    for_rows(qkv, 3 * width, 4 * width, |first, rows| {
        rotate_rows(isa, params.head_dim, width, tokens, first, table, rows);
    });
}

multiversion!(
    fn rotate_rows = rotate_rows_body(
        head_dim: usize,
        width: usize,
        tokens: usize,
        first: usize,
        table: &[f32],
        rows: &mut [f32],
    )
);

#[inline(always)]
fn rotate_rows_body(
    head_dim: usize,
    width: usize,
    tokens: usize,
    first: usize,
    table: &[f32],
    rows: &mut [f32],
) {
    for (i, row) in rows.chunks_exact_mut(3 * width).enumerate() {
        let angles = &table[(first + i) % tokens * head_dim..][..head_dim];
        for head in row[..2 * width].chunks_exact_mut(head_dim) {
            for (pair, angle) in head.chunks_exact_mut(2).zip(angles.chunks_exact(2)) {
                let (u, v) = (pair[0], pair[1]);
                pair[0] = u * angle[0] - v * angle[1];
                pair[1] = u * angle[1] + v * angle[0];
            }
        }
    }
}
