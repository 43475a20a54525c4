//! What a GPU can do at most: kernels that compute nothing anybody wants, as fast as can be.

use crate::gpu::{Kernel, Needs, PORTABLE, params};

/// All of them.
pub const KERNELS: &[&Kernel] = &[&MULTIPLY_ADDS, &MATRICES, &COPY];

/// Multiply-adds of each thread in a round, two flops each.
pub const MULTIPLY_ADDS_A_ROUND: u64 = 32;
/// Products of matrices of each subgroup in a round, `2 SIDE³` flops each.
pub const MATRICES_A_ROUND: u64 = 8;
/// Subgroups of a workgroup of [`MATRICES`].
pub const SUBGROUPS: u64 = 4;

/// Multiply-adds in f32; a result a thread, see [`MULTIPLY_ADDS_END`].
pub const MULTIPLY_ADDS: Kernel = Kernel {
    name: "peak_multiply_adds",
    source: include_str!("multiply_adds.wgsl"),
    inputs: 0,
    params: MultiplyAddsParams::LAYOUT,
    threads: 256,
    needs: PORTABLE,
    variants: &[],
};

/// Every result of [`MULTIPLY_ADDS`] with `a` of a half and `b` of a quarter, after 64 rounds or more.
pub const MULTIPLY_ADDS_END: f32 = 16.0;

/// Products on matrix units; operand: a matrix in f16, for both sides. Constants: `SIDE`, `LANES`.
pub const MATRICES: Kernel = Kernel {
    name: "peak_matrices",
    source: include_str!("matrices.wgsl"),
    inputs: 1,
    params: MatricesParams::LAYOUT,
    threads: 128,
    needs: Needs { f16: true, matrices: true, ..PORTABLE },
    variants: &[&[("SIDE", 16)], &[("LANES", 4)], &[("LANES", 8)], &[("LANES", 16)], &[("LANES", 64)]],
};

/// A copy of quads of values.
pub const COPY: Kernel = Kernel {
    name: "peak_copy",
    source: include_str!("copy.wgsl"),
    inputs: 1,
    params: CopyParams::LAYOUT,
    threads: 256,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`MULTIPLY_ADDS`].
    pub struct MultiplyAddsParams {
        /// Rounds.
        pub rounds: u32,
        /// What a chain is multiplied by.
        pub a: f32,
        /// What is added to it.
        pub b: f32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

params! {
    /// Parameters of [`MATRICES`].
    pub struct MatricesParams {
        /// Rounds.
        pub rounds: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}

params! {
    /// Parameters of [`COPY`].
    pub struct CopyParams {
        /// Quads.
        pub quads: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}
