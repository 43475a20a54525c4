//! The fast product: weights packed into column panels, activations packed block by block, and a register tile.
//!
//! The tile (`micro`) keeps `rows x columns` sums in registers and walks a block of `k` once. A task takes a block of
//! rows: it packs them so that the tile reads both operands in order, then visits every column panel; what will be read
//! next is asked for meanwhile (`super::ahead`). What follows
//! the product (bias, activation, residual) happens while the tile is still in the first cache.
//!
//! Sizes: a `k` block is at most 1024 long (the packed rows of a task, 140 x 1024 x 4 bytes, stay in a 1 MiB second
//! cache and most layers need no second pass over `out`).

pub(crate) mod bf16;
pub(crate) mod driver;
pub(crate) mod epilogue;
pub(crate) mod micro;
pub(crate) mod pack;

pub use pack::Packed;

use super::Epilogue;
use crate::isa::Isa;
use driver::{Output, RowMap};
use pack::MatrixRows;

/// `out = activation(a wᵀ + bias) + residual`. See the [module](super::super) for the contract.
pub fn run(isa: Isa, a: &[f32], w: &Packed, epilogue: &Epilogue, out: &mut [f32]) {
    let (n, k) = (w.n(), w.k());
    assert!(k > 0);
    let m = a.len() / k;
    assert_eq!((a.len(), out.len()), (m * k, m * n));
    epilogue.check(m, n);
    let rows = MatrixRows { values: a, stride: k };
    driver::product(isa, &rows, m, w, epilogue, &mut Output { values: out, map: RowMap::InOrder });
}
