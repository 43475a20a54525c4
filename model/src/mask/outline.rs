//! The exact outlines of a mask: along the edges of its pixels.
//!
//! Every edge between a set pixel and what is not set is walked once, the set pixel on its right. Where two set pixels
//! meet at a corner only, the walk stays with its own pixel; a walk that so passes a corner twice is two rings.

use super::polygon::{Polygon, Ring, doubled_area};
use super::{Bounds, Mask};
use std::collections::HashMap;

/// A direction along pixel edges, clockwise: right, down, left, up.
type Direction = usize;

/// One step in each direction.
const STEP: [[isize; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
/// From a corner to the upper left corner of the set pixel that is on the right of the edge in each direction.
const PIXEL: [[isize; 2]; 4] = [[0, 0], [-1, 0], [-1, -1], [0, -1]];

/// The pieces of a mask, in the order of their first pixels.
pub(super) fn outlines(mask: &Mask) -> Vec<Polygon> {
    let pieces = Pieces::of(mask);
    let mut edges = Edges::of(mask);
    let mut polygons: Vec<Polygon> = Vec::new();
    polygons.resize_with(pieces.count, Polygon::default);
    while let Some((corner, direction)) = edges.next_unvisited() {
        let [x, y] = edges.pixel(corner, direction);
        let polygon = &mut polygons[pieces.at(x, y)];
        for ring in without_repeated_corners(edges.walk(corner, direction)) {
            if doubled_area(&ring) > 0.0 { polygon.outer = ring } else { polygon.holes.push(ring) }
        }
    }
    polygons
}

/// The edges of a mask, by the corner they start from.
struct Edges {
    /// Where the used part of the mask begins.
    origin: [usize; 2],
    /// Corners a row.
    columns: usize,
    /// For each corner a bit a direction: the low four for edges, the high four for those that were walked.
    bits: Vec<u8>,
    /// No corner before this one has an edge that was not walked.
    next: usize,
}

impl Edges {
    fn of(mask: &Mask) -> Self {
        let Bounds { x, y, width, height } = mask.bounds();
        let columns = width + 1;
        let mut bits = vec![0; if width == 0 { 0 } else { columns * (height + 1) }];
        let set =
            |x: usize, y: usize| x < mask.width && y < mask.height && mask.bits[y * mask.width + x] != 0;
        for row in 0..height {
            for column in 0..width {
                let (px, py) = (x + column, y + row);
                if !set(px, py) {
                    continue;
                }
                let corner = row * columns + column;
                let free = |dx: isize, dy: isize| {
                    let beside = px.checked_add_signed(dx).zip(py.checked_add_signed(dy));
                    !beside.is_some_and(|(x, y)| set(x, y))
                };
                bits[corner] |= u8::from(free(0, -1));
                bits[corner + 1] |= u8::from(free(1, 0)) << 1;
                bits[corner + columns + 1] |= u8::from(free(0, 1)) << 2;
                bits[corner + columns] |= u8::from(free(-1, 0)) << 3;
            }
        }
        Self { origin: [x, y], columns, bits, next: 0 }
    }

    fn next_unvisited(&mut self) -> Option<(usize, Direction)> {
        while let Some(&bits) = self.bits.get(self.next) {
            let open = bits & 0xf & !(bits >> 4);
            if open != 0 {
                return Some((self.next, open.trailing_zeros() as usize));
            }
            self.next += 1;
        }
        None
    }

    fn place(&self, corner: usize) -> [usize; 2] {
        [self.origin[0] + corner % self.columns, self.origin[1] + corner / self.columns]
    }

    /// The set pixel beside an edge.
    fn pixel(&self, corner: usize, direction: Direction) -> [usize; 2] {
        let [x, y] = self.place(corner);
        let [dx, dy] = PIXEL[direction];
        [x.wrapping_add_signed(dx), y.wrapping_add_signed(dy)]
    }

    /// Walks from an edge until it comes again; the corners where it turns.
    fn walk(&mut self, corner: usize, direction: Direction) -> Vec<[usize; 2]> {
        let mut corners = Vec::new();
        let (mut here, mut ahead) = (corner, direction);
        loop {
            self.bits[here] |= 0x10 << ahead;
            let [dx, dy] = STEP[ahead];
            here = here.wrapping_add_signed(dx + dy * self.columns as isize);
            // Right keeps to the same pixel, then straight on, then left.
            let turns = [1, 0, 3].map(|turn| (ahead + turn) % 4);
            let next = turns.into_iter().find(|next| self.bits[here] >> next & 1 == 1);
            let next = next.expect("an outline has no end");
            if next != ahead {
                corners.push(self.place(here));
            }
            ahead = next;
            if (here, ahead) == (corner, direction) {
                return corners;
            }
        }
    }
}

/// Splits a walk at corners it passes twice.
fn without_repeated_corners(walk: Vec<[usize; 2]>) -> Vec<Ring> {
    let mut rings = Vec::new();
    let mut open: Vec<[usize; 2]> = Vec::with_capacity(walk.len());
    let mut places: HashMap<[usize; 2], usize> = HashMap::with_capacity(walk.len());
    for corner in walk {
        if let Some(start) = places.insert(corner, open.len()) {
            let ring: Vec<_> = open.drain(start..).collect();
            for corner in &ring[1..] {
                places.remove(corner);
            }
            places.insert(corner, start);
            rings.push(to_ring(&ring));
        }
        open.push(corner);
    }
    rings.push(to_ring(&open));
    rings
}

fn to_ring(corners: &[[usize; 2]]) -> Ring {
    corners.iter().map(|&[x, y]| [x as f64, y as f64]).collect()
}

/// Which piece a set pixel belongs to: pixels that share a side are of one piece.
struct Pieces {
    /// The runs of set pixels of each row: first column, last column, piece.
    rows: Vec<Vec<(usize, usize, usize)>>,
    count: usize,
}

impl Pieces {
    fn of(mask: &Mask) -> Self {
        let mut rows: Vec<Vec<(usize, usize, usize)>> = Vec::with_capacity(mask.height);
        let mut parents: Vec<usize> = Vec::new();
        for row in mask.bits.chunks_exact(mask.width.max(1)) {
            let mut runs = runs_of(row);
            let mut above = rows.last().map_or(&[][..], Vec::as_slice).iter().peekable();
            for (first, last, piece) in &mut runs {
                *piece = parents.len();
                parents.push(*piece);
                while let Some(&&(left, right, other)) = above.peek() {
                    if left > *last {
                        break;
                    }
                    if right >= *first {
                        join(&mut parents, *piece, other);
                    }
                    if right > *last {
                        break; // it may touch the next run too
                    }
                    above.next();
                }
            }
            rows.push(runs);
        }
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        for (_, _, piece) in rows.iter_mut().flatten() {
            let next = numbers.len();
            *piece = *numbers.entry(root(&mut parents, *piece)).or_insert(next);
        }
        Self { rows, count: numbers.len() }
    }

    fn at(&self, x: usize, y: usize) -> usize {
        let row = &self.rows[y];
        row[row.partition_point(|&(_, last, _)| last < x)].2
    }
}

fn runs_of(row: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut at = 0;
    let chunks = row.chunk_by(|a, b| (*a != 0) == (*b != 0)).map(|chunk| {
        at += chunk.len();
        (chunk[0] != 0, at - chunk.len(), at - 1)
    });
    chunks.filter(|&(set, ..)| set).map(|(_, first, last)| (first, last, 0)).collect()
}

fn root(parents: &mut [usize], mut piece: usize) -> usize {
    while parents[piece] != piece {
        parents[piece] = parents[parents[piece]];
        piece = parents[piece];
    }
    piece
}

fn join(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b);
}
