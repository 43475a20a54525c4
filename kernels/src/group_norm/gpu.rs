//! Group norm on a GPU, in three steps: statistics of chunks, of groups, and the norm itself.

use crate::gpu::{Kernel, Needs, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&STATISTICS, &STATISTICS_SUBGROUPS, &MERGE, &APPLY];

/// Pixels of a chunk.
pub const CHUNK: usize = 256;

/// Mean and squares of each chunk, `[groups, chunks]` pairs. Launched over chunks and groups.
pub const STATISTICS: Kernel = Kernel {
    name: "group_norm_statistics",
    source: include_str!("statistics.wgsl"),
    inputs: 1,
    params: StatisticsParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

/// The same with sums by subgroups: two barriers a sum instead of eight.
pub const STATISTICS_SUBGROUPS: Kernel = Kernel {
    name: "group_norm_statistics_subgroups",
    source: include_str!("statistics_subgroups.wgsl"),
    needs: Needs { subgroups: true, ..PORTABLE },
    ..STATISTICS
};

/// Mean and inverse deviation of each group, `[groups]` pairs. Launched over groups.
pub const MERGE: Kernel = Kernel {
    name: "group_norm_merge",
    source: include_str!("merge.wgsl"),
    inputs: 1,
    params: MergeParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

/// The norm; operands: map, gamma, beta, statistics of [`MERGE`].
pub const APPLY: Kernel = Kernel {
    name: "group_norm_apply",
    source: include_str!("apply.wgsl"),
    inputs: 4,
    params: ApplyParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("RELU", 1)]],
};

params! {
    /// Parameters of [`STATISTICS`].
    pub struct StatisticsParams {
        /// Pixels of the map.
        pub pixels: u32,
        /// Its channels.
        pub channels: u32,
        /// Channels of a group.
        pub per_group: u32,
        /// Pixels of a chunk.
        pub chunk: u32,
        /// Chunks.
        pub chunks: u32,
        /// Where the map begins.
        pub x_at: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 2],
    }
}

params! {
    /// Parameters of [`MERGE`].
    pub struct MergeParams {
        /// Pixels of the map.
        pub pixels: u32,
        /// Channels of a group.
        pub per_group: u32,
        /// Pixels of a chunk.
        pub chunk: u32,
        /// Chunks.
        pub chunks: u32,
        /// Added to the variance.
        pub eps: f32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}

params! {
    /// Parameters of [`APPLY`].
    pub struct ApplyParams {
        /// Elements.
        pub len: u32,
        /// Channels.
        pub channels: u32,
        /// Channels of a group.
        pub per_group: u32,
        /// Where the map begins.
        pub x_at: u32,
        /// Where gamma begins.
        pub gamma_at: u32,
        /// Where beta begins.
        pub beta_at: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 2],
    }
}
