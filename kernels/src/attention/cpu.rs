//! Blocked attention on the register tile of the matrix product.
//!
//! Keys and values are packed once a call into column panels. A task takes up to [`QUERY_BLOCK`] queries of one
//! problem; for each head it visits the keys in blocks of [`KEY_BLOCK`]: scores of a tile of queries (in the first
//! cache), bias and masks, the running maximum and sum, and the product with the values.

use super::{Bias, Options, Shape, View};
use crate::isa::{Isa, multiversion};
use crate::math::exp;
use crate::matmul::cpu::driver::tiles;
use crate::matmul::cpu::micro::{self, LARGEST, Left, STRIDE, Tile};
use rayon::prelude::*;

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
        for first_key in (0..self.shape.keys.min(most)).step_by(KEY_BLOCK) {
            for tile in tiles(0..queries, micro::rows(self.isa)) {
                self.block(h, tile.start, tile.len(), first_key, padded);
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
            let packed = &mut state.q[tile.start * self.shape.head_dim..];
            for (r, i) in tile.clone().enumerate() {
                let values = q.token(self.shape, self.batch, self.first + i, h);
                for (c, &value) in values.iter().enumerate() {
                    packed[c * tile.len() + r] = value * self.options.scale;
                }
            }
        }
    }

    /// A tile of queries against a block of keys.
    fn block(&mut self, h: usize, row: usize, rows: usize, first_key: usize, padded: usize) {
        let keys = KEY_BLOCK.min(self.shape.keys - first_key);
        self.scores(h, row, rows, first_key, keys);
        for i in 0..rows {
            let scores = &mut self.state.scores[i * STRIDE..][..keys];
            self.options.adjust(self.shape, scores, h, self.batch, self.first + row + i, first_key);
            let (max, sum) = (&mut self.state.max[row + i], &mut self.state.sum[row + i]);
            let shrink = online_softmax(self.isa, scores, max, sum);
            if shrink != 1.0 {
                scale(self.isa, &mut self.state.out[(row + i) * padded..][..padded], shrink);
            }
        }
        self.add_values(h, row, rows, first_key, keys, padded);
    }

    fn scores(&mut self, h: usize, row: usize, rows: usize, first_key: usize, keys: usize) {
        let (dim, columns) = (self.shape.head_dim, self.panels.columns);
        let (key_panels, _) = self.panels.head(self.shape, self.batch, h);
        let q = &self.state.q[row * dim..][..rows * dim];
        let mut tile = Tile([0.0; LARGEST]);
        for first in (0..keys).step_by(columns) {
            let panel = &key_panels[(first_key + first) * dim..][..columns * dim];
            micro::tile(self.isa, rows, dim, Left::Packed(q), panel, &mut tile);
            let take = columns.min(keys - first);
            for (i, sums) in tile.0.chunks_exact(columns).take(rows).enumerate() {
                self.state.scores[i * STRIDE + first..][..take].copy_from_slice(&sums[..take]);
            }
        }
    }

    fn add_values(
        &mut self,
        h: usize,
        row: usize,
        rows: usize,
        first_key: usize,
        keys: usize,
        padded: usize,
    ) {
        let columns = self.panels.columns;
        let (_, value_panels) = self.panels.head(self.shape, self.batch, h);
        let weights = Left::Strided(&self.state.scores);
        let mut tile = Tile([0.0; LARGEST]);
        for (c, panel) in value_panels.chunks_exact(self.shape.keys * columns).enumerate() {
            let panel = &panel[first_key * columns..][..keys * columns];
            micro::tile(self.isa, rows, keys, weights, panel, &mut tile);
            for (i, sums) in tile.0.chunks_exact(columns).take(rows).enumerate() {
                let out = &mut self.state.out[(row + i) * padded + c * columns..][..columns];
                out.iter_mut().zip(sums).for_each(|(o, s)| *o += s);
            }
        }
    }
}

impl Options<'_> {
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
    /// Turns a row of scores into weights relative to the running maximum; returns what earlier sums shrink by.
    fn online_softmax = online_softmax_body(scores: &mut [f32], max: &mut f32, sum: &mut f32) -> f32
);

#[inline(always)]
fn online_softmax_body(scores: &mut [f32], max: &mut f32, sum: &mut f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let mut chunks = scores.chunks_exact(16);
    for chunk in &mut chunks {
        lanes.iter_mut().zip(chunk).for_each(|(m, &s)| *m = if s > *m { s } else { *m });
    }
    let new = chunks.remainder().iter().chain(&lanes).fold(*max, |m, &s| if s > m { s } else { m });
    let base = if new == f32::NEG_INFINITY { 0.0 } else { new };
    let mut lanes = [0f32; 16];
    let mut chunks = scores.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for (l, s) in lanes.iter_mut().zip(chunk) {
            *s = exp(*s - base);
            *l += *s;
        }
    }
    let mut rest = 0.0;
    for s in chunks.into_remainder() {
        *s = exp(*s - base);
        rest += *s;
    }
    let shrink = exp(*max - base);
    *sum = *sum * shrink + (lanes.iter().sum::<f32>() + rest);
    *max = new;
    shrink
}

multiversion!(fn scale = scale_body(values: &mut [f32], by: f32));

#[inline(always)]
fn scale_body(values: &mut [f32], by: f32) {
    values.iter_mut().for_each(|v| *v *= by);
}
