//! Keys and values as column panels of the register tile, packed once a call.

use super::super::{Shape, View};
use crate::isa::{Avx512Bf16, Isa, Precision};
use crate::matmul::cpu::bf16;
use crate::matmul::cpu::micro;
use crate::matmul::cpu::pack::{MOST_ROWS, transpose, transpose_pairs};
use crate::memory::prefetch;
use rayon::prelude::*;

/// Tokens that are asked for ahead of their use: each lies in a page of its own.
const AHEAD: usize = 16;

/// Slices of tokens on their way to a transpose.
pub(super) type Rows<'a> = [&'a [f32]; MOST_ROWS];

/// Up to [`MOST_ROWS`] tokens, in an array.
pub(super) fn gather<'a>(tokens: impl Iterator<Item = &'a [f32]>) -> Rows<'a> {
    let mut rows: Rows = [&[]; MOST_ROWS];
    rows.iter_mut().zip(tokens).for_each(|(row, token)| *row = token);
    rows
}

/// All keys and values of a call, zero-filled at the edges.
pub(super) struct Panels<'a> {
    heads: usize,
    sizes: Sizes,
    precision: Precision,
    /// For each problem and head: keys, then values.
    packed: &'a [f32],
}

/// The packed keys and values of one head.
pub(super) enum Head<'a> {
    F32 {
        /// Panels of keys, each `[head_dim, columns]`.
        keys: &'a [f32],
        /// Panels of channels, each `[keys, columns]`.
        values: &'a [f32],
    },
    Bf16 {
        proof: Avx512Bf16,
        /// Panels of keys, each `[head_dim / 2, columns]` pairs.
        keys: &'a [u32],
        /// Panels of channels, each `[keys / 2, columns]` pairs.
        values: &'a [u32],
    },
}

/// Elements (values or pairs) of one head's panels.
#[derive(Clone, Copy)]
struct Sizes {
    columns: usize,
    keys: usize,
    values: usize,
}

impl Sizes {
    fn new(isa: Isa, precision: Precision, shape: &Shape) -> Self {
        let columns = micro::columns(isa);
        let halve = |n: usize| if precision == Precision::F32 { n } else { n.div_ceil(2) };
        let whole = |n: usize| n.next_multiple_of(columns);
        Self {
            columns,
            keys: whole(shape.keys) * halve(shape.head_dim),
            values: whole(shape.head_dim) * halve(shape.keys),
        }
    }
}

/// Elements of the scratch memory that a call needs.
#[must_use]
pub fn scratch_len(isa: Isa, precision: Precision, shape: &Shape) -> usize {
    let sizes = Sizes::new(isa, precision, shape);
    shape.batch * shape.heads * (sizes.keys + sizes.values)
}

impl<'a> Panels<'a> {
    /// Packs all keys and values into `scratch`.
    pub fn fill(
        isa: Isa,
        precision: Precision,
        shape: &Shape,
        k: View,
        v: View,
        scratch: &'a mut [f32],
    ) -> Self {
        let sizes = Sizes::new(isa, precision, shape);
        let packed = &mut scratch[..scratch_len(isa, precision, shape)];
        if !packed.is_empty() {
            packed.par_chunks_mut(sizes.keys + sizes.values).enumerate().for_each(|(problem, packed)| {
                let (b, h) = (problem / shape.heads, problem % shape.heads);
                let (keys, values) = packed.split_at_mut(sizes.keys);
                let key = |j| k.token(shape, b, j, h);
                let value = |j| v.token(shape, b, j, h);
                match precision {
                    Precision::F32 => {
                        pack_keys(isa, shape, sizes.columns, key, keys);
                        pack_values(shape, sizes.columns, value, values);
                    }
                    Precision::Bf16(proof) => {
                        pack_key_pairs(isa, proof, shape, key, bytemuck::cast_slice_mut(keys));
                        pack_value_pairs(proof, shape, value, bytemuck::cast_slice_mut(values));
                    }
                }
            });
        }
        Self { heads: shape.heads, sizes, precision, packed }
    }

