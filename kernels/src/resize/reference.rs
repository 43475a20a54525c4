//! The plain resampling: result by result.

use super::{Params, Tap};

/// Doubles a map `w` wide of `c` channels. See the [module](super) for the contract.
pub fn nearest_2x(w: usize, c: usize, coarse: &[f32], out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = coarse[source(w, c, i)];
    }
}

/// Adds a doubled map `w` wide of `c` channels to `fine`. See the [module](super) for the contract.
///
/// With `fine` absent, `out` holds it and is overwritten by the sum.
pub fn add_nearest_2x(w: usize, c: usize, fine: Option<&[f32]>, coarse: &[f32], out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = fine.map_or(*o, |fine| fine[i]) + coarse[source(w, c, i)];
    }
}

/// Where element `i` of the doubled map comes from.
fn source(w: usize, c: usize, i: usize) -> usize {
    let (channel, x, y) = (i % c, i / c % (2 * w), i / c / (2 * w));
    (y / 2 * w + x / 2) * c + channel
}

/// Bilinear resampling. See the [module](super) for the contract.
pub fn bilinear(params: Params, x: &[f32], out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = interpolated(params, x, i);
    }
}

/// Where bilinear resampling is above `threshold`. See the [module](super) for the contract.
pub fn bilinear_threshold(params: Params, threshold: f32, x: &[f32], out: &mut [u8]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = u8::from(interpolated(params, x, i) > threshold);
    }
}

fn interpolated(Params { from, to }: Params, x: &[f32], i: usize) -> f32 {
    let across = Tap::new(i % to[1], from[1], to[1]);
    let down = Tap::new(i / to[1] % to[0], from[0], to[0]);
    let plane = i / to[1] / to[0] * from[0];
    let row = |y: usize| &x[(plane + y) * from[1]..][..from[1]];
    let along = |row: &[f32]| across.mix(row[across.low], row[across.high]);
    down.mix(along(row(down.low)), along(row(down.high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_at_its_own_size_stays_as_it_is() {
        let params = Params { from: [2, 2], to: [2, 2] };
        let mut out = [0.0; 4];
        bilinear(params, &[1.0, 2.0, 3.0, 4.0], &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn shrinking_takes_neighbours_only() {
        let params = Params { from: [1, 8], to: [1, 2] };
        let mut out = [0.0; 2];
        bilinear(params, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], &mut out);
        assert_eq!(out, [1.5, 5.5]);
        let mut mask = [9; 2];
        bilinear_threshold(params, 1.5, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], &mut mask);
        assert_eq!(mask, [0, 1]);
    }
}
