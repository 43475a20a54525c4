//! The fast concatenation: rows in parallel, or the parts of a single row one after the other, each in parallel.

use super::Part;
use crate::copy::cpu::flat;
use crate::parallel::for_rows;

/// Writes row after row, part after part. See the [module](super) for the contract.
pub fn run(rows: usize, parts: &[Part<'_>], out: &mut [f32]) {
    let row_len = parts.iter().map(|part| part.len).sum::<usize>();
    assert_eq!(out.len(), rows * row_len);
    assert!(parts.iter().all(|part| part.values.len() == rows * part.len));
    if rows == 1 {
        return one_row(parts, out);
    }
    for_rows(out, row_len, 2 * row_len, |first, chunk| {
        for (i, out) in chunk.chunks_exact_mut(row_len).enumerate() {
            let mut rest = out;
            for part in parts {
                let (out, after) = rest.split_at_mut(part.len);
                out.copy_from_slice(&part.values[(first + i) * part.len..][..part.len]);
                rest = after;
            }
        }
    });
}

fn one_row(parts: &[Part<'_>], out: &mut [f32]) {
    let mut rest = out;
    for part in parts {
        let (out, after) = rest.split_at_mut(part.len);
        flat(part.values, out);
        rest = after;
    }
}
