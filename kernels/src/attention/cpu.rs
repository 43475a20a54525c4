//! Blocked attention on the register tile of the matrix product.
//!
//! Keys and values are packed once a call into column panels. A task takes up to [`QUERY_BLOCK`] queries of one
//! problem; for each head it visits the keys in blocks of [`KEY_BLOCK`]: scores of a tile of queries (in the first
//! cache), bias and masks, the running maximum and sum, and the product with the values.

use super::{Bias, Options, Shape, View};
use crate::isa::{Arithmetic, Isa, multiversion};
use crate::math::exp_with;
use crate::matmul::cpu::driver::tiles;
use crate::matmul::cpu::micro::{self, Left, STRIDE};
use crate::matmul::cpu::pack::{MOST_ROWS, transpose};
use rayon::prelude::*;
use std::ops::Range;

/// Keys of a block: a row of scores is the strided left operand of the product with the values.
const KEY_BLOCK: usize = STRIDE;
/// Most queries of a task: a block of keys and values read from the shared cache serves this many.
const QUERY_BLOCK: usize = 112;

/// `softmax(scale q kᵀ + bias) v`. See the [module](super) for the contract.
pub fn run(isa: Isa, shape: &Shape, q: View, k: View, v: View, options: &Options, out: &mut [f32]) {
    super::check(shape, &q, &k, &v, options, out);
    if out.is_empty() {
        return;
    }
    let panels = Panels::new(isa, shape, k, v);
    let block = query_block(shape);
    let width = shape.width();
    let mut tasks: Vec<(usize, usize, &mut [f32])> = Vec::new();
    for (b, out) in out.chunks_mut(shape.queries * width).enumerate() {
        let chunks = out.chunks_mut(block * width).enumerate();
        tasks.extend(chunks.map(|(i, out)| (b, i * block, out)));
    }
    tasks.into_par_iter().with_max_len(1).for_each(|(b, first, out)| {
        let mut task =
            Task { isa, shape, options, panels: &panels, batch: b, first, state: State::default() };
        for h in 0..shape.heads {
            task.head(h, &q, out);
        }
    });
}

/// Queries of a task: the full block where there are enough of them, else even shares for the threads.
fn query_block(shape: &Shape) -> usize {
    let shares = (4 * rayon::current_num_threads()).div_ceil(shape.batch);
    shape.queries.div_ceil(shares).clamp(14, QUERY_BLOCK)
}

/// Slices of tokens on their way to a transpose.
type Rows<'a> = [&'a [f32]; MOST_ROWS];

fn gather<'a>(tokens: impl Iterator<Item = &'a [f32]>) -> Rows<'a> {
    let mut rows: Rows = [&[]; MOST_ROWS];
    rows.iter_mut().zip(tokens).for_each(|(row, token)| *row = token);
    rows
}

/// All keys and values of a call as column panels of the register tile, zero-filled at the edges.
struct Panels {
    columns: usize,
    key_len: usize,
    value_len: usize,
    /// For each problem and head: panels of keys, each `[head_dim, columns]`.
    keys: Vec<f32>,
    /// For each problem and head: panels of channels, each `[keys, columns]`.
    values: Vec<f32>,
}

impl Panels {
    fn new(isa: Isa, shape: &Shape, k: View, v: View) -> Self {
        let columns = micro::columns(isa);
        let (keys, dim) = (shape.keys, shape.head_dim);
        let key_len = keys.div_ceil(columns) * columns * dim;
        let value_len = dim.div_ceil(columns) * columns * keys;
        let problems = shape.batch * shape.heads;
        let (mut key_panels, mut value_panels) =
            (vec![0.0; problems * key_len], vec![0.0; problems * value_len]);
        if keys > 0 && dim > 0 {
            let key_chunks = key_panels.par_chunks_mut(key_len);
            key_chunks.zip(value_panels.par_chunks_mut(value_len)).enumerate().for_each(
                |(problem, (keys, values))| {
                    let (b, h) = (problem / shape.heads, problem % shape.heads);
                    for j in 0..shape.keys {
                        let panel = &mut keys[(j / columns) * columns * dim..];
                        for (c, &value) in k.token(shape, b, j, h).iter().enumerate() {
                            panel[c * columns + j % columns] = value;
                        }
                        for (panel, part) in v.token(shape, b, j, h).chunks(columns).enumerate() {
                            values[(panel * shape.keys + j) * columns..][..part.len()].copy_from_slice(part);
                        }
                    }
                },
            );
        }
        Self { columns, key_len, value_len, keys: key_panels, values: value_panels }
    }

