//! Elementary functions on 16 values at once, with AVX-512, which has the steps of an exponent as instructions.

#![cfg(target_arch = "x86_64")]

use crate::math::{ERFC, ERFC_SLOPE, EXP2};
use std::arch::x86_64::*;

/// `2^x` by a polynomial such as [`EXP2`], whose error it has; NaN gives NaN. `x` must not be infinite.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn exp2(x: __m512, polynomial: &[f32]) -> __m512 {
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    let r = _mm512_sub_ps(x, n);
    let sum = horner(r, polynomial);
    _mm512_scalef_ps(_mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0)), n)
}

/// `c[0] + c[1] x + c[2] x² + ..` by Horner's rule.
#[target_feature(enable = "avx512f")]
#[inline]
fn horner(x: __m512, c: &[f32]) -> __m512 {
    let (last, rest) = c.split_last().expect("a polynomial has a coefficient");
    let mut sum = _mm512_set1_ps(*last);
    for &c in rest.iter().rev() {
        sum = _mm512_fmadd_ps(sum, x, _mm512_set1_ps(c));
    }
    sum
}

/// As [`gelu`](crate::math::gelu), within 1.5e-7 of the exact function (relative to what is larger, `|x|` or 1; measured by the
/// test below). The division is an estimate of 14 bits and a step of Newton's; what is below the smallest normal number
/// becomes zero, so that nothing is computed with the slow ones.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn gelu(x: __m512) -> __m512 {
    const SLOPE: f32 = ERFC_SLOPE * std::f32::consts::FRAC_1_SQRT_2;
    const HALF_LOG2_E: f32 = std::f32::consts::LOG2_E / 2.0;
    let one = _mm512_set1_ps(1.0);
    // The second operand is what a comparison with NaN gives, so NaN stays.
    let a = _mm512_min_ps(_mm512_set1_ps(14.0), _mm512_abs_ps(x));
    let divisor = _mm512_fmadd_ps(a, _mm512_set1_ps(SLOPE), one);
    let guess = _mm512_rcp14_ps(divisor);
    let t = _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(divisor, guess, one), guess);
    let exponent = _mm512_mul_ps(_mm512_mul_ps(a, a), _mm512_set1_ps(-HALF_LOG2_E));
    let normal = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(exponent, _mm512_set1_ps(-126.0));
    let power = _mm512_maskz_mov_ps(normal, exp2(exponent, &EXP2));
    let half_t = _mm512_mul_ps(_mm512_mul_ps(a, _mm512_set1_ps(0.5)), t);
    let ramp = _mm512_max_ps(_mm512_setzero_ps(), x);
    _mm512_fnmadd_ps(_mm512_mul_ps(half_t, horner(t, &ERFC)), power, ramp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    /// `gelu` of some values, if this processor can.
    fn run(values: &[f32]) -> Option<Vec<f32>> {
        let Some(Isa::Avx512(_)) = Isa::by_name("avx512") else { return None };
        let mut out = Vec::new();
        for chunk in values.chunks(16) {
            let mut lanes = [0.0; 16];
            lanes[..chunk.len()].copy_from_slice(chunk);
            // SAFETY: the processor has AVX-512, and both arrays hold 16 values.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), gelu(_mm512_loadu_ps(lanes.as_ptr()))) };
            out.extend(&lanes[..chunk.len()]);
        }
        Some(out)
    }

    #[test]
    fn gelu_is_the_exact_one() {
        let grid: Vec<f32> = (-1_000_000..=1_000_000).map(|i| 8.0 * (i as f32 / 1_000_000.0)).collect();
        let Some(got) = run(&grid) else { return };
        let error = |(&x, &y): (&f32, &f32)| {
            let exact = crate::math::tests::exact_gelu(f64::from(x));
            (f64::from(y) - exact).abs() / f64::from(x.abs().max(1.0))
        };
        let worst = grid.iter().zip(&got).map(error).fold(0.0, f64::max);
        assert!(worst <= 1.5e-7, "{worst:e}");
    }

    #[test]
    fn gelu_at_the_edges() {
        let Some(got) = run(&[0.0, f32::NEG_INFINITY, -1e30, -13.5, 1e30, f32::INFINITY, f32::NAN]) else {
            return;
        };
        assert_eq!(got[..6], [0.0, 0.0, 0.0, 0.0, 1e30, f32::INFINITY]);
        assert!(got[6].is_nan());
    }
}
