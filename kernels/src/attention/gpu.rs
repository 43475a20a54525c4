//! Attention on a GPU.

use super::Shape;
use crate::gpu::{Constant, Kernel, Needs, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&FLASH, &FLASH_HALVES, &MERGE, &PACK, &MATRICES];

/// Attention of any shape; operands: q, k, v, padding (a word a key), bias (whole, or of the map's rows), bias of its
/// columns. What is bound for the last three is not read where the constants `PADDED` and `BIAS` do not say so.
pub const FLASH: Kernel = Kernel {
    name: "attention_flash",
    source: include_str!("flash.wgsl"),
    inputs: 6,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[
        &[("QUADS", 2), ("SHARES", 1), ("KEYS", 32)],
        &[("QUADS", 4), ("SHARES", 1), ("KEYS", 32)],
        &[("QUADS", 8), ("SHARES", 1), ("KEYS", 32)],
        &[("QUADS", 16), ("SHARES", 1), ("KEYS", 16)],
        &[("QUADS", 16), ("SHARES", 2), ("KEYS", 8)],
        &[("QUADS", 16), ("SHARES", 4), ("KEYS", 4)],
        &[("QUADS", 2), ("SHARES", 1), ("KEYS", 16)],
        &[("QUADS", 4), ("SHARES", 1), ("KEYS", 16)],
        &[("QUADS", 8), ("SHARES", 1), ("KEYS", 16)],
        &[("QUADS", 16), ("SHARES", 1), ("KEYS", 8)],
        &[("QUADS", 16), ("SHARES", 2), ("KEYS", 4)],
        &[("QUADS", 16), ("SHARES", 4), ("KEYS", 2)],
        &[("QUADS", 2), ("SHARES", 2), ("KEYS", 32)],
        &[("QUADS", 4), ("SHARES", 2), ("KEYS", 32)],
        &[("QUADS", 8), ("SHARES", 2), ("KEYS", 16)],
        &[("QUADS", 8), ("SHARES", 4), ("KEYS", 8)],
        &[("BIAS", 1)],
        &[("BIAS", 2)],
        &[("CAUSAL", 1)],
        &[("PADDED", 1)],
        &[("SPLIT", 1)],
    ],
};

/// What [`FLASH`] finds for parts of the keys (`SPLIT`), put together.
pub const MERGE: Kernel = Kernel {
    name: "attention_merge",
    source: include_str!("merge.wgsl"),
    inputs: 1,
    params: MergeParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

/// [`FLASH`] with keys and values in f16 in workgroup memory. The constant `F16` is set.
pub const FLASH_HALVES: Kernel = Kernel {
    name: "attention_flash_halves",
    needs: Needs { f16: true, ..PORTABLE },
    variants: &[
        &[("F16", 1), ("QUADS", 2), ("SHARES", 1), ("KEYS", 32)],
        &[("F16", 1), ("QUADS", 4), ("SHARES", 1), ("KEYS", 32)],
        &[("F16", 1), ("QUADS", 8), ("SHARES", 1), ("KEYS", 32)],
        &[("F16", 1), ("QUADS", 16), ("SHARES", 1), ("KEYS", 32)],
        &[("F16", 1), ("QUADS", 16), ("SHARES", 2), ("KEYS", 16)],
        &[("F16", 1), ("QUADS", 16), ("SHARES", 4), ("KEYS", 8)],
        &[("BIAS", 1)],
        &[("BIAS", 2)],
        &[("CAUSAL", 1)],
        &[("PADDED", 1)],
    ],
    ..FLASH
};

/// Queries, keys or values in f16 for [`MATRICES`]; operands: the values, and where `ROTATED` the table of their rotation.
pub const PACK: Kernel = Kernel {
    name: "attention_pack",
    source: include_str!("pack.wgsl"),
    inputs: 2,
    params: PackParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("ROTATED", 1)]],
};

