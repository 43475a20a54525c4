//! Elementary functions that the compiler can vectorise: no branches, no library calls.

use crate::isa::{Arithmetic, Separate};

/// `exp(x)` for `x` at most 88; results below the smallest normal number are flushed to zero, `-inf` gives 0, NaN
/// gives NaN. Largest relative error over [-87, 88]: 1.2e-7 (measured by the test below).
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `exp(r)` by a polynomial of degree 6 (Taylor coefficients, error
/// below 1e-8 on that interval after the first-order terms are kept exact); `2^n` by exponent bits.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    exp_with::<Separate>(x)
}

/// [`exp`] with the arithmetic of the instruction set it is compiled for.
#[inline(always)]
pub(crate) fn exp_with<A: Arithmetic>(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_145_75; // 12 low bits zero, so n * LN2_HI is exact for |n| < 4096
    const LN2_LO: f32 = 1.428_606_8e-6;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding and subtracting rounds to an integer
    let clamped = if x < -87.4 { -87.4 } else { x };
    let rounded = A::multiply_add(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = A::multiply_add(n, -LN2_LO, A::multiply_add(n, -LN2_HI, clamped));
    let tail = polynomial::<A, 6>(r, [0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0]);
    let exp_r = 1.0 + A::multiply_add(r * r, tail, r);
    // The low bits of `rounded` are n, an integer in [-126, 127], so the shifted exponent stays in range. A cast would
    // say the same, but it saturates, which the compiler does element by element. NaN leaves bits that do not matter.
    let two_n = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.3 { 0.0 } else { exp_r * two_n }
}

/// `2^r = 1 + r (c[0] + c[1] r + ..)` for `|r| <= 1/2`: relative error 1.1e-7. Fitted by iteratively reweighted least squares
/// (Lawson) on 4000 Chebyshev points, like the shorter one.
#[expect(clippy::approx_constant, reason = "fitted: near ln 2, but not ln 2")]
pub(crate) const EXP2: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];
/// As [`EXP2`], error 2.8e-6: for results that are rounded to bf16.
pub(crate) const EXP2_ROUGH: [f32; 4] = [0.693_124_2, 0.240_240_99, 0.055_906_426, 0.009_582_853];

/// `2^x` for `x` at most 127; 0 below -126.5, NaN for NaN. Largest relative error over [-126, 127]: 2.5e-7 (measured by the
/// test below).
#[inline(always)]
pub(crate) fn exp2_with<A: Arithmetic>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23, see `exp_with`
    let clamped = if x < -127.0 { -127.0 } else { x };
    let rounded = clamped + ROUND;
    let r = clamped - (rounded - ROUND);
    let exp_r = A::multiply_add(r, polynomial::<A, 5>(r, EXP2), 1.0);
    // At -127 the exponent bits are zero: the result is.
    exp_r * f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23)
}

/// `c[0] + c[1] x + c[2] x² + ..` by Horner's rule.
#[inline(always)]
fn polynomial<A: Arithmetic, const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[N - 1];
    for i in (0..N - 1).rev() {
        sum = A::multiply_add(sum, x, c[i]);
    }
    sum
}

/// `1 / (1 + exp(-x))`, to 3e-7 of itself down to the smallest normal number; NaN gives NaN.
///
/// Both branches of `e = exp(-|x|)`: `1 / (1 + e)` and `e / (1 + e)`.
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let upper = 1.0 / (1.0 + e);
    if x < 0.0 { e * upper } else { upper }
}

/// What [`erfc_of_positive`] multiplies `a` by to get `t`.
pub(crate) const ERFC_SLOPE: f32 = 0.35;

/// The polynomial `p` of [`erfc_of_positive`], lowest degree first.
pub(crate) const ERFC: [f32; 10] = [
    0.197_483_78,
    0.197_138_35,
    0.187_902_4,
    0.151_186_17,
    0.146_042_21,
    0.087_018_75,
    -0.027_705_684,
    0.181_461_27,
    -0.158_928_32,
    0.038_401_06,
];

/// `erfc(a)` for `a >= 0`, to 3e-6 of itself (the rounding of `a * a` in the exponent); NaN gives NaN.
///
/// `erfc(a) = t p(t) exp(-a^2)` with `t = 1 / (1 + 0.35 a)`; p has degree 9, fitted to `exp(a^2) erfc(a) / t` for `a`
/// in [0, 10] by iteratively reweighted least squares (Lawson) on 4000 Chebyshev points: relative error 7.2e-9.
#[inline(always)]
fn erfc_of_positive<A: Arithmetic>(a: f32) -> f32 {
    let t = 1.0 / A::multiply_add(ERFC_SLOPE, a, 1.0);
    t * polynomial::<A, 10>(t, ERFC) * exp_with::<A>(-(a * a))
}

/// The error function, to 2e-7 absolute (measured by the test below); NaN gives NaN.
///
/// Below 0.5 an odd polynomial of degree 9, fitted like the other piece, so that small arguments keep their
/// digits; above, `1 - erfc`.
#[inline(always)]
#[must_use]
pub fn erf(x: f32) -> f32 {
    const Q: [f32; 5] =
        [std::f32::consts::FRAC_2_SQRT_PI, -0.376_126_08, 0.112_828_225, -0.026_757_184, 0.004_717_990_3];
    let (a, square) = (x.abs(), x * x);
    let small = x * (Q[0] + square * (Q[1] + square * (Q[2] + square * (Q[3] + square * Q[4]))));
    let large = (1.0 - erfc_of_positive::<Separate>(a)).copysign(x);
    if a < 0.5 { small } else { large }
}

