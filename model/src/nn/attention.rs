//! Packed multi-head attention (spec section 1): `in_proj_weight`, `in_proj_bias`, `out_proj`.

use super::Linear;
use crate::Result;
use crate::weights::Weights;
use sam3i_engine::Tensor;
use sam3i_engine::ops::attention::{AttentionOptions, Bias, attention};

/// Multi-head attention with its four projections.
pub(crate) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
    in_f32: bool,
}

/// Who sees what.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    /// Query `i` sees keys up to `i`.
    pub causal: bool,
    /// Added to the scores.
    pub bias: Bias<'a>,
}

impl Attention {
    /// `in_proj_weight [3 dim, dim]` (rows of q, then k, then v), `in_proj_bias [3 dim]`, `out_proj`.
    pub fn load(w: &Weights, dim: usize, heads: usize) -> Result<Self> {
        let weight = w.values("in_proj_weight", &[3 * dim, dim])?;
        let bias = w.tensor("in_proj_bias", &[3 * dim])?;
        let part = |i: usize| {
            let rows =
                if weight.is_empty() { Vec::new() } else { weight[i * dim * dim..][..dim * dim].to_vec() };
            Linear::from_values(w, dim, dim, rows, bias.narrow(0, i * dim, dim)?)
        };
        Ok(Self {
            q: part(0)?,
            k: part(1)?,
            v: part(2)?,
            out: Linear::load(&w.at("out_proj"), dim, dim)?,
            heads,
            in_f32: w.is_in_f32(),
        })
    }

    /// Attention of queries over keys and values: `[n, c]`, `[m, c]`, `[m, c]` to `[n, c]`, before the last projection.
    fn attend(&self, q_nc: &Tensor, k_mc: &Tensor, v_mc: &Tensor, seen: Seen) -> Result<Tensor> {
        let batched = |x: Tensor| {
            let [n, c] = x.dims()?;
            x.reshape(&[1, n, c])
        };
        let q = batched(self.q.forward(q_nc)?)?;
        let k = batched(self.k.forward(k_mc)?)?;
        let v = batched(self.v.forward(v_mc)?)?;
        let Seen { causal, bias } = seen;
        let heads = attention(
            &q,
            &k,
            &v,
            AttentionOptions { heads: self.heads, causal, key_padding: None, bias, in_f32: self.in_f32 },
        )?;
        Ok(heads.reshape(q_nc.shape())?)
    }

    /// `residual + attention`; an observer is shown the attention by itself under `name`.
    pub fn forward_add(
        &self,
        [q_nc, k_mc, v_mc]: [&Tensor; 3],
        seen: Seen,
        residual: &Tensor,
        name: &str,
    ) -> Result<Tensor> {
        self.out.forward_add(&self.attend(q_nc, k_mc, v_mc, seen)?, residual, name)
    }
}
