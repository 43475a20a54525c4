//! Axial rotary position encoding of the queries and keys of a fused projection, in place.
//!
//! For every token, every head of q and k and every pair m of adjacent channels, with `(cos, sin) = table[token, m]`
//! and `(u, v)` channels `2m` and `2m + 1` of the head: `(u, v) <- (u cos - v sin, u sin + v cos)`. The v part is
//! untouched.
//!
//! Shapes: `qkv [b, n, 3 * heads * d]` in the order q, k, v; `table [n, d / 2, 2]`. Reads and writes two thirds of
//! `qkv`: 8 bytes and 3 flops an element touched. Spec section 6 (RoPE).

pub mod cpu;
pub mod gpu;
pub mod reference;

/// What a call needs besides its operands.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Number of heads.
    pub heads: usize,
    /// Channels of a head, even.
    pub head_dim: usize,
}

/// Flops of one call over `tokens = b * n` tokens: 6 a pair.
#[must_use]
pub fn flops(tokens: usize, params: Params) -> u64 {
    6 * (tokens * params.heads * params.head_dim) as u64
}

/// The table of a grid of tokens numbered row by row: cosine and sine of `scale * x * w_j` for the first half of the
/// pairs and of `scale * y * w_j` for the second, `w_j = theta^(-4 j / d)`, `j < d / 4`.
///
/// `out` is `[grid_h * grid_w, d / 2, 2]`; `head_dim` is a multiple of 4. Angles are f64.
pub fn table(grid_w: usize, head_dim: usize, theta: f64, scale: f64, out: &mut [f32]) {
    let quarter = head_dim / 4;
    assert_eq!(head_dim % 4, 0);
    if head_dim == 0 {
        return;
    }
    let frequency = |j: usize| theta.powf(-4.0 * j as f64 / head_dim as f64);
    let frequencies: Vec<f64> = (0..quarter).map(frequency).collect();
    for (token, row) in out.chunks_exact_mut(head_dim).enumerate() {
        let position = [token % grid_w, token / grid_w];
        for (pair, entry) in row.chunks_exact_mut(2).enumerate() {
            let angle = scale * position[pair / quarter] as f64 * frequencies[pair % quarter];
            entry.copy_from_slice(&[angle.cos() as f32, angle.sin() as f32]);
        }
    }
}
