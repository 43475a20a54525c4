//! The fast functions: blocks in parallel, each copied from the operand first unless it is in place already (a copy
//! within the first-level cache is hidden behind memory), then overwritten by one vectorised loop.
//!
//! The logarithms are library calls, element by element: they run on a few thousand box coordinates.

use super::{Binary, Unary, at_least, at_most};
use crate::copy::{Layout, cpu::for_blocks};
use crate::isa::{Isa, multiversion};
use crate::math::{gelu, sigmoid};

/// Elements copied and overwritten at a time: half of a first-level cache.
const BLOCK: usize = 4096;

/// Applies `op` to every element. See the [module](super) for the contract.
pub fn unary(isa: Isa, op: Unary, x: Option<&[f32]>, out: &mut [f32]) {
    overwrite(x, out, |_, block| unary_block(isa, op, block));
}

/// Applies `op` to every element of `shape` and its partner in `b`. See the [module](super) for the contract.
pub fn binary(
    isa: Isa,
    op: Binary,
    shape: &[usize],
    a: Option<&[f32]>,
    b: &[f32],
    b_strides: &[usize],
    out: &mut [f32],
) {
    let layout = Layout::new(shape, b_strides);
    assert_eq!(out.len(), layout.len());
    assert!(b.len() >= layout.reach());
    overwrite(a, out, |first, block| binary_block(isa, op, &layout, first, b, block));
}

/// Calls `f(first_element, block)` for blocks that hold the operand.
fn overwrite(x: Option<&[f32]>, out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    if let Some(x) = x {
        assert_eq!(x.len(), out.len());
    }
    for_blocks(out, |first, chunk| {
        for (i, block) in chunk.chunks_mut(BLOCK).enumerate() {
            let first = first + i * BLOCK;
            if let Some(x) = x {
                block.copy_from_slice(&x[first..][..block.len()]);
            }
            f(first, block);
        }
    });
}

multiversion!(fn unary_block = unary_block_body(op: Unary, block: &mut [f32]));

#[inline(always)]
fn unary_block_body(op: Unary, block: &mut [f32]) {
    match op {
        Unary::Relu => map(block, |x| at_least(x, 0.0)),
        Unary::Gelu => map(block, gelu),
        Unary::Sigmoid => map(block, sigmoid),
        Unary::ScaleAdd(s, t) => map(block, |x| x * s + t),
        Unary::Clamp(low, high) => map(block, |x| at_most(at_least(x, low), high)),
        Unary::SignedLog2 => map(block, |x| ((1.0 + 8.0 * x.abs()).log2() / 3.0).copysign(x)),
        Unary::InverseSigmoid(eps) => map(block, |x| {
            let y = at_most(at_least(x, 0.0), 1.0);
            (at_least(y, eps) / at_least(1.0 - y, eps)).ln()
        }),
    }
}

#[inline(always)]
fn map(block: &mut [f32], f: impl Fn(f32) -> f32) {
    for x in block {
        *x = f(*x);
    }
}

multiversion!(
    fn binary_block = binary_block_body(op: Binary, layout: &Layout, first: usize, b: &[f32], block: &mut [f32])
);

#[inline(always)]
fn binary_block_body(op: Binary, layout: &Layout, first: usize, b: &[f32], block: &mut [f32]) {
    match op {
        Binary::Add => zip(layout, first, b, block, |a, b| a + b),
        Binary::Sub => zip(layout, first, b, block, |a, b| a - b),
        Binary::Mul => zip(layout, first, b, block, |a, b| a * b),
    }
}

#[inline(always)]
fn zip(layout: &Layout, first: usize, b: &[f32], block: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    let (_, stride) = layout.run();
    layout.for_runs(first, block.len(), |done, at, n| {
        let block = &mut block[done..][..n];
        match stride {
            0 => {
                let b = b[at];
                block.iter_mut().for_each(|a| *a = f(*a, b));
            }
            1 => block.iter_mut().zip(&b[at..][..n]).for_each(|(a, &b)| *a = f(*a, b)),
            _ => block.iter_mut().zip(b[at..].iter().step_by(stride)).for_each(|(a, &b)| *a = f(*a, b)),
        }
    });
}
