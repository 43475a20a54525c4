//! Cases of attention.

use super::form::{Form, any_form, seeded};
use super::{Bf16Case, Case, F16Case, sequence, values};
use crate::compare::Tolerance;
use crate::job::{Job, Sizes};
use proptest::prelude::*;
use sam3i_engine::ops::attention::{AttentionOptions, Bias, attention, rotary_attention};
use sam3i_engine::{Device, Result, Tensor};
use sam3i_kernels::attention::Shape;
use sam3i_kernels::rope;

/// Self-attention over the thirds of one fused `[batch, n, 3 width]`, or attention of queries to other keys.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Batch, heads, channels of a head.
    pub sizes: [usize; 3],
    /// Queries.
    pub queries: usize,
    /// Keys: rows and columns of a map.
    pub map: [usize; 2],
    /// `[batch, queries, width]`.
    pub q: Vec<f32>,
    /// `[batch, keys, 2 width]`: keys and values side by side.
    pub kv: Vec<f32>,
    /// Query `i` sees keys up to `i`.
    pub causal: bool,
    /// `[batch * keys]`.
    pub padding: Option<Vec<bool>>,
    /// What is added to the scores.
    pub bias: CaseBias,
}

/// The bias of a case.
#[derive(Clone, Debug)]
pub enum CaseBias {
    /// None.
    None,
    /// `[heads, queries, keys]`.
    Full(Vec<f32>),
    /// `[heads, queries, rows]` and `[heads, queries, columns]`.
    Factored(Vec<f32>, Vec<f32>),
}

impl Case for Attention {
    /// Results are averages of values up to 4. A score is a sum of up to 256 products of values up to 4 (scaled); its
    /// f32 rounding (about 1e-5) is the relative error of a weight.
    const TOLERANCE: Tolerance = Tolerance { absolute: 1e-4, relative: 1e-4 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [b, heads, d] = self.sizes;
        let (width, [rows, columns], n) = (heads * d, self.map, self.queries);
        let q = Tensor::from_vec(device, &[b, n, width], self.q.clone())?;
        let kv = Tensor::from_vec(device, &[b, rows * columns, 2 * width], self.kv.clone())?;
        let tensor = |shape: [usize; 3], values: &[f32]| Tensor::from_vec(device, &shape, values.to_vec());
        let held = match &self.bias {
            CaseBias::None => vec![],
            CaseBias::Full(bias) => vec![tensor([heads, n, rows * columns], bias)?],
            CaseBias::Factored(y, x) => vec![tensor([heads, n, rows], y)?, tensor([heads, n, columns], x)?],
        };
        let bias = match held.as_slice() {
            [] => Bias::None,
            [bias] => Bias::Full(bias),
            [rows, columns, ..] => Bias::Factored { rows, columns },
        };
        let options = AttentionOptions {
            heads,
            causal: self.causal,
            key_padding: self.padding.as_deref(),
            bias,
            in_f32: false,
        };
        attention(&q, &kv.narrow(2, 0, width)?, &kv.narrow(2, width, width)?, options)
    }
}

impl Bf16Case for Attention {
    /// A score of these operands (spread 5, far wider than a model's) is off by about 0.012, six deviations 0.07: that
    /// share of a weight. Weights times values of up to 4 make 0.28, and rounding of weights and values 0.03.
    fn bf16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 0.31, relative: 0.0 }
    }
}

impl F16Case for Attention {
    /// Where keys and values are f16, and on matrix units queries and weights too. An operand of up to 4 is off by up to 2^-11 of itself:
    /// 1.5e-3 (one standard deviation) in a product of two, sqrt(head_dim) times that in a sum and as much less by its scale;
    /// six deviations, 0.01, are that share of a weight. Weights times values of up to 4 make 0.04, rounding of weights and values
    /// 0.004.
    fn f16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 0.045, relative: 0.0 }
    }
}

/// Any attention: tails in queries, keys and channels, several blocks of keys and of queries, a query or two alone, heads of
/// every size, every kind of mask and bias.
pub fn any_attention() -> impl Strategy<Value = Attention> {
    let small = ([1usize..3, 1usize..4, 1usize..40], 0usize..40, [1usize..8, 1usize..12]);
    let long = ([1usize..2, 1usize..3, 1usize..80], 1usize..20, [10usize..30, 18usize..30]);
    let many = ([1usize..3, 1usize..3, 1usize..20], 60usize..150, [1usize..5, 1usize..8]);
    let wide = ([1usize..3, 1usize..3, 80usize..257], 1usize..24, [1usize..5, 1usize..6]);
    let few = ([1usize..3, 1usize..3, 1usize..257], 1usize..3, [1usize..7, 1usize..16]);
    prop_oneof![4 => small, 1 => long, 1 => many, 1 => wide, 1 => few].prop_flat_map(
        |(sizes, queries, map)| {
            let ([b, heads, d], keys) = (sizes, map[0] * map[1]);
            let rows = heads * queries;
            let padding = prop::option::of(prop::collection::vec(prop::bool::weighted(0.3), b * keys));
            let bias = prop_oneof![
                Just(CaseBias::None),
                values(rows * keys).prop_map(CaseBias::Full),
                (values(rows * map[0]), values(rows * map[1])).prop_map(|(y, x)| CaseBias::Factored(y, x)),
            ];
            let operands = (values(b * queries * heads * d), values(2 * b * keys * heads * d));
            (operands, any::<bool>(), padding, bias).prop_map(move |((q, kv), causal, padding, bias)| {
                Attention { sizes, queries, map, q, kv, causal, padding, bias }
            })
        },
    )
}

