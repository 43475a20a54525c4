//! The plain max pool.

use super::larger;

/// Max pool of a map `w` wide of `c` channels. See the [module](super) for the contract.
pub fn run(w: usize, c: usize, x: &[f32], out: &mut [f32]) {
    let at = |y: usize, column: usize, i: usize| x[(y * w + column) * c + i];
    for (k, o) in out.iter_mut().enumerate() {
        let (i, column, y) = (k % c, 2 * (k / c % (w / 2)), 2 * (k / c / (w / 2)));
        let pairs = [
            larger(at(y, column, i), at(y, column + 1, i)),
            larger(at(y + 1, column, i), at(y + 1, column + 1, i)),
        ];
        *o = larger(pairs[0], pairs[1]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_odd_column_is_dropped_and_a_nan_wins() {
        let mut out = [0.0];
        super::run(3, 1, &[1.0, 4.0, 9.0, 3.0, 2.0, 9.0], &mut out);
        assert_eq!(out, [4.0]);
        super::run(2, 1, &[1.0, f32::NAN, 9.0, 3.0], &mut out);
        assert!(out[0].is_nan());
    }
}
