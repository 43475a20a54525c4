//! The loops around the register tile, shared by the matrix product and the convolutions.

use super::bf16::{self, LeftPairs};
use super::epilogue::{Finish, finish};
use super::micro::{self, Left, Tile};
use super::pack::{LeftRows, MOST_ROWS, Packed, Panels};
use crate::isa::{Avx512Bf16, Isa};
use crate::matmul::Epilogue;
use crate::matmul::ahead::{Ahead, fetched};
use crate::memory::Buffer;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// The longest block of `k`, see the module's notes on sizes.
const K_BLOCK: usize = 1024;
/// Full tiles in a task's block of rows.
const TILES_A_TASK: usize = 10;
/// Flops below which a product is not split.
const SERIAL_FLOPS: usize = 1 << 18;

/// Where row `i` of the product goes.
#[derive(Clone, Copy)]
pub(crate) enum RowMap {
    /// Row `i` of the output.
    InOrder,
    /// Row `i` is pixel `(y, x)` of a `width` wide map and goes to pixel `(2y + dy, 2x + dx)` of one twice as wide.
    Doubled { width: usize, dy: usize, dx: usize },
}

impl RowMap {
    fn row(self, i: usize) -> usize {
        match self {
            Self::InOrder => i,
            Self::Doubled { width, dy, dx } => (2 * (i / width) + dy) * 2 * width + 2 * (i % width) + dx,
        }
    }
}

/// The output of a product: rows of `n` values.
pub(crate) struct Output<'a> {
    pub values: &'a mut [f32],
    pub map: RowMap,
}

/// The output as tasks share it: each writes rows and columns of its own.
#[derive(Clone, Copy)]
pub(in crate::matmul) struct Shared {
    start: *mut f32,
    len: usize,
    n: usize,
    map: RowMap,
}

// SAFETY: `Shared` is only used by drivers whose tasks write disjoint parts.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Rows of `n` values that stay borrowed as long as the result is used.
    pub(in crate::matmul) fn new(out: &mut Output, n: usize) -> Self {
        Self { start: out.values.as_mut_ptr(), len: out.values.len(), n, map: out.map }
    }

    /// Columns of row `i` of the product.
    ///
    /// # Safety
    /// No other live slice may hold any of these columns of this row.
    #[allow(clippy::mut_from_ref)]
    pub(in crate::matmul) unsafe fn columns(&self, i: usize, columns: Range<usize>) -> &mut [f32] {
        let start = self.map.row(i) * self.n + columns.start;
        assert!(columns.end <= self.n && start + columns.len() <= self.len);
        // SAFETY: the range was checked to lie inside the output; the caller vouches for exclusiveness.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), columns.len()) }
    }
}

/// `out = activation(a wᵀ + bias) + residual` for `m` rows of any source.
pub(crate) fn product(
    isa: Isa,
    a: &impl LeftRows,
    m: usize,
    w: &Packed,
    epilogue: &Epilogue,
    out: &mut Output,
) {
    assert_eq!(w.columns(), micro::columns(isa), "the weight was packed for another instruction set");
    if m == 0 || w.n() == 0 {
        return;
    }
    let shared = Shared::new(out, w.n());
    let tasks = split(isa, m, w);
    let one = |(rows, panels): &(Range<usize>, Range<usize>)| {
        // Tasks are disjoint in rows or in columns, and `out` is borrowed until all have ended.
        task(isa, a, rows.clone(), w, panels.clone(), epilogue, &shared);
    };
    match tasks.as_slice() {
        [only] => one(only),
        many => many.par_iter().with_max_len(1).for_each(one),
    }
}

/// Cuts the product into blocks of rows, and of columns where there are too few rows to go round.
fn split(isa: Isa, m: usize, w: &Packed) -> Vec<(Range<usize>, Range<usize>)> {
    let threads = rayon::current_num_threads();
    let (tile_rows, panels) = (micro::rows(isa), w.panel_count());
    let small = 2 * m * w.n() * w.k() < SERIAL_FLOPS;
    let blocks = if small { 1 } else { m.div_ceil(tile_rows * TILES_A_TASK).next_multiple_of(threads) };
    let rows_per_block = m.div_ceil(blocks).next_multiple_of(tile_rows);
    let row_blocks = m.div_ceil(rows_per_block);
    let column_blocks = if small { 1 } else { (2 * threads).div_ceil(row_blocks).min(panels) };
    let panels_per_block = if row_blocks >= 2 * threads { panels } else { panels.div_ceil(column_blocks) };
    let rows = (0..m).step_by(rows_per_block).map(|r| r..(r + rows_per_block).min(m));
    rows.flat_map(|r| {
        let columns = (0..panels).step_by(panels_per_block);
        columns.map(move |p| (r.clone(), p..(p + panels_per_block).min(panels)))
    })
    .collect()
}

