//! Tensors laid one after the other along an axis.
//!
//! Shapes: part `p` is `[rows, len_p]`, where `len_p` is its extent along the axis times everything inside it and
//! `rows` everything outside; `out` is `[rows, sum of len_p]`. Reads and writes every element once: 8 bytes and no
//! flops an element.

pub mod cpu;
pub mod reference;

/// One operand: its values and how many of them belong to a row.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// `[rows, len]`, row-major.
    pub values: &'a [f32],
    /// Elements of a row.
    pub len: usize,
}
