//! Rows of a table by their number: `out[i] = table[ids[i]]`.
//!
//! Shapes: `table [v, c]`, `ids [n]`, `out [n, c]`. Every id is below `v`. Reads and writes `n * c` elements: 8 bytes
//! and no flops an element.

pub mod cpu;
pub mod gpu;
pub mod reference;
