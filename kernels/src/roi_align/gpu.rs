//! RoI align on a GPU: boxes come from the host, so which pixels count for a bin is worked out there, in the reference's own
//! arithmetic; the GPU sums them up ([`crate::grid_sample::gpu::WEIGHTED`]).

use super::{Axis, Params, neighbours};
use crate::grid_sample::gpu::Weighted;

/// The pixels of every bin of every box, box by box, row by row.
#[must_use]
pub fn bins(params: Params, boxes: &[f32]) -> Weighted {
    let Params { map: [h, w], size, .. } = params;
    let mut weighted = Weighted::default();
    for corners in boxes.chunks_exact(4) {
        let [down, across] = Axis::of_box(corners, size);
        let rows: Vec<_> = (0..size).map(|bin| pixels(down, bin, h)).collect();
        let columns: Vec<_> = (0..size).map(|bin| pixels(across, bin, w)).collect();
        let share = 1.0 / (down.samples as f64 * across.samples as f64);
        for row in &rows {
            for column in &columns {
                let products = row.iter().flat_map(|&(y, wy)| {
                    column.iter().map(move |&(x, wx)| (y * w + x, (wy * wx * share) as f32))
                });
                weighted.push(products);
            }
        }
    }
    weighted
}

/// The pixels along an axis of `len` that a bin's samples mix, each once, with the sum of its weights.
fn pixels(axis: Axis, bin: usize, len: usize) -> Vec<(usize, f64)> {
    let mut found: Vec<(usize, f64)> = Vec::new();
    for (pixel, weight) in (0..axis.samples).filter_map(|s| neighbours(axis.position(bin, s), len)).flatten()
    {
        match found.iter_mut().rev().take(2).find(|(seen, _)| *seen == pixel) {
            Some((_, sum)) => *sum += f64::from(weight),
            None if weight != 0.0 => found.push((pixel, f64::from(weight))),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_bin_inside_the_map_add_up_to_one() {
        let weighted = bins(Params { map: [9, 9], c: 1, size: 3 }, &[1.0, 2.0, 7.5, 6.25]);
        assert_eq!(weighted.starts.len(), 10);
        for ends in weighted.starts.windows(2) {
            let entries = &weighted.entries[ends[0] as usize..ends[1] as usize];
            let sum: f32 = entries.iter().map(|e| f32::from_bits(e[1])).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        }
    }
}
