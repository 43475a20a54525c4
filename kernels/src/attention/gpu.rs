//! Attention on a GPU.

use super::Shape;
use crate::gpu::{Constant, Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&FLASH];

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
        &[("QUADS", 2), ("KEYS", 32)],
        &[("QUADS", 4), ("KEYS", 32)],
        &[("QUADS", 8), ("KEYS", 32)],
        &[("QUADS", 8), ("KEYS", 32), ("BIAS", 2)],
        &[("QUADS", 16), ("KEYS", 16), ("BIAS", 1), ("PADDED", 1)],
        &[("QUADS", 16), ("KEYS", 16), ("CAUSAL", 1)],
        &[("QUADS", 16), ("SHARES", 2), ("KEYS", 8)],
        &[("QUADS", 4), ("SHARES", 2), ("KEYS", 32)],
        &[("QUADS", 8), ("SHARES", 2), ("KEYS", 16), ("BIAS", 2)],
        &[("QUADS", 16), ("KEYS", 8)],
        &[("QUADS", 16), ("SHARES", 4), ("KEYS", 4), ("BIAS", 2), ("CAUSAL", 1), ("PADDED", 1)],
    ],
};

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
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
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