/// A thread's memory for packed rows, kept from task to task.
#[derive(Default)]
struct Room {
    values: Buffer<f32>,
    pairs: Buffer<u32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// The rows of a task for a block of `k`, packed tile by tile.
enum LeftBlock<'a> {
    F32(&'a mut [f32]),
    /// Pairs, and room for a tile on its way to them.
    Bf16(Avx512Bf16, &'a mut [u32], &'a mut [f32]),
}

/// The first `len` values of a buffer, made longer if it must be.
fn at_least<T: bytemuck::Zeroable + Clone>(buffer: &mut Buffer<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        *buffer = Buffer::zeroed(len);
    }
    &mut buffer[..len]
}

/// Room behind a packed block for the excess of its last whole-vector store.
const EXCESS: usize = 16;

impl<'a> LeftBlock<'a> {
    fn new(rows: usize, k: usize, w: &Packed, room: &'a mut Room) -> Self {
        match w.panels() {
            Panels::F32(_) => Self::F32(at_least(&mut room.values, rows * k + EXCESS)),
            Panels::Bf16(proof, _) => {
                let tile = at_least(&mut room.values, MOST_ROWS * k + 2 * EXCESS);
                Self::Bf16(*proof, at_least(&mut room.pairs, rows * k.div_ceil(2) + EXCESS), tile)
            }
        }
    }

    /// Packs `tile`, which starts `at` rows into the block.
    fn pack(&mut self, isa: Isa, a: &impl LeftRows, tile: Range<usize>, at: usize, first_k: usize, k: usize) {
        match self {
            Self::F32(packed) => a.pack(isa, tile.start, tile.len(), first_k, k, &mut packed[at * k..]),
            Self::Bf16(proof, packed, room) => {
                let packed = &mut packed[at * k.div_ceil(2)..];
                a.pack_pairs(isa, *proof, tile.start, tile.len(), first_k, k, room, packed);
            }
        }
    }

    /// The product of `rows` rows, `at` rows into the block, with a panel; `next` is the place in the weight, panel and
    /// first `k`, that is read after this panel, and how many tiles before this one have asked for it.
    #[allow(clippy::too_many_arguments)]
    fn tile(
        &self,
        isa: Isa,
        at: usize,
        rows: usize,
        first_k: usize,
        k: usize,
        w: &Packed,
        panel: usize,
        next: Option<(usize, usize, usize)>,
        lines: &Lines,
        out: &mut Tile,
    ) {
        let columns = w.columns();
        match (self, w.panels()) {
            (Self::F32(packed), Panels::F32(panels)) => {
                let place = |panel, first_k| (panel * w.k() + first_k) * columns;
                let b = &panels[place(panel, first_k)..][..k * columns];
                let next = next.and_then(|(panel, first_k, asked)| {
                    panels[place(panel, first_k)..].get(fetched(k) * asked..k * columns)
                });
                let a = Left::Packed(&packed[at * k..][..rows * k]);
                let ahead = Ahead { next: next.unwrap_or_default(), lines: lines.as_slice() };
                micro::tile(isa, rows, k, a, b, ahead, &mut out.0, columns, false);
            }
            (Self::Bf16(proof, packed, _), Panels::Bf16(_, panels)) => {
                let pairs = k.div_ceil(2);
                let b = &panels[(panel * w.k().div_ceil(2) + first_k / 2) * columns..][..pairs * columns];
                let a = LeftPairs::Packed(&packed[at * pairs..][..rows * pairs]);
                lines.prefetch();
                bf16::tile(*proof, rows, pairs, a, b, &mut out.0, columns, false);
            }
            _ => unreachable!("a block is made for its weight"),
        }
    }
}