/// Attention on matrix units; operands: q, k, v as [`PACK`] makes them, and the rest as [`FLASH`] has it. Constants: `SIDE`,
/// `LANES`, `HEAD`, `ROWS`, `PLAIN`.
pub const MATRICES: Kernel = Kernel {
    name: "attention_matrices",
    source: include_str!("matrices.wgsl"),
    inputs: 6,
    params: MatricesParams::LAYOUT,
    threads: 128,
    needs: Needs { f16: true, subgroups: true, matrices: true, shared: 30 * 1024 },
    variants: &[
        &[("SIDE", 16)],
        &[("LANES", 4)],
        &[("LANES", 8)],
        &[("LANES", 16)],
        &[("LANES", 64)],
        &[("HEAD", 16), ("ROWS", 16)],
        &[("HEAD", 32), ("ROWS", 16)],
        &[("HEAD", 128), ("ROWS", 16)],
        &[("HEAD", 16), ("ROWS", 32)],
        &[("HEAD", 32), ("ROWS", 32)],
        &[("HEAD", 64), ("ROWS", 32)],
        &[("PLAIN", 1)],
    ],
};

params! {
    /// Parameters of [`PACK`].
    pub struct PackParams {
        /// Words of the result.
        pub words: u32,
        /// Tokens of a problem.
        pub tokens: u32,
        /// The same with those that fill the last block.
        pub rows: u32,
        /// Heads.
        pub heads: u32,
        /// Channels of a head.
        pub head_dim: u32,
        /// Words of a token's head in the result.
        pub row_words: u32,
        /// Where the values begin.
        pub x_at: u32,
        /// Elements between problems.
        pub x_batch: u32,
        /// Elements between tokens.
        pub x_token: u32,
        /// Where the table begins.
        pub table_at: u32,
        /// What values are multiplied by.
        pub scale: f32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

params! {
    /// Parameters of [`MATRICES`].
    pub struct MatricesParams {
        /// Queries of each problem.
        pub queries: u32,
        /// Keys of each problem.
        pub keys: u32,
        /// Heads.
        pub heads: u32,
        /// Channels of a head.
        pub head_dim: u32,
        /// Tokens of a head in the packed queries.
        pub q_rows: u32,
        /// Tokens of a head in the packed keys and values.
        pub k_rows: u32,
        /// Where the bias begins.
        pub bias_at: u32,
        /// Where the bias of columns begins.
        pub columns_at: u32,
        /// Columns of the keys' map.
        pub map_width: u32,
        /// Blocks of queries that other dispatches do.
        pub first_block: u32,
        /// Problems that other dispatches do.
        pub first_problem: u32,
        /// [`CAUSAL`], [`PADDED`], [`WHOLE_BIAS`], [`MAP_BIAS`].
        pub kind: u32,
    }
}

/// Kind of a call: query `i` sees keys up to `i`.
pub const CAUSAL: u32 = 1;
/// Kind: some keys are padding.
pub const PADDED: u32 = 2;
/// Kind: what is added to the scores is `[heads, queries, keys]`.
pub const WHOLE_BIAS: u32 = 4;
/// Kind: it is of the map's rows and columns.
pub const MAP_BIAS: u32 = 8;

/// Keys of a block of [`MATRICES`].
pub const MATRICES_KEYS: usize = 32;

/// Channels of a head as [`MATRICES`] pads them. `None` for heads it does not take: their matrices would not stay in registers.
#[must_use]
pub fn matrices_head(head_dim: usize) -> Option<usize> {
    [16, 32, 64, 128].into_iter().find(|&padded| head_dim <= padded)
}

params! {
    /// Parameters of [`FLASH`].
    pub struct Params {
        /// Queries of each problem.
        pub queries: u32,
        /// Keys of each problem.
        pub keys: u32,
        /// Heads.
        pub heads: u32,
        /// Channels of a head.
        pub head_dim: u32,
        /// Where the queries begin.
        pub q_at: u32,
        /// Elements between problems of the queries.
        pub q_batch: u32,
        /// Elements between tokens of the queries.
        pub q_token: u32,
        /// Where the keys begin.
        pub k_at: u32,
        /// Elements between problems of the keys.
        pub k_batch: u32,
        /// Elements between tokens of the keys.
        pub k_token: u32,
        /// Where the values begin.
        pub v_at: u32,
        /// Elements between problems of the values.
        pub v_batch: u32,
        /// Elements between tokens of the values.
        pub v_token: u32,
        /// Where the bias begins.
        pub bias_at: u32,
        /// Where the bias of columns begins.
        pub columns_at: u32,
        /// Columns of the keys' map.
        pub map_width: u32,
        /// What scores are multiplied by.
        pub scale: f32,
        /// Blocks of queries that other dispatches do.
        pub first_block: u32,
        /// Problems that other dispatches do.
        pub first_problem: u32,
        /// Parts of the keys, where they are split.
        pub parts: u32,
        /// Problems in all.
        pub problems: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}

params! {
    /// Parameters of [`MERGE`].
    pub struct MergeParams {
        /// Elements of the result.
        pub len: u32,
        /// Channels of a head.
        pub head_dim: u32,
        /// Problems, queries and heads.
        pub rows: u32,
        /// Parts of the keys.
        pub parts: u32,
    }
}

/// The largest head there is a form for.
pub const MOST_CHANNELS: usize = 256;

/// How a head is split: quads of a thread, threads of a query, keys of a block.
pub type Split = [Constant; 3];

/// The split of a head of this size that needs no choice. `None` above [`MOST_CHANNELS`].
#[must_use]
pub fn split(head_dim: usize) -> Option<Split> {
    let (quads, shares, keys) = match head_dim {
        0..=8 => (2, 1, 32),
        9..=16 => (4, 1, 32),
        17..=32 => (8, 1, 32),
        33..=64 => (16, 1, 16),
        65..=128 => (16, 2, 8),
        129..=MOST_CHANNELS => (16, 4, 4),
        _ => return None,
    };
    Some([("QUADS", quads), ("SHARES", shares), ("KEYS", keys)])
}

/// The same head with blocks of half as many keys: less workgroup memory, so more workgroups at a time.
#[must_use]
pub fn shorter([quads, shares, (name, keys)]: Split) -> Split {
    [quads, shares, (name, keys / 2)]
}

/// The same head with twice the threads a query: fewer registers, more sums across threads. `None` where a thread's share is
/// as small as it gets, or a query's threads as many.
#[must_use]
pub fn shared([(quads, in_thread), (shares, threads), keys]: Split) -> Option<Split> {
    (in_thread > 2 && threads < 4).then_some([(quads, in_thread / 2), (shares, threads * 2), keys])
}

/// The same head with blocks of keys for [`FLASH_HALVES`]: twice as many where there is room.
#[must_use]
pub fn halves([quads, shares, (name, keys)]: Split) -> Split {
    [quads, shares, (name, if quads.1 == 16 { 2 * keys } else { keys })]
}

/// Workgroups from which on no card has idle cores.
const ENOUGH_GROUPS: usize = 512;
/// Keys of a part at least, and parts at most: merging costs a pass over the result for each.
const LEAST_KEYS: usize = 256;
const MOST_PARTS: usize = 16;

/// Parts to split the keys into, where the queries alone make too few workgroups; 1 otherwise.
#[must_use]
pub fn parts(shape: &Shape, split: &Split) -> usize {
    let groups = shape.batch * shape.heads * shape.queries.div_ceil(queries_of_a_group(split));
    let wanted = ENOUGH_GROUPS.div_ceil(groups.max(1));
    wanted.min(shape.keys / LEAST_KEYS).clamp(1, MOST_PARTS)
}

/// Queries of a workgroup, for a split.
#[must_use]
pub fn queries_of_a_group(split: &Split) -> usize {
    64 / split[1].1 as usize
}

/// Workgroups of all queries.
#[must_use]
pub fn groups(shape: &Shape, split: &Split) -> [u32; 3] {
    let blocks = shape.queries.div_ceil(queries_of_a_group(split));
    [blocks as u32, shape.heads as u32, shape.batch as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_every_head_is_listed() {
        for whole in (1..=MOST_CHANNELS).filter_map(split) {
            for split in [Some(whole), Some(shorter(whole)), shared(whole)].into_iter().flatten() {
                assert!(FLASH.lists(&split), "{split:?}");
            }
        }
    }
}
