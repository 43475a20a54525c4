//! The plain rotation.

use super::Params;

/// Rotates q and k in place. See the [module](super) for the contract.
pub fn run(params: Params, table: &[f32], qkv: &mut [f32]) {
    let Params { heads, head_dim } = params;
    let (width, tokens) = (heads * head_dim, table.len() / head_dim.max(1));
    for (i, token) in qkv.chunks_exact_mut(3 * width.max(1)).enumerate() {
        for channel in (0..2 * width).step_by(2) {
            let at = (i % tokens) * head_dim + channel % head_dim;
            let (cos, sin) = (f64::from(table[at]), f64::from(table[at + 1]));
            let (u, v) = (f64::from(token[channel]), f64::from(token[channel + 1]));
            token[channel] = (u * cos - v * sin) as f32;
            token[channel + 1] = (u * sin + v * cos) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Params, run};

    #[test]
    fn a_quarter_turn_swaps_the_pair_in_q_and_k_only() {
        let mut qkv = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        run(Params { heads: 1, head_dim: 2 }, &[0.0, 1.0], &mut qkv);
        assert_eq!(qkv, [-2.0, 1.0, -4.0, 3.0, 5.0, 6.0]);
    }
}
