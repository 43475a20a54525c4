//! The fast copy: whole runs where the last axis is contiguous, 16 x 16 tiles where the one before it is, element by
//! element otherwise.

use super::Layout;
use crate::parallel::for_rows;

/// Elements a task copies at least, so that a cache line is never shared by two tasks for long.
const BLOCK: usize = 4096;
/// Edge of a transposed tile: a cache line of f32.
const TILE: usize = 16;
/// Rows transposed together: a column of so many tiles reads whole runs of its source, and touches no more pages of
/// memory than the address cache of a core holds.
const BAND: usize = 128;

/// Copies the view of `x` with these extents and strides. See the [module](super) for the contract.
pub fn run(shape: &[usize], strides: &[usize], x: &[f32], out: &mut [f32]) {
    let layout = Layout::new(shape, strides);
    assert_eq!(out.len(), layout.len());
    assert!(x.len() >= layout.reach());
    match (layout.shape(), layout.strides()) {
        ([.., rows, cols], [.., 1, step]) if *step != 1 && *step != 0 => {
            transposed(&layout, *rows, *cols, *step, x, out);
        }
        _ => for_blocks(out, |first, block| runs(&layout, first, x, block)),
    }
}

/// Copies `x` to `out`, which is as long.
pub fn flat(x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    for_blocks(out, |first, block| block.copy_from_slice(&x[first..][..block.len()]));
}

/// Calls `f(first_element, block)` for consecutive blocks of `out`, in parallel when there is enough of it.
pub fn for_blocks(out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    let whole = out.len() / BLOCK * BLOCK;
    let (blocks, rest) = out.split_at_mut(whole);
    for_rows(blocks, BLOCK, 2 * BLOCK, |first, rows| f(first * BLOCK, rows));
    if !rest.is_empty() {
        f(whole, rest);
    }
}

fn runs(layout: &Layout, first: usize, x: &[f32], out: &mut [f32]) {
    let (_, stride) = layout.run();
    layout.for_runs(first, out.len(), |done, at, n| {
        let out = &mut out[done..][..n];
        match stride {
            0 => out.fill(x[at]),
            1 => out.copy_from_slice(&x[at..][..n]),
            _ => {
                let run = x[at..].iter().step_by(stride);
                out.iter_mut().zip(run).for_each(|(o, &v)| *o = v);
            }
        }
    });
}

/// Rows of `cols` elements `step` apart, `rows` of them beginning one element after the other; then the outer axes.
fn transposed(layout: &Layout, rows: usize, cols: usize, step: usize, x: &[f32], out: &mut [f32]) {
    for_rows(out, cols, 4 * cols, |first, chunk| {
        let (mut row, last) = (first, first + chunk.len() / cols);
        while row < last {
            let n = BAND.min(last - row).min(rows - row % rows);
            let at = layout.row_at(row);
            let band = &mut chunk[(row - first) * cols..][..n * cols];
            for column in (0..cols).step_by(TILE) {
                transpose_tiles(&x[at + column * step..], step, cols, column, band);
            }
            row += n;
        }
    });
}

/// Columns `column..column + TILE` of a band: `band[i, column + j] = x[i + j * step]`.
fn transpose_tiles(x: &[f32], step: usize, cols: usize, column: usize, band: &mut [f32]) {
    let width = TILE.min(cols - column);
    let mut tile = [[0f32; TILE]; TILE];
    for (i, rows) in band.chunks_mut(TILE * cols).enumerate() {
        let height = rows.len() / cols;
        for j in 0..width {
            let run = &x[i * TILE + j * step..][..height];
            run.iter().zip(&mut tile).for_each(|(&v, row)| row[j] = v);
        }
        for (row, out) in tile.iter().zip(rows.chunks_exact_mut(cols)) {
            out[column..][..width].copy_from_slice(&row[..width]);
        }
    }
}
