//! The loops around the tile: a task rounds its rows, then visits every panel of its columns.

use super::pack::Packed;
use super::rows::Row;
use super::tile::{LeftTile, tile};
use super::{COLUMNS, ROWS};
use crate::isa::Isa;
use crate::matmul::Epilogue;
use crate::matmul::ahead::{Ahead, fetched};
use crate::matmul::cpu::driver::{Lines, Output, RowMap, Shared, tiles};
use crate::matmul::cpu::epilogue::{Finish, finish};
use crate::matmul::cpu::micro::Tile;
use crate::matmul::cpu::pack::transpose;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Full tiles in a task's block of rows: 140 rows of 4736 bytes leave a third of a 1 MiB second cache to the weight.
const TILES_A_TASK: usize = 10;
/// Operations below which a product is not split.
const SERIAL: usize = 1 << 19;

/// `out = activation(a wᵀ + bias) + residual` with both operands in 8 bits. See the [module](super) for the contract.
pub fn run(isa: Isa, a: &[f32], w: &Packed, epilogue: &Epilogue, out: &mut [f32]) {
    let (n, k) = (w.n(), w.k());
    let m = a.len() / k;
    assert_eq!((a.len(), out.len()), (m * k, m * n));
    epilogue.check(m, n);
    if m == 0 || n == 0 {
        return;
    }
    let product = Product {
        isa,
        a,
        w,
        epilogue,
        out: Shared::new(&mut Output { values: out, map: RowMap::InOrder }, n),
    };
    match split(m, w).as_slice() {
        [(rows, panels)] => product.task(rows.clone(), panels.clone()),
        many => many
            .par_iter()
            .with_max_len(1)
            .for_each(|(rows, panels)| product.task(rows.clone(), panels.clone())),
    }
}

/// Cuts the product into blocks of rows, and of panels where there are too few rows to go round.
fn split(m: usize, w: &Packed) -> Vec<(Range<usize>, Range<usize>)> {
    let (threads, panels) = (rayon::current_num_threads(), w.panel_count());
    if threads == 1 && m <= ROWS * TILES_A_TASK || 2 * m * w.n() * w.k() < SERIAL {
        return vec![(0..m, 0..panels)];
    }
    let blocks = m.div_ceil(ROWS * TILES_A_TASK).next_multiple_of(threads);
    let rows_per_block = m.div_ceil(blocks).next_multiple_of(ROWS);
    let row_blocks = m.div_ceil(rows_per_block);
    let column_blocks = if row_blocks >= 2 * threads { 1 } else { (2 * threads).div_ceil(row_blocks) };
    let panels_per_block = panels.div_ceil(column_blocks);
    let rows = (0..m).step_by(rows_per_block).map(|r| r..(r + rows_per_block).min(m));
    let panels = |r: Range<usize>| {
        (0..panels).step_by(panels_per_block).map(move |p| (r.clone(), p..(p + panels_per_block).min(panels)))
    };
    rows.flat_map(panels).collect()
}

struct Product<'a> {
    isa: Isa,
    a: &'a [f32],
    w: &'a Packed,
    epilogue: &'a Epilogue<'a>,
    out: Shared,
}

impl Product<'_> {
    /// The product of some rows and some panels. Tasks are disjoint in rows or in panels.
    fn task(&self, rows: Range<usize>, panels: Range<usize>) {
        let mut room = ROOM.take(); // a task never starts another, so the room is there
        let mut block = Block::new(self.isa, self.w.k(), rows.len(), &mut room);
        for tile in tiles(rows, ROWS) {
            block.push(self.a, tile);
        }
        let (mut sums, mut second, mut lines) = (Tile::default(), Tile::default(), Lines::none());
        for panel in panels.clone() {
            let next = if panel + 1 < panels.end { self.w.panel(panel + 1).quads } else { &[] };
            let columns = panel * COLUMNS..((panel + 1) * COLUMNS).min(self.w.n());
            for at in 0..block.tiles.len() {
                lines.set(block.tiles[at].rows.clone(), columns.clone(), self.epilogue, &self.out);
                let next = next.get(fetched(self.w.k().div_ceil(4)) * at..).unwrap_or_default();
                let ahead = Ahead { next, lines: lines.as_slice() };
                self.tile(&block, at, panel, ahead, &mut sums, &mut second);
                self.store(&mut sums, block.tiles[at].rows.clone(), columns.clone());
            }
        }
        ROOM.set(room);
    }

    /// The product of a tile and a panel: of the first parts, and of the second where there are any.
    fn tile(
        &self,
        block: &Block<'_>,
        at: usize,
        panel: usize,
        ahead: Ahead<u32>,
        sums: &mut Tile,
        second: &mut Tile,
    ) {
        let (panel, packed) = (self.w.panel(panel), &block.tiles[at]);
        tile(self.isa, self.w.vnni(), block.first(packed), panel, ahead, &mut sums.0);
        if packed.wide.is_empty() {
            return;
        }
        tile(self.isa, self.w.vnni(), block.second(packed), panel, Ahead::default(), &mut second.0);
        for (&i, second) in packed.wide.iter().zip(second.0.chunks_exact(COLUMNS)) {
            sums.0[i * COLUMNS..][..COLUMNS].iter_mut().zip(second).for_each(|(sum, part)| *sum += part);
        }
    }

    /// Stores a tile to its rows and columns of the output.
    fn store(&self, sums: &mut Tile, tile: Range<usize>, columns: Range<usize>) {
        let count = tile.len();
        let mut rows: [&mut [f32]; ROWS] = Default::default();
        let mut residual: [&[f32]; ROWS] = Default::default();
        for (row, i) in rows.iter_mut().zip(tile.clone()) {
            // SAFETY: these rows and columns belong to the calling task alone, and no other slice of them lives.
            *row = unsafe { self.out.columns(i, columns.clone()) };
        }
        let residual = match self.epilogue.residual {
            Some(values) => {
                for (row, i) in residual.iter_mut().zip(tile) {
                    *row = &values[i * self.w.n() + columns.start..][..columns.len()];
                }
                &residual[..count]
            }
            None => &[],
        };
        let how = Finish {
            add: false,
            last: true,
            bias: self.epilogue.bias.map(|bias| &bias[columns]),
            activation: self.epilogue.activation,
        };
        finish(self.isa, sums, COLUMNS, &mut rows[..count], residual, &how);
    }
}