    /// The panels of head `h` of problem `b`.
    pub fn head(&self, b: usize, h: usize) -> Head<'a> {
        let len = self.sizes.keys + self.sizes.values;
        let packed: &'a [f32] = &self.packed[(b * self.heads + h) * len..][..len];
        let (keys, values) = packed.split_at(self.sizes.keys);
        match self.precision {
            Precision::F32 => Head::F32 { keys, values },
            Precision::Bf16(proof) => {
                Head::Bf16 { proof, keys: bytemuck::cast_slice(keys), values: bytemuck::cast_slice(values) }
            }
        }
    }
}

fn pack_keys<'t>(isa: Isa, shape: &Shape, columns: usize, key: impl Fn(usize) -> &'t [f32], out: &mut [f32]) {
    let dim = shape.head_dim;
    out[shape.keys / columns * columns * dim..].fill(0.0); // the last panel, if it is not full
    for first in (0..shape.keys).step_by(columns.min(MOST_ROWS)) {
        let tokens = first..(first + columns.min(MOST_ROWS)).min(shape.keys);
        let rows = gather(tokens.clone().map(&key));
        (tokens.end..(tokens.end + AHEAD).min(shape.keys)).for_each(|next| prefetch(key(next)));
        let at = first / columns * columns * dim + first % columns;
        transpose(isa, &rows[..tokens.len()], dim, &mut out[at..], columns);
    }
}

fn pack_values<'t>(shape: &Shape, columns: usize, value: impl Fn(usize) -> &'t [f32], out: &mut [f32]) {
    out[shape.head_dim / columns * columns * shape.keys..].fill(0.0);
    for j in 0..shape.keys {
        if j + AHEAD < shape.keys {
            prefetch(value(j + AHEAD));
        }
        for (panel, part) in value(j).chunks(columns).enumerate() {
            out[(panel * shape.keys + j) * columns..][..part.len()].copy_from_slice(part);
        }
    }
}

fn pack_key_pairs<'t>(
    isa: Isa,
    proof: Avx512Bf16,
    shape: &Shape,
    key: impl Fn(usize) -> &'t [f32],
    out: &mut [u32],
) {
    const HALF: usize = MOST_ROWS; // half a panel's columns at a time
    let (dim, pairs) = (shape.head_dim, shape.head_dim.div_ceil(2));
    let mut room = vec![0; pairs * HALF];
    out[shape.keys / bf16::COLUMNS * bf16::COLUMNS * pairs..].fill(0);
    for first in (0..shape.keys).step_by(HALF) {
        let tokens = first..(first + HALF).min(shape.keys);
        let rows = gather(tokens.clone().map(&key));
        (tokens.end..(tokens.end + AHEAD).min(shape.keys)).for_each(|next| prefetch(key(next)));
        let at = first / bf16::COLUMNS * bf16::COLUMNS * pairs + first % bf16::COLUMNS;
        let rows = &rows[..tokens.len()];
        transpose_pairs(isa, proof, rows, dim, &mut room, &mut out[at..], bf16::COLUMNS);
    }
}

fn pack_value_pairs<'t>(
    proof: Avx512Bf16,
    shape: &Shape,
    value: impl Fn(usize) -> &'t [f32],
    out: &mut [u32],
) {
    let pairs = shape.keys.div_ceil(2);
    let nothing = vec![0.0; shape.head_dim];
    out[shape.head_dim / bf16::COLUMNS * bf16::COLUMNS * pairs..].fill(0);
    for p in 0..pairs {
        if 2 * p + AHEAD + 1 < shape.keys {
            prefetch(value(2 * p + AHEAD));
            prefetch(value(2 * p + AHEAD + 1));
        }
        let first = value(2 * p);
        let second = if 2 * p + 1 < shape.keys { value(2 * p + 1) } else { &nothing };
        let parts = first.chunks(bf16::COLUMNS).zip(second.chunks(bf16::COLUMNS));
        for (panel, (first, second)) in parts.enumerate() {
            let out = &mut out[(panel * pairs + p) * bf16::COLUMNS..][..first.len()];
            bf16::join_two(proof, first, second, out);
        }
    }
}
