//! Scaled dot-product attention: `out = softmax(scale q kᵀ + bias) v`, head by head.
//!
//! | operand | shape | |
//! |---|---|---|
//! | `q` | `[batch, queries, heads * head_dim]` | any batch and token strides, heads side by side in a token |
//! | `k`, `v` | `[batch, keys, heads * head_dim]` | likewise |
//! | `out` | `[batch, queries, heads * head_dim]` | row-major |
//!
//! The scores are never stored whole: keys are visited in blocks with a running maximum and sum (online softmax).
//! `4 batch heads queries keys head_dim` flops. A query that sees no key at all (all padding) gets zeros.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// The sizes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Independent problems (windows, pictures).
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Queries of each problem.
    pub queries: usize,
    /// Keys of each problem.
    pub keys: usize,
}

impl Shape {
    /// Channels of a token.
    #[must_use]
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Flops of one call, two a multiply-add, softmax not counted.
    #[must_use]
    pub fn flops(&self) -> u64 {
        4 * (self.batch * self.queries * self.keys) as u64 * self.width() as u64
    }
}

/// An operand `[batch, tokens, heads * head_dim]` whose tokens need not be neighbours.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Values from its first element on.
    pub values: &'a [f32],
    /// Elements between problems.
    pub batch_stride: usize,
    /// Elements between tokens.
    pub token_stride: usize,
}

impl<'a> View<'a> {
    /// The values of a token from one head's first channel on.
    pub(crate) fn token(&self, shape: &Shape, batch: usize, token: usize, head: usize) -> &'a [f32] {
        let start = batch * self.batch_stride + token * self.token_stride + head * shape.head_dim;
        &self.values[start..][..shape.head_dim]
    }

    fn check(&self, shape: &Shape, tokens: usize) {
        if shape.batch == 0 || tokens == 0 {
            return;
        }
        let last = (shape.batch - 1) * self.batch_stride + (tokens - 1) * self.token_stride + shape.width();
        assert!(self.values.len() >= last, "an operand of attention is too short");
    }
}

/// What is added to the scaled scores.
#[derive(Clone, Copy, Debug, Default)]
pub enum Bias<'a> {
    /// Nothing.
    #[default]
    None,
    /// `[heads, queries, keys]`, the same for every problem of the batch.
    Full(&'a [f32]),
    /// Keys are the pixels of a map, row by row; pixel `(y, x)` gets `rows[.., y] + columns[.., x]`.
    Factored {
        /// `[heads, queries, map rows]`.
        rows: &'a [f32],
        /// `[heads, queries, map columns]`.
        columns: &'a [f32],
        /// Columns of the map.
        width: usize,
    },
}

/// Everything else about a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What the scores are multiplied by.
    pub scale: f32,
    /// Query `i` sees keys `0..=i` only.
    pub causal: bool,
    /// `[batch, keys]`; keys that are `true` are not seen.
    pub key_padding: Option<&'a [bool]>,
    /// Added to the scaled scores.
    pub bias: Bias<'a>,
}

fn check(shape: &Shape, q: &View, k: &View, v: &View, options: &Options, out: &[f32]) {
    q.check(shape, shape.queries);
    k.check(shape, shape.keys);
    v.check(shape, shape.keys);
    assert_eq!(out.len(), shape.batch * shape.queries * shape.width());
    let rows = shape.heads * shape.queries;
    assert!(options.key_padding.is_none_or(|p| p.len() == shape.batch * shape.keys));
    match options.bias {
        Bias::None => {}
        Bias::Full(bias) => assert_eq!(bias.len(), rows * shape.keys),
        Bias::Factored { rows: y, columns: x, width } => {
            assert!(width > 0 && shape.keys.is_multiple_of(width));
            assert_eq!((y.len(), x.len()), (rows * (shape.keys / width), rows * width));
        }
    }
}
