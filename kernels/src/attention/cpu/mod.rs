//! Blocked attention on the register tile of the matrix product.
//!
//! Keys and values are packed once a call into column panels (`panels`). A task takes up to `QUERY_BLOCK` queries of
//! one problem; for each head it visits the keys in blocks of `KEY_BLOCK`: scores of a tile of queries (in the first
//! cache), bias and masks, the running maximum and sum (`softmax`), and the product with the values. In bf16 both
//! products round their operands; scores, weights' sums and results stay f32.

mod panels;
mod softmax;
mod wide;

use super::{Bias, Options, Shape, View};
use crate::isa::{Isa, Precision};
use crate::matmul::ahead::{Ahead, fetched};
use crate::matmul::cpu::bf16::{self, LeftPairs, PAIR_STRIDE};
use crate::matmul::cpu::driver::tiles;
use crate::matmul::cpu::micro::{self, Left, STRIDE};
use crate::matmul::cpu::pack::{MOST_ROWS, transpose, transpose_pairs};
use crate::memory::prefetch;
use panels::{Head, Panels, gather};
use rayon::prelude::*;
use softmax::{Running, online_softmax};
use std::ops::Range;

pub use panels::scratch_len;

/// Keys of a block: a row of scores is the strided left operand of the product with the values.
const KEY_BLOCK: usize = STRIDE;
/// Most queries of a task: a block of keys and values read from the shared cache serves this many.
const QUERY_BLOCK: usize = 112;

/// How and on what a call runs.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The instruction set.
    pub isa: Isa,
    /// The type of the two products.
    pub precision: Precision,
    /// The sizes.
    pub shape: &'a Shape,
    /// Scale, masks, bias.
    pub options: &'a Options<'a>,
}

/// `softmax(scale q kᵀ + bias) v`. See the [module](super) for the contract.
///
/// `scratch` must have [`scratch_len`] elements; what it holds before and after means nothing.
pub fn run(call: Call, q: View, k: View, v: View, scratch: &mut [f32], out: &mut [f32]) {
    let shape = call.shape;
    super::check(shape, &q, &k, &v, call.options, out);
    if out.is_empty() {
        return;
    }
    let panels = Panels::fill(call.isa, call.precision, shape, k, v, scratch);
    let block = query_block(shape);
    let width = shape.width();
    let mut tasks: Vec<(usize, usize, &mut [f32])> = Vec::new();
    for (b, out) in out.chunks_mut(shape.queries * width).enumerate() {
        let chunks = out.chunks_mut(block * width).enumerate();
        tasks.extend(chunks.map(|(i, out)| (b, i * block, out)));
    }
    tasks.into_par_iter().with_max_len(1).for_each(|(batch, first, out)| {
        let mut task = Task { call, panels: &panels, batch, first, state: State::default() };
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

/// Running results of the queries of a task, for one head.
#[derive(Default)]
struct State {
    /// Sums of weighted values, `[queries, padded head_dim]`.
    out: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f32>,
    /// Queries, tile by tile, each `[head_dim, rows]`; or as pairs, `[head_dim / 2, rows]`, and room to make them.
    q: Vec<f32>,
    q_pairs: Vec<u32>,
    room: Vec<u32>,
    /// Scores of a tile, rows `STRIDE` apart; and the weights they become as pairs, rows `PAIR_STRIDE` apart.
    scores: Vec<f32>,
    pairs: Vec<u32>,
}

impl State {
    fn reset(&mut self, isa: Isa, queries: usize, dim: usize, padded: usize) {
        let reset = |v: &mut Vec<f32>, len, value| {
            v.clear();
            v.resize(len, value);
        };
        reset(&mut self.out, queries * padded, 0.0);
        reset(&mut self.max, queries, f32::NEG_INFINITY);
        reset(&mut self.sum, queries, 0.0);
        self.q.resize(queries * dim + 16, 0.0); // 16: room for what whole-vector steps write beyond the end
        self.q_pairs.resize(queries * dim.div_ceil(2) + 16, 0);
        self.room.resize(MOST_ROWS * dim.div_ceil(2), 0);
        self.scores.resize(micro::rows(isa) * STRIDE, 0.0);
        self.pairs.resize(micro::rows(isa) * PAIR_STRIDE, 0);
    }
}

/// The block of keys that follows this one: the same sizes, from `first_key` of `head` on. Its panels are asked for while
/// this one is computed, in as many parts as there are tiles of queries; this is part `asked`.
#[derive(Clone, Copy)]
struct Next<'a> {
    head: &'a Head<'a>,
    first_key: usize,
    asked: usize,
}

impl<'a> Next<'a> {
    /// Of the panel of keys that begins `first` keys into the block.
    fn keys(self, first: usize, dim: usize, columns: usize) -> &'a [f32] {
        let Head::F32 { keys, .. } = self.head else { return &[] };
        self.part(keys.get((self.first_key + first) * dim..), dim, columns)
    }

    /// Of the `count` rows of the panel of values that begins at row `start`.
    fn values(self, start: usize, count: usize, columns: usize) -> &'a [f32] {
        let Head::F32 { values, .. } = self.head else { return &[] };
        self.part(values.get((start + self.first_key) * columns..), count, columns)
    }

    fn part(self, panel: Option<&'a [f32]>, k: usize, columns: usize) -> &'a [f32] {
        panel.and_then(|panel| panel.get(fetched(k) * self.asked..k * columns)).unwrap_or_default()
    }
}

struct Task<'a> {
    call: Call<'a>,
    panels: &'a Panels<'a>,
    batch: usize,
    first: usize,
    state: State,
}

