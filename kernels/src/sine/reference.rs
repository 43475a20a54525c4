//! The plain codes, one after the other.

use super::{TAU, code, divisors, position_angle};

/// The codes of numbers. See the [module](super) for the contract.
pub fn of_values(channels: usize, values: &[f32], out: &mut [f32]) {
    let divisors = divisors(channels);
    for (out, &v) in out.chunks_exact_mut(channels.max(1)).zip(values) {
        code(f64::from(v) * TAU, &divisors, out);
    }
}

/// The codes of the positions of a map of `h x w` pixels. See the [module](super) for the contract.
pub fn of_positions(h: usize, w: usize, channels: usize, out: &mut [f32]) {
    let divisors = divisors(channels / 2);
    for (i, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        let (from_y, from_x) = out.split_at_mut(channels / 2);
        code(position_angle(i / w, h), &divisors, from_y);
        code(position_angle(i % w, w), &divisors, from_x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_codes_meet_the_check_values_of_the_spec() {
        let mut map = vec![0.0; 72 * 72 * 256];
        of_positions(72, 72, 256, &mut map);
        let at = |y: usize, x: usize, channel: usize| map[(y * 72 + x) * 256 + channel];
        for (got, expected) in [
            (at(0, 0, 0), 0.087_155_7),
            (at(0, 0, 1), 0.996_194_7),
            (at(0, 0, 2), 0.075_497_7),
            (at(0, 0, 128), 0.087_155_7),
            (at(10, 50, 0), 0.819_152_1),
            (at(10, 50, 1), 0.573_576_5),
            (at(10, 50, 128), -0.965_925_9),
            (at(10, 50, 129), -0.258_819),
        ] {
            assert!((got - expected).abs() < 1e-6f32, "{got} {expected}");
        }
    }

    #[test]
    fn the_code_of_a_quarter_begins_with_a_quarter_turn() {
        let mut out = [0.0; 4];
        of_values(4, &[0.25], &mut out);
        let slow = 2.0 * std::f32::consts::PI / 4.0 / 100.0;
        for (got, expected) in out.into_iter().zip([1.0, 0.0, slow.sin(), slow.cos()]) {
            assert!((got - expected).abs() < 1e-7, "{got} {expected}");
        }
    }
}
