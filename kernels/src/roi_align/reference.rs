//! The plain RoI align: sample by sample, sums in f64.

use super::{Axis, Params, neighbours};

/// Averages the boxes. See the [module](super) for the contract.
pub fn run(params: Params, x: &[f32], boxes: &[f32], out: &mut [f32]) {
    let Params { map: [h, w], c, size } = params;
    if c == 0 {
        return;
    }
    for (i, out) in out.chunks_exact_mut(c).enumerate() {
        let (number, row, column) = (i / size / size, i / size % size, i % size);
        let [down, across] = Axis::of_box(&boxes[4 * number..][..4], size);
        let inside = |axis: Axis, bin: usize, len: usize| {
            let samples = (0..axis.samples).filter_map(move |s| neighbours(axis.position(bin, s), len));
            samples.collect::<Vec<_>>()
        };
        let (ys, xs) = (inside(down, row, h), inside(across, column, w));
        for (channel, o) in out.iter_mut().enumerate() {
            let mut sum = 0f64;
            for (y, wy) in ys.iter().flatten() {
                for (column, wx) in xs.iter().flatten() {
                    sum += f64::from(wy * wx) * f64::from(x[(y * w + column) * c + channel]);
                }
            }
            *o = (sum / (down.samples * across.samples) as f64) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(map: [usize; 2], x: &[f32], corners: [f32; 4]) -> Vec<f32> {
        let mut out = vec![f32::NAN; 49];
        run(Params { map, c: 1, size: 7 }, x, &corners, &mut out);
        out
    }

    /// `x[y, x] = x + 10 y`, which bilinear samples reproduce where they lie inside.
    fn ramp(h: usize, w: usize) -> Vec<f32> {
        (0..h * w).map(|i| (i % w + 10 * (i / w)) as f32).collect()
    }

    #[test]
    fn bins_of_a_ramp_are_the_values_at_their_centres() {
        let out = aligned([32, 32], &ramp(32, 32), [2.0, 3.0, 16.0, 10.0]);
        for (i, &v) in out.iter().enumerate() {
            let (x, y) = (2.0 + 2.0 * (i % 7) as f32 + 1.0, 3.0 + (i / 7) as f32 + 0.5);
            assert!((v - (x + 10.0 * y)).abs() < 1e-4, "bin {i}: {v}");
        }
    }

    #[test]
    fn a_box_without_extent_is_one_pixel_wide() {
        let out = aligned([8, 8], &ramp(8, 8), [2.0, 2.0, 1.0, 2.0]);
        assert!((out[0] - (2.0 + 0.5 / 7.0 + 10.0 * (2.0 + 0.5 / 7.0))).abs() < 1e-5, "{}", out[0]);
    }

    #[test]
    fn a_box_beside_the_map_is_zero() {
        assert_eq!(aligned([8, 8], &ramp(8, 8), [20.0, 20.0, 30.0, 30.0]), [0.0; 49]);
        assert_eq!(aligned([8, 8], &ramp(8, 8), [-30.0, -30.0, -20.0, -20.0]), [0.0; 49]);
    }
}