/// Self-attention over the thirds of one fused `[batch, n, 3 width]` whose queries and keys are rotated first.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// Batch, tokens, heads, pairs of channels of a head.
    pub sizes: [usize; 4],
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Rotary {
    /// As for [`Attention`], but rotated values reach 6 and head sizes end at 80.
    const TOLERANCE: Tolerance = Tolerance { absolute: 2e-4, relative: 1e-4 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [b, n, heads, pairs] = self.sizes;
        let qkv = seeded(6 * b * n * heads * pairs, self.seed, &[]);
        let qkv = self.form.place(device, &[b, n, 6 * heads * pairs], &qkv)?;
        let angles = sequence(n * pairs, self.seed ^ 1).into_iter().map(|v| 3.2 * v);
        let table = angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect();
        rotary_attention(qkv, &Tensor::from_vec(device, &[n, pairs, 2], table)?, heads)
    }
}

impl Bf16Case for Rotary {
    /// As for [`Attention`]: a rotation leaves the size of what it turns.
    fn bf16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 0.31, relative: 0.0 }
    }
}

impl F16Case for Rotary {
    /// As for [`Attention`]: a rotation leaves the size of what it turns.
    fn f16_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 0.045, relative: 0.0 }
    }
}

/// Odd numbers of tokens, heads and pairs; several blocks of queries and keys.
pub fn any_rotary() -> impl Strategy<Value = Rotary> {
    let small = [1usize..3, 0usize..40, 1usize..4, 1usize..20];
    let long = [1usize..2, 60usize..200, 1usize..3, 1usize..41];
    (prop_oneof![3 => small, 1 => long], any_form(), any::<u32>()).prop_map(|(sizes, form, seed)| Rotary {
        sizes,
        form,
        seed,
    })
}

/// Calls of the published model at 1008 pixels.
pub fn published_rotary() -> Vec<Job> {
    let job = |what, [b, n]: [usize; 2]| {
        let (heads, d) = (16, 64);
        let params = rope::Params { heads, head_dim: d };
        let flops = 4 * (b * heads * n * n * d) as u64 + rope::flops(b * n, params);
        Job::new(what, flops, 4 * b * n * heads * d, move |device| {
            let qkv = Tensor::from_vec(device, &[b, n, 3 * heads * d], sequence(3 * b * n * heads * d, 1))?;
            let table = Tensor::from_vec(device, &[n, d / 2, 2], sequence(n * d, 2))?;
            Ok(Box::new(move || rotary_attention(qkv.clone(), &table, heads)))
        })
        .of_sizes(Sizes::Attention(Shape { batch: b, heads, head_dim: d, queries: n, keys: n }))
    };
    vec![
        job("ViT window: 9 x 576 tokens, 16 heads of 64", [9, 576]),
        job("ViT global: 5184 tokens, 16 heads of 64", [1, 5184]),
    ]
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let job = |what, [b, heads, d]: [usize; 3], queries: usize, keys: usize| {
        let width = heads * d;
        let flops = 4 * (b * heads * queries * keys * d) as u64;
        Job::new(what, flops, 2 * b * width * (queries + keys), move |device| {
            let q = Tensor::from_vec(device, &[b, queries, width], sequence(b * queries * width, 1))?;
            let kv = Tensor::from_vec(device, &[b, keys, 2 * width], sequence(2 * b * keys * width, 2))?;
            let (k, v) = (kv.narrow(2, 0, width)?, kv.narrow(2, width, width)?);
            Ok(Box::new(move || attention(&q, &k, &v, AttentionOptions::heads(heads))))
        })
        .of_sizes(Sizes::Attention(Shape { batch: b, heads, head_dim: d, queries, keys }))
    };
    vec![
        job("ViT window: 9 x 576 tokens, 16 heads of 64", [9, 16, 64], 576, 576),
        job("ViT global: 5184 tokens, 16 heads of 64", [1, 16, 64], 5184, 5184),
        job("fusion self: 5184 tokens, 8 heads of 32", [1, 8, 32], 5184, 5184),
        job("fusion cross: 5184 tokens to 33, 8 heads of 32", [1, 8, 32], 5184, 33),
        job("decoder self: 201 queries, 8 heads of 32", [1, 8, 32], 201, 201),
    ]
}