/// The exact GELU `x / 2 (1 + erf(x / sqrt 2))`, as `max(x, 0) - |x| / 2 erfc(|x| / sqrt 2)`, which keeps its digits where
/// the result is small. Beyond |x| = 14 the second term is zero; `-inf` gives 0 (the limit), NaN gives NaN.
#[inline(always)]
#[must_use]
pub fn gelu(x: f32) -> f32 {
    gelu_with::<Separate>(x)
}

/// [`gelu`] with the arithmetic of the instruction set it is compiled for.
#[inline(always)]
pub(crate) fn gelu_with<A: Arithmetic>(x: f32) -> f32 {
    let a = if x.abs() > 14.0 { 14.0 } else { x.abs() };
    let tail = 0.5 * a * erfc_of_positive::<A>(a * std::f32::consts::FRAC_1_SQRT_2);
    let ramp = if x < 0.0 { 0.0 } else { x };
    ramp - tail
}

#[cfg(test)]
pub(crate) mod tests {
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
    fn exp2_is_within_its_stated_error() {
        let mut worst = 0f64;
        for i in 0..2_000_000 {
            let x = -126.0 + 253.0 * (i as f32) / 2_000_000.0;
            let exact = f64::from(x).exp2();
            worst = worst.max(((f64::from(exp2_with::<Separate>(x)) - exact) / exact).abs());
        }
        assert!(worst <= 2.5e-7, "{worst:e}");
        assert_eq!([f32::NEG_INFINITY, -1e30, -127.0, 0.0].map(exp2_with::<Separate>), [0.0, 0.0, 0.0, 1.0]);
        assert!(exp2_with::<Separate>(f32::NAN).is_nan());
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    /// erf in f64: the Maclaurin series below 2.5, Laplace's continued fraction of erfc above.
    fn exact_erf(x: f64) -> f64 {
        let a = x.abs();
        if a < 2.5 {
            let (mut term, mut sum) = (x, x);
            for n in 1..120 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return sum * std::f64::consts::FRAC_2_SQRT_PI;
        }
        (1.0 - exact_erfc(a)).copysign(x)
    }

    /// `erfc(a) = exp(-a^2) / sqrt(pi) / (a + (1/2) / (a + (2/2) / (a + (3/2) / ..)))`, for a >= 2.5.
    fn exact_erfc(a: f64) -> f64 {
        let fraction = (1..200).rev().fold(a, |below, n| a + f64::from(n) / 2.0 / below);
        (-a * a).exp() / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0
    }

    pub(crate) fn exact_gelu(x: f64) -> f64 {
        x / 2.0 * (1.0 + exact_erf(x / 2f64.sqrt()))
    }

    /// The largest of `error` over a dense grid of [-width, width].
    fn worst_on_grid(width: f32, error: impl Fn(f32) -> f64) -> f64 {
        const STEPS: i32 = 1_000_000;
        (-STEPS..=STEPS).map(|i| error(width * (i as f32 / STEPS as f32))).fold(0.0, f64::max)
    }

    #[test]
    fn erf_is_within_its_stated_error() {
        assert!((exact_erf(2.5 - 1e-9) - exact_erf(2.5)).abs() < 1e-11, "the two exact forms meet");
        let worst = worst_on_grid(6.0, |x| (f64::from(erf(x)) - exact_erf(f64::from(x))).abs());
        assert!(worst <= 2e-7, "{worst:e}");
    }

    #[test]
    fn erfc_keeps_its_digits_in_the_tail() {
        for i in 0..100_000 {
            let a = 2.5 + 6.5 * (i as f32) / 100_000.0;
            let (got, exact) = (f64::from(erfc_of_positive::<Separate>(a)), exact_erfc(f64::from(a)));
            assert!(((got - exact) / exact).abs() < 6e-6, "{a}: {got:e} {exact:e}");
        }
    }

    #[test]
    fn gelu_is_the_exact_one() {
        let error =
            |x: f32| (f64::from(gelu(x)) - exact_gelu(f64::from(x))).abs() / f64::from(x.abs().max(1.0));
        let worst = worst_on_grid(8.0, error);
        assert!(worst <= 1.5e-7, "{worst:e}");
    }

    #[test]
    fn sigmoid_is_within_its_stated_error() {
        let error = |x: f32| {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            (f64::from(sigmoid(x)) - exact).abs() / exact
        };
        let worst = worst_on_grid(87.0, error);
        assert!(worst <= 3e-7, "{worst:e}");
    }

    #[test]
    fn erf_gelu_and_sigmoid_at_the_edges() {
        assert_eq!([erf(0.0), erf(f32::INFINITY), erf(f32::NEG_INFINITY)], [0.0, 1.0, -1.0]);
        assert_eq!([gelu(0.0), gelu(f32::NEG_INFINITY), gelu(-1e30), gelu(1e30)], [0.0, 0.0, 0.0, 1e30]);
        assert_eq!([sigmoid(0.0), sigmoid(f32::NEG_INFINITY), sigmoid(1e30)], [0.5, 0.0, 1.0]);
        assert!(erf(f32::NAN).is_nan() && gelu(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