/// Room behind the packed tiles for the excess of the last whole-vector store.
const EXCESS: usize = 16;

/// A thread's memory for rounded rows, kept from task to task.
#[derive(Default)]
struct Room {
    /// The packed tiles, and [`EXCESS`] behind them.
    quads: Vec<u32>,
    /// A tile's rows as they are rounded, and their second parts.
    rounded: [Vec<u32>; 2],
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Makes room for at least `len` quads.
fn grow(room: &mut Vec<u32>, len: usize) {
    if room.len() < len {
        room.resize(len, 0);
    }
}

/// The rounded rows of a task.
struct Block<'a> {
    isa: Isa,
    k: usize,
    room: &'a mut Room,
    /// How many of the room's quads are in use.
    used: usize,
    tiles: Vec<PackedTile>,
}

/// Row `i` of a room, `k` bytes in whole quads; what is left of the last quad is zero.
fn row_of(room: &mut [u32], i: usize, k: usize) -> &mut [u8] {
    let count = k.div_ceil(4);
    let quads = &mut room[i * count..][..count];
    quads[count - 1] = 0;
    &mut bytemuck::cast_slice_mut(quads)[..k]
}

/// Where a tile lies in its block.
struct PackedTile {
    rows: Range<usize>,
    /// Of the first parts, `[k / 4, rows]`, and how each was rounded.
    first: Range<usize>,
    how: Vec<Row>,
    /// Of the second parts, `[k / 4, wide]`; how each was rounded, and the row of the tile it belongs to.
    second: Range<usize>,
    how_second: Vec<Row>,
    wide: Vec<usize>,
}

impl<'a> Block<'a> {
    /// A block for so many rows; its room grows where rows need a second part.
    fn new(isa: Isa, k: usize, rows: usize, room: &'a mut Room) -> Self {
        let count = k.div_ceil(4);
        grow(&mut room.quads, rows * count + EXCESS);
        grow(&mut room.rounded[0], ROWS * count);
        Self { isa, k, room, used: 0, tiles: Vec::new() }
    }

    fn first<'b>(&'b self, tile: &'b PackedTile) -> LeftTile<'b> {
        LeftTile { quads: &self.room.quads[tile.first.clone()], rows: &tile.how }
    }

    fn second<'b>(&'b self, tile: &'b PackedTile) -> LeftTile<'b> {
        LeftTile { quads: &self.room.quads[tile.second.clone()], rows: &tile.how_second }
    }

    /// Rounds and packs the rows `tile` of `a`.
    fn push(&mut self, a: &[f32], tile: Range<usize>) {
        let (k, count) = (self.k, self.k.div_ceil(4));
        let mut how = Vec::with_capacity(ROWS);
        let (mut how_second, mut wide) = (Vec::new(), Vec::new());
        let [room, second_room] = &mut self.room.rounded;
        for (i, row) in tile.clone().enumerate() {
            let a = &a[row * k..][..k];
            let row = Row::measure(self.isa, a);
            let first = row_of(room, i, k);
            row.quantise(self.isa, a, first);
            if row.is_wide() {
                grow(second_room, ROWS * count);
                let second = row_of(second_room, wide.len(), k);
                row.quantise_rest(self.isa, a, first, second);
                how_second.push(row.second());
                wide.push(i);
            }
            how.push(row);
        }
        let first = self.pack(0, tile.len());
        let second = self.pack(1, wide.len());
        self.tiles.push(PackedTile { rows: tile, first, how, second, how_second, wide });
    }

    /// Packs the first `rows` rows of a room behind what is there.
    fn pack(&mut self, room: usize, rows: usize) -> Range<usize> {
        let (count, start) = (self.k.div_ceil(4), self.used);
        self.used += rows * count;
        if rows > 0 {
            grow(&mut self.room.quads, self.used + EXCESS);
            let mut from = [&[] as &[f32]; ROWS];
            for (i, from) in from[..rows].iter_mut().enumerate() {
                *from = bytemuck::cast_slice(&self.room.rounded[room][i * count..][..count]);
            }
            // Moving quads as f32 changes no bit.
            let out = bytemuck::cast_slice_mut(&mut self.room.quads[start..]);
            transpose(self.isa, &from[..rows], count, out, rows);
        }
        start..self.used
    }
}