    fn head<'a>(&'a self, shape: &Shape, b: usize, h: usize) -> (&'a [f32], &'a [f32]) {
        let problem = b * shape.heads + h;
        (
            &self.keys[problem * self.key_len..][..self.key_len],
            &self.values[problem * self.value_len..][..self.value_len],
        )
    }
}

/// Running results of the queries of a task, for one head.
#[derive(Default)]
struct State {
    /// Sums of weighted values, `[queries, padded head_dim]`.
    out: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f32>,
    /// Scaled queries, tile by tile, each `[head_dim, rows]`.
    q: Vec<f32>,
    /// Scores of a tile, rows `STRIDE` apart.
    scores: Vec<f32>,
}

struct Task<'a> {
    isa: Isa,
    shape: &'a Shape,
    options: &'a Options<'a>,
    panels: &'a Panels,
    batch: usize,
    first: usize,
    state: State,
}

impl Task<'_> {
    /// One head of this task's queries, written to their rows of the output.
    fn head(&mut self, h: usize, q: &View, out: &mut [f32]) {
        let (dim, width) = (self.shape.head_dim, self.shape.width());
        let queries = out.len() / width;
        let padded = dim.next_multiple_of(self.panels.columns);
        self.start(h, q, queries, padded);
        let most = if self.options.causal { self.first + queries } else { self.shape.keys };
        let blocks = self.shape.keys.div_ceil(KEY_BLOCK).max(1);
        let block = self.shape.keys.div_ceil(blocks).next_multiple_of(self.panels.columns);
        for first_key in (0..self.shape.keys.min(most)).step_by(block.max(1)) {
            let keys = block.min(self.shape.keys - first_key);
            for tile in tiles(0..queries, micro::rows(self.isa)) {
                self.block(h, tile.start, tile.len(), first_key..first_key + keys, padded);
            }
        }
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            let scale = if self.state.sum[i] > 0.0 { 1.0 / self.state.sum[i] } else { self.state.sum[i] };
            let values = &self.state.out[i * padded..][..dim];
            row[h * dim..][..dim].iter_mut().zip(values).for_each(|(o, v)| *o = v * scale);
        }
    }

    fn start(&mut self, h: usize, q: &View, queries: usize, padded: usize) {
        let state = &mut self.state;
        let reset = |v: &mut Vec<f32>, len, value| {
            v.clear();
            v.resize(len, value);
        };
        reset(&mut state.out, queries * padded, 0.0);
        reset(&mut state.max, queries, f32::NEG_INFINITY);
        reset(&mut state.sum, queries, 0.0);
        state.scores.resize(micro::rows(self.isa) * STRIDE, 0.0);
        state.q.resize(queries * self.shape.head_dim, 0.0);
        for tile in tiles(0..queries, micro::rows(self.isa)) {
            let (rows, dim) = (tile.len(), self.shape.head_dim);
            let tokens = gather(tile.clone().map(|i| q.token(self.shape, self.batch, self.first + i, h)));
            transpose(self.isa, &tokens[..rows], dim, &mut state.q[tile.start * dim..], rows);
        }
        scale(self.isa, &mut state.q, self.options.scale);
    }

    /// A tile of queries against a block of keys.
    fn block(&mut self, h: usize, row: usize, rows: usize, keys: Range<usize>, padded: usize) {
        let (dim, columns, count) = (self.shape.head_dim, self.panels.columns, keys.len());
        let (key_panels, value_panels) = self.panels.head(self.shape, self.batch, h);
        let State { out, max, sum, q, scores } = &mut self.state;

        let q = Left::Packed(&q[row * dim..][..rows * dim]);
        for first in (0..count).step_by(columns) {
            let panel = &key_panels[(keys.start + first) * dim..][..columns * dim];
            micro::tile(self.isa, rows, dim, q, panel, &mut scores[first..], STRIDE, false);
        }
        if !self.options.is_plain() {
            for i in 0..rows {
                let scores = &mut scores[i * STRIDE..][..count];
                self.options.adjust(self.shape, scores, h, self.batch, self.first + row + i, keys.start);
            }
        }
        let (max, sum) = (&mut max[row..row + rows], &mut sum[row..row + rows]);
        let out = &mut out[row * padded..(row + rows) * padded];
        online_softmax(self.isa, scores, count, max, sum, out, padded);
        let weights = Left::Strided(scores);
        for (c, panel) in value_panels.chunks_exact(self.shape.keys * columns).enumerate() {
            let panel = &panel[keys.start * columns..][..count * columns];
            micro::tile(self.isa, rows, count, weights, panel, &mut out[c * columns..], padded, true);
        }
    }
}

