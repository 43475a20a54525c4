//! The plain functions, in f64.

use super::{Binary, Unary, at_least, at_most};

/// Applies `op` to every element. See the [module](super) for the contract.
pub fn unary(op: Unary, x: Option<&[f32]>, out: &mut [f32]) {
    for i in 0..out.len() {
        out[i] = of_one(op, x.map_or(out[i], |x| x[i]));
    }
}

fn of_one(op: Unary, x: f32) -> f32 {
    let wide = f64::from(x);
    match op {
        Unary::Relu => at_least(x, 0.0),
        Unary::Gelu => gelu(wide) as f32,
        Unary::Sigmoid => (1.0 / (1.0 + (-wide).exp())) as f32,
        Unary::ScaleAdd(s, t) => x * s + t,
        Unary::Clamp(low, high) => at_most(at_least(x, low), high),
        Unary::SignedLog2 => (wide.signum() * (1.0 + 8.0 * wide.abs()).log2() / 3.0) as f32,
        Unary::InverseSigmoid(eps) => {
            let y = at_most(at_least(x, 0.0), 1.0);
            (f64::from(at_least(y, eps)) / f64::from(at_least(1.0 - y, eps))).ln() as f32
        }
    }
}

/// The exact GELU; 0 at `-inf`, its limit.
pub(crate) fn gelu(x: f64) -> f64 {
    let tail = x.abs() / 2.0 * erfc(x.abs() / 2f64.sqrt());
    match x {
        _ if x.is_infinite() => x.max(0.0),
        _ if x < 0.0 => -tail,
        _ => x - tail,
    }
}

/// The complementary error function of `a >= 0`: the Maclaurin series of erf below 2.5, Laplace's continued fraction
/// above.
fn erfc(a: f64) -> f64 {
    if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..100 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    if a > 30.0 {
        return 0.0; // below the smallest f64
    }
    let fraction = (1..200).rev().fold(a, |below, n| a + f64::from(n) / 2.0 / below);
    (-a * a).exp() / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0
}

/// Applies `op` to every element of `shape` and its partner in `b`. See the [module](super) for the contract.
pub fn binary(
    op: Binary,
    shape: &[usize],
    a: Option<&[f32]>,
    b: &[f32],
    b_strides: &[usize],
    out: &mut [f32],
) {
    assert_eq!(out.len(), shape.iter().product::<usize>());
    for i in 0..out.len() {
        let (a, b) = (a.map_or(out[i], |a| a[i]), b[partner(i, shape, b_strides)]);
        out[i] = match op {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
        };
    }
}

/// Where the partner of element `i` lies.
fn partner(mut i: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (&n, &stride) in shape.iter().zip(strides).rev() {
        at += i % n * stride;
        i /= n;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_log2_meets_the_check_values_of_the_spec() {
        let got = [0.5, -0.25, 1.0, 0.0].map(|d| of_one(Unary::SignedLog2, d));
        for (got, expected) in got.into_iter().zip([0.773_976, -0.528_320_8, 1.056_641_7, 0.0]) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }

    #[test]
    fn inverse_sigmoid_is_bounded_by_eps() {
        let op = Unary::InverseSigmoid(1e-3);
        assert_eq!(of_one(op, -3.0), of_one(op, 0.0));
        assert!((of_one(op, 0.0) + 6.907_755).abs() < 1e-5);
        assert!((of_one(op, 0.75) - 3f32.ln()).abs() < 1e-6);
        assert!(of_one(op, f32::NAN).is_nan());
    }

    #[test]
    fn a_column_is_repeated_along_the_rows() {
        let mut out = [1.0, 2.0, 3.0, 4.0];
        binary(Binary::Sub, &[2, 2], None, &[1.0, 2.0], &[1, 0], &mut out);
        assert_eq!(out, [0.0, 1.0, 1.0, 2.0]);
    }
}
