//! The fast samples: points in parallel, vectorised along the channels.

use super::corners;
use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Samples a map `[h, w, c]`. See the [module](super) for the contract.
pub fn run(isa: Isa, shape: [usize; 3], map: &[f32], points: &[f32], out: &mut [f32]) {
    let [h, w, c] = shape;
    assert_eq!(map.len(), h * w * c);
    for_rows(out, c, 5 * c, |first, rows| {
        for (out, point) in rows.chunks_exact_mut(c).zip(points[2 * first..].chunks_exact(2)) {
            out.fill(0.0);
            for (pixel, weight) in corners(h, w, point) {
                add_weighted(isa, weight, &map[pixel * c..][..c], out);
            }
        }
    });
}

multiversion!(fn add_weighted = add_weighted_body(weight: f32, pixel: &[f32], out: &mut [f32]));

#[inline(always)]
fn add_weighted_body(weight: f32, pixel: &[f32], out: &mut [f32]) {
    for (o, &v) in out.iter_mut().zip(pixel) {
        *o += weight * v;
    }
}
