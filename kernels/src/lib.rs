//! The kernels of sam3i.
//!
//! One folder per op: `mod.rs` is the contract (formula, shapes, cost, parameters), `reference.rs` the plain
//! loop that is obviously right, `cpu.rs` the fast one. A kernel sees slices and numbers only: no tensors, no
//! devices, no memory management. All data is row-major `f32` unless the contract says otherwise.
//!
//! Conventions shared by every op:
//!
//! * a kernel checks its slice lengths with `assert!`: the caller (the engine's ops) has already turned a
//!   user's mistake into an error, so a wrong length here is a bug;
//! * every element of `out` is written; what it held before is never read, unless the contract says so;
//! * `cpu::run` takes an [`isa::Isa`], the proof of what this processor can do, and splits its work over the
//!   rayon pool it is called in. Its result does not depend on the number of threads.

pub mod attention;
pub mod concat;
pub mod conv;
pub mod conv_transpose;
pub mod copy;
pub mod elementwise;
pub mod embedding;
pub mod gpu;
pub mod grid_sample;
pub mod group_norm;
pub mod isa;
pub mod layer_norm;
pub mod math;
pub mod matmul;
pub mod mean_rows;
pub mod memory;
pub mod parallel;
pub mod peak;
pub mod pool;
pub mod resize;
pub mod roi_align;
pub mod rope;
pub mod sine;
pub mod softmax;
mod wide_math;
pub mod window;