impl Task<'_> {
    /// One head of this task's queries, written to their rows of the output.
    fn head(&mut self, h: usize, q: &View, out: &mut [f32]) {
        let (shape, columns) = (self.call.shape, micro::columns(self.call.isa));
        let (dim, width) = (shape.head_dim, shape.width());
        let queries = out.len() / width;
        let padded = dim.next_multiple_of(columns);
        self.start(h, q, queries, padded);
        let most = if self.call.options.causal { self.first + queries } else { shape.keys };
        let blocks = shape.keys.div_ceil(KEY_BLOCK).max(1);
        let block = shape.keys.div_ceil(blocks).next_multiple_of(columns);
        let keys = self.panels.head(self.batch, h);
        let following = (h + 1 < shape.heads).then(|| self.panels.head(self.batch, h + 1));
        let seen = shape.keys.min(most);
        for first_key in (0..seen).step_by(block.max(1)) {
            let range = first_key..(first_key + block).min(shape.keys);
            let next = if range.end < seen {
                Some((&keys, range.end))
            } else {
                following.as_ref().map(|head| (head, 0))
            };
            for (asked, tile) in tiles(0..queries, micro::rows(self.call.isa)).enumerate() {
                let next = next.map(|(head, first_key)| Next { head, first_key, asked });
                self.block(h, &keys, tile.start, tile.len(), range.clone(), padded, next);
            }
        }
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            let scale = if self.state.sum[i] > 0.0 { 1.0 / self.state.sum[i] } else { self.state.sum[i] };
            let values = &self.state.out[i * padded..][..dim];
            row[h * dim..][..dim].iter_mut().zip(values).for_each(|(o, v)| *o = v * scale);
        }
    }

    fn start(&mut self, h: usize, q: &View, queries: usize, padded: usize) {
        let Call { isa, precision, shape, .. } = self.call;
        let dim = shape.head_dim;
        self.state.reset(isa, queries, dim, padded);
        for tile in tiles(0..queries, micro::rows(isa)) {
            let rows = tile.len();
            let tokens = gather(tile.clone().map(|i| q.token(shape, self.batch, self.first + i, h)));
            for next in tile.end..(tile.end + rows).min(queries) {
                prefetch(q.token(shape, self.batch, self.first + next, h));
            }
            let State { q, q_pairs, room, .. } = &mut self.state;
            match precision {
                Precision::F32 => transpose(isa, &tokens[..rows], dim, &mut q[tile.start * dim..], rows),
                Precision::Bf16(proof) => {
                    let out = &mut q_pairs[tile.start * dim.div_ceil(2)..];
                    transpose_pairs(isa, proof, &tokens[..rows], dim, room, out, rows);
                }
            }
        }
    }

    /// A tile of queries against a block of keys.
    #[allow(clippy::too_many_arguments)]
    fn block(
        &mut self,
        h: usize,
        head: &Head,
        row: usize,
        rows: usize,
        keys: Range<usize>,
        padded: usize,
        next: Option<Next>,
    ) {
        self.scores(head, row, rows, &keys, next);
        let Call { isa, shape, options, .. } = self.call;
        let State { out, max, sum, scores, pairs, .. } = &mut self.state;
        if !options.is_plain() {
            for i in 0..rows {
                let scores = &mut scores[i * STRIDE..][..keys.len()];
                options.adjust(shape, scores, h, self.batch, self.first + row + i, keys.start);
            }
        }
        let tile = row..row + rows;
        let running = Running {
            max: &mut max[tile.clone()],
            sum: &mut sum[tile.clone()],
            out: &mut out[tile.start * padded..tile.end * padded],
            width: padded,
            scale: if options.is_plain() { options.scale } else { 1.0 },
        };
        let pairs = match head {
            Head::F32 { .. } => None,
            Head::Bf16 { proof, .. } => Some((*proof, &mut pairs[..])),
        };
        online_softmax(isa, scores, keys.len(), running, pairs);
        self.add_values(head, row, rows, &keys, padded, next);
    }

    /// The products of a tile of queries with a block of keys.
    fn scores(&mut self, head: &Head, row: usize, rows: usize, keys: &Range<usize>, next: Option<Next>) {
        let (isa, dim) = (self.call.isa, self.call.shape.head_dim);
        let State { q, q_pairs, scores, .. } = &mut self.state;
        let columns = micro::columns(isa);
        for first in (0..keys.len()).step_by(columns) {
            let scores = &mut scores[first..];
            match head {
                Head::F32 { keys: panels, .. } => {
                    let panel = &panels[(keys.start + first) * dim..][..columns * dim];
                    let q = Left::Packed(&q[row * dim..][..rows * dim]);
                    let next = next.map_or(&[][..], |next| next.keys(first, dim, columns));
                    let ahead = Ahead { next, lines: &[] };
                    micro::tile(isa, rows, dim, q, panel, ahead, scores, STRIDE, false);
                }
                Head::Bf16 { proof, keys: panels, .. } => {
                    let pairs = dim.div_ceil(2);
                    let panel = &panels[(keys.start + first) * pairs..][..columns * pairs];
                    let q = LeftPairs::Packed(&q_pairs[row * pairs..][..rows * pairs]);
                    bf16::tile(*proof, rows, pairs, q, panel, scores, STRIDE, false);
                }
            }
        }
    }

    /// Adds the block's values, weighted, to the running results.
    fn add_values(
        &mut self,
        head: &Head,
        row: usize,
        rows: usize,
        keys: &Range<usize>,
        padded: usize,
        next: Option<Next>,
    ) {
        let (isa, shape) = (self.call.isa, self.call.shape);
        let State { out, scores, pairs, .. } = &mut self.state;
        let (columns, count) = (micro::columns(isa), keys.len());
        let out = &mut out[row * padded..(row + rows) * padded];
        match head {
            Head::F32 { values, .. } => {
                for (c, panel) in values.chunks_exact(shape.keys * columns).enumerate() {
                    let panel = &panel[keys.start * columns..][..count * columns];
                    let weights = Left::Strided(scores);
                    let next = next.map_or(&[][..], |next| next.values(c * shape.keys, count, columns));
                    let ahead = Ahead { next, lines: &[] };
                    micro::tile(
                        isa,
                        rows,
                        count,
                        weights,
                        panel,
                        ahead,
                        &mut out[c * columns..],
                        padded,
                        true,
                    );
                }
            }
            Head::Bf16 { proof, values, .. } => {
                let count = count.div_ceil(2);
                for (c, panel) in values.chunks_exact(shape.keys.div_ceil(2) * columns).enumerate() {
                    let panel = &panel[keys.start / 2 * columns..][..count * columns];
                    let weights = LeftPairs::Strided(pairs);
                    bf16::tile(*proof, rows, count, weights, panel, &mut out[c * columns..], padded, true);
                }
            }
        }
    }
}

impl Options<'_> {
    /// Whether scores need nothing but their scale.
    fn is_plain(&self) -> bool {
        matches!(self.bias, Bias::None) && self.key_padding.is_none() && !self.causal
    }

    /// Scales a row of products, adds the bias and hides the keys that are not to be seen.
    fn adjust(&self, shape: &Shape, scores: &mut [f32], h: usize, b: usize, i: usize, first_key: usize) {
        let row = h * shape.queries + i;
        scores.iter_mut().for_each(|s| *s *= self.scale);
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
