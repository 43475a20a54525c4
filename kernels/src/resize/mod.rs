//! Maps at another size: nearest doubling of channels-last maps, bilinear resampling of single planes.
//!
//! * Doubling: `out[y, x] = coarse[y / 2, x / 2]`, shapes `[h, w, c]` to `[2h, 2w, c]`; fused with an addition, `fine[y, x]
//!   += coarse[y / 2, x / 2]`. 5 bytes (9 fused) an element of the result. Spec section 12 (nearest2).
//! * Bilinear, corners not aligned, no antialias: along each axis `s = max(0, (o + 0.5) in / out - 0.5)`, `low =
//!   floor(s)`, `high = min(low + 1, in - 1)`, `f = s - low`; shapes `[n, h, w]` to `[n, out_h, out_w]`. About 6 flops
//!   and 4 bytes a result. Spec section 15.
//! * Its threshold, `1` where the interpolated value is above it (NaN is not), else `0`: one byte a result; the
//!   interpolated map is never stored.
//!
//! Every form of the bilinear kernel computes in f32, in this order: `s = (in / out) (o + 0.5) - 0.5`; rows first,
//! `t = x[low] (1 - f) + x[high] f`; then columns the same way. So all of them agree bit for bit.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// The sizes of a bilinear call.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Height and width of a plane.
    pub from: [usize; 2],
    /// Height and width of the result.
    pub to: [usize; 2],
}

/// Flops of one bilinear call: 3 for the columns a result, and as many for the rows.
#[must_use]
pub fn bilinear_flops(results: usize) -> u64 {
    6 * results as u64
}

/// The two neighbours of one output index along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    low: usize,
    high: usize,
    /// Weights of `low` and of `high`.
    weights: [f32; 2],
}

impl Tap {
    fn new(index: usize, from: usize, to: usize) -> Self {
        let at = (from as f32 / to as f32) * (index as f32 + 0.5) - 0.5;
        let at = if at < 0.0 { 0.0 } else { at };
        let low = (at as usize).min(from - 1);
        let f = at - low as f32;
        Self { low, high: (low + 1).min(from - 1), weights: [1.0 - f, f] }
    }

    /// The interpolated value.
    #[inline(always)]
    fn mix(&self, low: f32, high: f32) -> f32 {
        low * self.weights[0] + high * self.weights[1]
    }
}

#[cfg(test)]
mod tests {
    use super::Tap;

    #[test]
    fn doubling_takes_quarters_and_clamps_at_the_ends() {
        let taps: Vec<_> = (0..4).map(|o| Tap::new(o, 2, 4)).collect();
        assert_eq!(taps[0], Tap { low: 0, high: 1, weights: [1.0, 0.0] });
        assert_eq!(taps[1], Tap { low: 0, high: 1, weights: [0.75, 0.25] });
        assert_eq!(taps[2], Tap { low: 0, high: 1, weights: [0.25, 0.75] });
        assert_eq!((taps[3].low, taps[3].high), (1, 1));
    }
}
