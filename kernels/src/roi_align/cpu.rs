//! The fast RoI align. The bilinear weights of all samples of a bin are a product of a sum over its rows and a sum over
//! its columns, so each bin reads each of its pixels once instead of up to four times a sample.

use super::{Axis, Params, neighbours};
use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Averages the boxes. See the [module](super) for the contract.
pub fn run(isa: Isa, params: Params, x: &[f32], boxes: &[f32], out: &mut [f32]) {
    let Params { map: [h, w], c, size } = params;
    assert_eq!(x.len(), h * w * c);
    assert_eq!(out.len(), boxes.len() / 4 * size * size * c);
    for_rows(out, size * c, 64 * size * c, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(size * c).enumerate() {
            let (number, bin) = ((first + i) / size, (first + i) % size);
            let [down, across] = Axis::of_box(&boxes[4 * number..][..4], size);
            let y = Weights::new(down, bin, h);
            for (column, out) in row.chunks_exact_mut(c).enumerate() {
                mean_of_bin(isa, w, x, &y, &Weights::new(across, column, w), out);
            }
        }
    });
}

/// What every pixel of an axis counts in the mean of one bin, from the first that counts on.
struct Weights {
    first: usize,
    weights: Vec<f32>,
}

impl Weights {
    fn new(axis: Axis, bin: usize, len: usize) -> Self {
        let begin = first_sample(axis, |i| axis.position(bin, i) >= -1.0);
        let end = first_sample(axis, |i| axis.position(bin, i) > len as f32);
        let scale = 1.0 / axis.samples as f32;
        let mut found = Self { first: 0, weights: Vec::new() };
        for pixels in (begin..end).filter_map(|i| neighbours(axis.position(bin, i), len)) {
            if found.weights.is_empty() {
                found.first = pixels[0].0;
            }
            for (pixel, weight) in pixels {
                let at = pixel - found.first;
                found.weights.resize(found.weights.len().max(at + 1), 0.0);
                found.weights[at] += weight * scale;
            }
        }
        found
    }
}

/// The first sample with a property that all later samples have too; the number of samples if none has.
fn first_sample(axis: Axis, has: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, axis.samples);
    while low < high {
        let middle = low + (high - low) / 2;
        if has(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

multiversion!(
    fn mean_of_bin = mean_of_bin_body(w: usize, x: &[f32], down: &Weights, across: &Weights, out: &mut [f32])
);

#[inline(always)]
fn mean_of_bin_body(w: usize, x: &[f32], down: &Weights, across: &Weights, out: &mut [f32]) {
    let c = out.len();
    out.fill(0.0);
    for (i, &wy) in down.weights.iter().enumerate() {
        let row = &x[((down.first + i) * w + across.first) * c..][..across.weights.len() * c];
        for (pixel, &wx) in row.chunks_exact(c).zip(&across.weights) {
            let weight = wy * wx;
            for (o, &v) in out.iter_mut().zip(pixel) {
                *o += weight * v;
            }
        }
    }
}