impl Options<'_> {
    /// Whether scores need nothing but their scale.
    fn is_plain(&self) -> bool {
        matches!(self.bias, Bias::None) && self.key_padding.is_none() && !self.causal
    }

    /// Adds the bias to a row of scores and hides the keys that are not to be seen.
    fn adjust(&self, shape: &Shape, scores: &mut [f32], h: usize, b: usize, i: usize, first_key: usize) {
        let row = h * shape.queries + i;
        match self.bias {
            Bias::None => {}
            Bias::Full(bias) => {
                let bias = &bias[row * shape.keys + first_key..];
                scores.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
            }
            Bias::Factored { rows, columns, width } => {
                let height = shape.keys / width;
                let (rows, columns) = (&rows[row * height..][..height], &columns[row * width..][..width]);
                add_factored(scores, rows, columns, first_key);
            }
        }
        if let Some(padding) = self.key_padding {
            let padding = &padding[b * shape.keys + first_key..];
            for (s, _) in scores.iter_mut().zip(padding).filter(|(_, padding)| **padding) {
                *s = f32::NEG_INFINITY;
            }
        }
        if self.causal {
            let seen = (i + 1).saturating_sub(first_key).min(scores.len());
            scores[seen..].fill(f32::NEG_INFINITY);
        }
    }
}

/// `scores[j] += rows[y] + columns[x]` for the map pixels `(y, x)` from `first` on.
fn add_factored(scores: &mut [f32], rows: &[f32], columns: &[f32], first: usize) {
    let width = columns.len();
    let (mut rest, mut at) = (scores, first);
    while !rest.is_empty() {
        let (y, x) = (at / width, at % width);
        let run = (width - x).min(rest.len());
        let (now, later) = rest.split_at_mut(run);
        now.iter_mut().zip(&columns[x..]).for_each(|(s, c)| *s += rows[y] + c);
        (rest, at) = (later, at + run);
    }
}

multiversion!(
    /// Turns rows of scores, `STRIDE` apart, into weights relative to each row's running maximum, and shrinks the earlier
    /// sums of weights and of weighted values (`out [rows, width]`) to it.
    fn online_softmax = online_softmax_body::<A>(
        scores: &mut [f32],
        keys: usize,
        max: &mut [f32],
        sum: &mut [f32],
        out: &mut [f32],
        width: usize,
    )
);

#[inline(always)]
fn online_softmax_body<A: Arithmetic>(
    scores: &mut [f32],
    keys: usize,
    max: &mut [f32],
    sum: &mut [f32],
    out: &mut [f32],
    width: usize,
) {
    let rows = scores.chunks_mut(STRIDE).zip(out.chunks_exact_mut(width));
    for ((scores, out), (max, sum)) in rows.zip(max.iter_mut().zip(sum)) {
        let scores = &mut scores[..keys];
        let new = largest(scores, *max);
        // A row that sees nothing yet keeps weights of exp(-inf) = 0.
        let base = if new == f32::NEG_INFINITY { 0.0 } else { new };
        let weights = weigh::<A>(scores, base);
        if new != *max {
            let shrink = exp_with::<A>(*max - base);
            *sum *= shrink;
            out.iter_mut().for_each(|o| *o *= shrink);
            *max = new;
        }
        *sum += weights;
    }
}

/// The largest of `scores` and `so_far`; NaN is passed over.
#[inline(always)]
fn largest(scores: &[f32], so_far: f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = scores.chunks_exact(LANES);
    for chunk in &mut chunks {
        lanes.iter_mut().zip(chunk).for_each(|(m, &s)| *m = if s > *m { s } else { *m });
    }
    chunks.remainder().iter().chain(&lanes).fold(so_far, |m, &s| if s > m { s } else { m })
}

/// `scores = exp(scores - base)`; returns their sum.
#[inline(always)]
fn weigh<A: Arithmetic>(scores: &mut [f32], base: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (l, s) in lanes.iter_mut().zip(chunk) {
            *s = exp_with::<A>(*s - base);
            *l += *s;
        }
    }
    let mut rest = 0.0;
    for s in chunks.into_remainder() {
        *s = exp_with::<A>(*s - base);
        rest += *s;
    }
    lanes.iter().sum::<f32>() + rest
}

/// Independent partial results of a row: two vectors of the widest registers.
const LANES: usize = 32;

multiversion!(fn scale = scale_body(values: &mut [f32], by: f32));

#[inline(always)]
fn scale_body(values: &mut [f32], by: f32) {
    values.iter_mut().for_each(|v| *v *= by);
}
