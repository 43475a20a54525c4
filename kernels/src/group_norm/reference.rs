//! The plain group norm: group by group, two passes in f64.

use super::{Params, relu};

/// Group norm of a map of `gamma.len()` channels. See the [module](super) for the contract.
///
/// With `x` absent, `out` holds the operand and is overwritten by the result.
pub fn run(params: Params, x: Option<&[f32]>, gamma: &[f32], beta: &[f32], out: &mut [f32]) {
    let x = x.map_or_else(|| out.to_vec(), <[f32]>::to_vec);
    let c = gamma.len();
    let per_group = c / params.groups;
    for group in 0..params.groups {
        let members = || (0..x.len()).filter(|i| i % c / per_group == group);
        let count = members().count() as f64;
        let mean = members().map(|i| f64::from(x[i])).sum::<f64>() / count;
        let variance = members().map(|i| (f64::from(x[i]) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + f64::from(params.eps)).sqrt();
        for i in members() {
            let normal = (f64::from(x[i]) - mean) * scale;
            let v = (normal * f64::from(gamma[i % c]) + f64::from(beta[i % c])) as f32;
            out[i] = if params.relu { relu(v) } else { v };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Params, run};

    #[test]
    fn groups_are_normalised_apart() {
        let params = Params { groups: 2, eps: 0.0, relu: false };
        let mut out = [0.0; 4];
        run(params, Some(&[1.0, 100.0, 3.0, 300.0]), &[1.0; 2], &[0.0; 2], &mut out);
        assert_eq!(out, [-1.0, -1.0, 1.0, 1.0]);
    }
}
