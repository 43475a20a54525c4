//! The plain samples, sums in f64.

use super::corners;

/// Samples a map `[h, w, c]`. See the [module](super) for the contract.
pub fn run(shape: [usize; 3], map: &[f32], points: &[f32], out: &mut [f32]) {
    let [h, w, c] = shape;
    for (i, o) in out.iter_mut().enumerate() {
        let around = corners(h, w, &points[2 * (i / c)..][..2]);
        let terms = around.map(|(pixel, weight)| f64::from(weight) * f64::from(map[pixel * c + i % c]));
        *o = terms.sum::<f64>() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn corners_outside_the_map_count_as_zero() {
        let mut out = [9.0; 4];
        run([1, 2, 1], &[2.0, 4.0], &[0.5, 0.0, -0.5, 0.0, 1.0, 0.5, -1e30, 1e30], &mut out);
        assert_eq!(out, [3.0, 1.0, 2.0, 0.0]);
    }
}