/// One task: its rows against its panels, block of `k` by block of `k`.
fn task(
    isa: Isa,
    a: &impl LeftRows,
    rows: Range<usize>,
    w: &Packed,
    panels: Range<usize>,
    epilogue: &Epilogue,
    out: &Shared,
) {
    let longest = if matches!(w.panels(), Panels::F32(_)) { K_BLOCK } else { 2 * K_BLOCK };
    let k_block = w.k().div_ceil(w.k().div_ceil(longest).max(1)).max(1).next_multiple_of(2);
    let (mut sums, mut lines) = (Tile::default(), Lines::none());
    let mut room = ROOM.take(); // a task never starts another, so the room is there
    let mut block = LeftBlock::new(rows.len(), k_block, w, &mut room);
    for first_k in (0..w.k().max(1)).step_by(k_block) {
        let k = k_block.min(w.k() - first_k);
        let tiles = tiles(rows.clone(), micro::rows(isa));
        for tile in tiles.clone() {
            block.pack(isa, a, tile.clone(), tile.start - rows.start, first_k, k);
        }
        for panel in panels.clone() {
            let columns = panel * w.columns()..((panel + 1) * w.columns()).min(w.n());
            let how = Finish {
                add: first_k > 0,
                last: first_k + k == w.k(),
                bias: epilogue.bias.map(|b| &b[columns.clone()]),
                activation: epilogue.activation,
            };
            let next =
                if panel + 1 < panels.end { (panel + 1, first_k) } else { (panels.start, first_k + k) };
            for (asked, tile) in tiles.clone().enumerate() {
                lines.set(tile.clone(), columns.clone(), epilogue, out);
                let next = Some((next.0, next.1, asked)).filter(|next| next.1 < w.k());
                let at = tile.start - rows.start;
                block.tile(isa, at, tile.len(), first_k, k, w, panel, next, &lines, &mut sums);
                store(isa, &mut sums, tile, columns.clone(), w, epilogue, &how, out);
            }
        }
    }
    ROOM.set(room);
}

/// The cache lines of the output and the residual that [`store`] will touch, so that they can be there when the sums are.
pub(in crate::matmul) struct Lines {
    at: [*const f32; 4 * MOST_ROWS],
    len: usize,
}

impl Lines {
    /// Room for the lines of a tile.
    pub(in crate::matmul) fn none() -> Self {
        Self { at: [std::ptr::null(); 4 * MOST_ROWS], len: 0 }
    }

    /// Makes them those of a tile of at most [`MOST_ROWS`] rows and 32 columns.
    pub(in crate::matmul) fn set(
        &mut self,
        tile: Range<usize>,
        columns: Range<usize>,
        epilogue: &Epilogue,
        out: &Shared,
    ) {
        self.len = 0;
        for i in tile {
            for column in columns.clone().step_by(16) {
                self.push(out.start.wrapping_add(out.map.row(i) * out.n + column));
                if let Some(residual) = epilogue.residual {
                    self.push(residual.as_ptr().wrapping_add(i * out.n + column));
                }
            }
        }
    }

    fn push(&mut self, line: *const f32) {
        self.at[self.len] = line;
        self.len += 1;
    }

    pub(in crate::matmul) fn as_slice(&self) -> &[*const f32] {
        &self.at[..self.len]
    }

    /// Asks for all of them.
    pub(in crate::matmul) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in self.as_slice() {
            use std::arch::x86_64::*;
            // SAFETY: a prefetch reads nothing that the program sees, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
        }
    }
}

/// Stores a tile to its rows and columns of the output.
#[allow(clippy::too_many_arguments)]
fn store(
    isa: Isa,
    sums: &mut Tile,
    tile: Range<usize>,
    columns: Range<usize>,
    w: &Packed,
    epilogue: &Epilogue,
    how: &Finish,
    out: &Shared,
) {
    let count = tile.len();
    let mut rows: [&mut [f32]; MOST_ROWS] = Default::default();
    let mut residual: [&[f32]; MOST_ROWS] = Default::default();
    for (row, i) in rows.iter_mut().zip(tile.clone()) {
        // SAFETY: these rows and columns belong to the calling task alone, and no other slice of them lives.
        *row = unsafe { out.columns(i, columns.clone()) };
    }
    let residual = match epilogue.residual {
        Some(values) => {
            for (row, i) in residual.iter_mut().zip(tile) {
                *row = &values[i * out.n + columns.start..][..columns.len()];
            }
            &residual[..count]
        }
        None => &[],
    };
    finish(isa, sums, w.columns(), &mut rows[..count], residual, how);
}

/// `rows` in tiles of nearly equal height, none above `most`.
pub(crate) fn tiles(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let count = rows.len().div_ceil(most).max(1);
    let (start, len) = (rows.start, rows.len());
    (0..count).map(move |t| start + t * len / count..start + (t + 1) * len / count).filter(|r| !r.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_rows_once() {
        for len in 0..60 {
            let covered: Vec<usize> = tiles(5..5 + len, 14).flatten().collect();
            assert_eq!(covered, (5..5 + len).collect::<Vec<_>>());
            assert!(tiles(5..5 + len, 14).all(|t| t.len() <= 14));
        }
    }

    #[test]
    fn doubled_rows_fill_the_larger_map() {
        let mut seen = vec![0; 4 * 6];
        for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            (0..6).for_each(|i| seen[RowMap::Doubled { width: 3, dy, dx }.row(i)] += 1);
        }
        assert_eq!(seen, vec![1; 24]);
    }
}
