//! Copy of a strided view to contiguous memory: `out[i, j, ..] = x[i * strides[0] + j * strides[1] + ..]`.
//!
//! Shapes: any [`Layout`], given as extents and strides in elements; `out` has the product of the extents. A
//! stride of 0 repeats its operand, so a broadcast is a copy too. Reads and writes every element once: 8 bytes and
//! no flops an element. A stored element under gaps is never read.

pub mod cpu;
pub mod gpu;
mod layout;
pub mod reference;

pub use layout::Layout;
