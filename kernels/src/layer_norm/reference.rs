//! The plain layer norm: two passes in f64.

/// Layer norm of each row of `gamma.len()` elements. See the [module](super) for the contract.
pub fn run(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
    let c = gamma.len();
    if c == 0 {
        return;
    }
    for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / c as f64;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / c as f64;
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        for i in 0..c {
            let normal = (f64::from(x[i]) - mean) * scale;
            out[i] = (normal * f64::from(gamma[i]) + f64::from(beta[i])) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_constant_row_becomes_beta() {
        let mut out = [0.0; 3];
        run(&[7.0; 3], &[2.0; 3], &[1.0, 2.0, 3.0], 1e-5, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn variance_is_biased() {
        let mut out = [0.0; 2];
        run(&[1.0, 3.0], &[1.0; 2], &[0.0; 2], 0.0, &mut out);
        assert_eq!(out, [-1.0, 1.0]);
    }
}
