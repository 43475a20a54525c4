//! The fast partition: rows of windows in parallel, each a copy of one run of the map.

use super::Params;
use crate::parallel::for_rows;

/// Cuts the map `x` into windows. See the [module](super) for the contract.
pub fn partition(params: Params, x: &[f32], windows: &mut [f32]) {
    let Params { h, w, c, window } = params;
    assert_eq!(x.len(), h * w * c);
    assert_eq!(windows.len(), params.windows() * window * window * c);
    let run = window * c;
    for_rows(windows, run, 2 * run, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(run).enumerate() {
            let number = (first + i) / window;
            let y = number / params.across() * window + (first + i) % window;
            let left = number % params.across() * window;
            let inside = if y < h { window.min(w - left) * c } else { 0 };
            if inside > 0 {
                row[..inside].copy_from_slice(&x[(y * w + left) * c..][..inside]);
            }
            row[inside..].fill(0.0);
        }
    });
}

/// Puts the map together again. See the [module](super) for the contract.
pub fn merge(params: Params, windows: &[f32], x: &mut [f32]) {
    let Params { h, w, c, window } = params;
    assert_eq!(x.len(), h * w * c);
    assert_eq!(windows.len(), params.windows() * window * window * c);
    let run = window * c;
    for_rows(x, w * c, 2 * w * c, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(w * c).enumerate() {
            let y = first + i;
            let number = y / window * params.across();
            for (wx, out) in row.chunks_mut(run).enumerate() {
                let at = ((number + wx) * window + y % window) * run;
                out.copy_from_slice(&windows[at..][..out.len()]);
            }
        }
    });
}
