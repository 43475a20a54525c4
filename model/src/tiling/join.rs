//! Which finds of different tiles are one thing.
//!
//! Two rules make one thing of two finds:
//!
//! * **Agreement.** Where both tiles look, their masks are the same for the most part (IoU of a half or more). So the parts
//!   of a thing that seams cut come together, from tile to tile, the best agreement first.
//! * **Containment.** Most of a find lies within a larger one of other tiles whose score is no lower. It is the bit of a thing
//!   that a tile shows the edge of, and joins it. The score decides because a poor mask over two good ones would else
//!   swallow both.
//!
//! And one keeps them two, whatever else holds: **what a tile shows apart stays apart**. Where a tile found two things,
//! neither mostly inside the other, no other tile's mask makes them one. So what stands in front of something else is
//! kept, though another tile may take both for one. The price: a thing that leaves a tile and comes back may be found twice.
//!
//! Two finds of the same tile never meet by themselves, as without tiles; only through a find of another tile.

use super::spans::Spans;
use super::{Tile, shared};
use crate::mask::Bounds;
use crate::segmentation::Instance;
use std::cmp::Reverse;

/// The share of two masks, or of the smaller one, that counts as most of it.
const MOST: f64 = 0.5;

/// A find of a tile.
pub(super) struct Piece {
    pub tile: Tile,
    /// Its mask, in the picture's pixels.
    pub spans: Spans,
    pub instance: Instance,
}

/// The pieces that are one thing, in the order of their first ones.
pub(super) fn groups(pieces: &[Piece]) -> Vec<Vec<&Piece>> {
    let agreeing = agreeing(pieces);
    let hosts = hosts(&agreeing);
    let mut groups: Vec<Vec<&Piece>> = Vec::new();
    groups.resize_with(agreeing.len(), Vec::new);
    for (i, group) in agreeing.into_iter().enumerate() {
        let mut root = i;
        while let Some(host) = hosts[root] {
            root = host;
        }
        groups[root].extend(group);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The groups that agreement makes.
fn agreeing(pieces: &[Piece]) -> Vec<Vec<&Piece>> {
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let others = pieces[..i].iter().enumerate().map(|(j, other)| (agreement(other, piece), j, i));
        pairs.extend(others.filter(|&(agreement, ..)| agreement >= MOST));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut groups: Vec<Vec<&Piece>> = pieces.iter().map(|piece| vec![piece]).collect();
    let mut places: Vec<usize> = (0..pieces.len()).collect();
    for (_, j, i) in pairs {
        let (first, second) = (places[i].min(places[j]), places[i].max(places[j]));
        if first == second || are_apart(&groups[first], &groups[second]) {
            continue;
        }
        let joined = std::mem::take(&mut groups[second]);
        groups[first].extend(joined);
        places.iter_mut().filter(|place| **place == second).for_each(|place| *place = first);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The IoU of two pieces of different tiles where both tiles look; 0 where they do not.
fn agreement(a: &Piece, b: &Piece) -> f64 {
    let Some(shared) = shared(a.tile, b.tile).filter(|_| a.tile != b.tile) else { return 0.0 };
    let (a, b) = (a.spans.within(shared), b.spans.within(shared));
    let both = a.common(&b);
    both as f64 / (a.area() + b.area() - both).max(1) as f64
}

/// Whether a tile shows a piece of each, neither mostly inside the other.
fn are_apart(one: &[&Piece], other: &[&Piece]) -> bool {
    let apart = |a: &Piece, b: &Piece| a.tile == b.tile && !is_most(a, b);
    one.iter().any(|a| other.iter().any(|b| apart(a, b)))
}

/// Whether a single tile found all of them: it says nothing about its own finds that it does not say without tiles.
fn are_of_one_tile(one: &[&Piece], other: &[&Piece]) -> bool {
    one.iter().chain(other).all(|piece| piece.tile == one[0].tile)
}

/// Whether most of the smaller one lies inside the other.
fn is_most(a: &Piece, b: &Piece) -> bool {
    let smaller = a.spans.area().min(b.spans.area());
    a.spans.common(&b.spans) as f64 >= MOST * smaller as f64
}

/// For each group the one it is a bit of, by containment. No chain of them comes back to its beginning: each is larger.
fn hosts(groups: &[Vec<&Piece>]) -> Vec<Option<usize>> {
    let things: Vec<Thing> = groups.iter().map(|group| Thing::new(group)).collect();
    let size = |i: usize| (things[i].area, Reverse(i));
    let host = |i: usize| {
        let larger = (0..things.len()).filter(|&j| size(j) > size(i) && things[j].score >= things[i].score);
        let near = larger.filter(|&j| shared(things[i].bounds, things[j].bounds).is_some());
        let holding = near.map(|j| (things[i].spans.common(&things[j].spans), j));
        let holding = holding.filter(|&(common, _)| common as f64 >= MOST * things[i].area as f64);
        let holding = holding.filter(|&(common, _)| common > 0);
        let holding = holding.filter(|&(_, j)| !are_of_one_tile(&groups[i], &groups[j]));
        let holding = holding.filter(|&(_, j)| !are_apart(&groups[i], &groups[j]));
        // Of equals the first.
        holding.max_by_key(|&(common, j)| (common, Reverse(j))).map(|(_, j)| j)
    };
    (0..things.len()).map(host).collect()
}

/// What pieces make together.
struct Thing {
    spans: Spans,
    bounds: Bounds,
    area: u64,
    score: f32,
}

impl Thing {
    fn new(group: &[&Piece]) -> Self {
        let spans = Spans::union(group.iter().map(|piece| &piece.spans));
        let score = group.iter().map(|piece| piece.instance.score).fold(f32::NEG_INFINITY, f32::max);
        Self { bounds: spans.bounds(), area: spans.area(), score, spans }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;

    /// x, y, width, height.
    type Rect = [usize; 4];

    /// Three tiles in a row, 40 wide and 20 high, that share 10 columns with the next.
    const TILES: [Tile; 3] = [
        Tile { x: 0, y: 0, width: 40, height: 20 },
        Tile { x: 30, y: 0, width: 40, height: 20 },
        Tile { x: 60, y: 0, width: 40, height: 20 },
    ];

    /// A find of a tile: rectangles of the picture, cut off where the tile ends.
    fn piece(tile: usize, rects: &[Rect], score: f32) -> Piece {
        let tile = TILES[tile];
        let mut bits = vec![0; tile.width * tile.height];
        for &[x, y, width, height] in rects {
            let Some(part) = shared(tile, Bounds { x, y, width, height }) else { continue };
            for y in part.y..part.y + part.height {
                for x in part.x..part.x + part.width {
                    bits[(y - tile.y) * tile.width + x - tile.x] = 1;
                }
            }
        }
        let mask = Mask::new(tile.width, tile.height, bits).expect("its size");
        let (area, rle) = (mask.area(), mask.to_rle().expect("small"));
        let spans = Spans::new(&rle, [tile.x, tile.y]).expect("a mask");
        let instance = Instance { query: 0, score, box_xyxy: [0.0; 4], area, rle, logits: None };
        Piece { tile, spans, instance }
    }

    /// The places of the pieces that are one thing, group by group.
    fn joined(pieces: &[Piece]) -> Vec<Vec<usize>> {
        let place =
            |piece: &Piece| pieces.iter().position(|other| std::ptr::eq(other, piece)).expect("there");
        let sorted = |mut places: Vec<usize>| {
            places.sort_unstable();
            places
        };
        groups(pieces).into_iter().map(|group| sorted(group.into_iter().map(place).collect())).collect()
    }

    #[test]
    fn the_bit_of_a_thing_that_another_tile_shows_whole_joins_it() {
        // The thing lies in the first tile; the second, which shows its right half, finds two spots of it.
        let whole = piece(0, &[[20, 4, 19, 12]], 0.9);
        let spots = [piece(1, &[[32, 5, 3, 3]], 0.6), piece(1, &[[35, 12, 4, 4]], 0.4)];
        let [first, second] = spots;
        assert_eq!(joined(&[whole, first, second]), [[0, 1, 2]]);
    }

    #[test]
    fn a_bit_joins_what_was_cut_and_adds_what_lies_beyond_the_seam() {
        // Cut by the first tile's edge at 40; the second shows it from 30 on and finds the end behind 35.
        assert_eq!(joined(&[piece(0, &[[10, 5, 30, 8]], 0.9), piece(1, &[[35, 6, 8, 6]], 0.5)]), [[0, 1]]);
    }

    #[test]
    fn a_thing_that_two_seams_cut_is_one() {
        let log: Rect = [5, 5, 90, 8];
        let whole = [piece(0, &[log], 0.7), piece(1, &[log], 0.9), piece(2, &[log], 0.8)];
        assert_eq!(joined(&whole), [[0, 1, 2]]);
        // The middle tile finds the middle only: mostly outside of what the others show, so nothing says that it is one.
        let bits = [piece(0, &[log], 0.9), piece(1, &[[45, 5, 10, 8]], 0.5), piece(2, &[log], 0.9)];
        assert_eq!(joined(&bits), [[0], [1], [2]]);
        // It finds the whole of what it shows and, beside it, a spot; the spot joins although the same tile has both.
        let spotted = [
            piece(0, &[log], 0.9),
            piece(1, &[log], 0.9),
            piece(1, &[[33, 6, 4, 4]], 0.5),
            piece(2, &[log], 0.9),
        ];
        assert_eq!(joined(&spotted), [[0, 1, 2, 3]]);
    }

    #[test]
    fn what_a_tile_shows_apart_stays_apart() {
        // A large thing with a small one in front of it, both in what two tiles share.
        let (around, front): ([Rect; 4], Rect) =
            ([[31, 2, 8, 4], [31, 6, 3, 4], [37, 6, 2, 4], [31, 10, 8, 6]], [34, 6, 3, 4]);
        let both = |tile| [piece(tile, &around, 0.9), piece(tile, &[front], 0.8)];
        let [[a, b], [c, d]] = [both(0), both(1)];
        assert_eq!(joined(&[a, b, c, d]), [[0, 2], [1, 3]]);
        // The second tile takes the two for one.
        let [a, b] = both(0);
        assert_eq!(joined(&[a, b, piece(1, &[[31, 2, 8, 14]], 0.95)]), [vec![0, 2], vec![1]]);
        // A tile alone says nothing about its own finds.
        assert_eq!(joined(&[piece(0, &[[20, 4, 19, 12]], 0.9), piece(0, &[front], 0.8)]), [[0], [1]]);
    }

    #[test]
    fn a_poor_mask_over_two_good_ones_swallows_neither() {
        let good = |x| piece(1, &[[x, 5, 4, 8]], 0.9);
        assert_eq!(joined(&[piece(0, &[[31, 4, 9, 10]], 0.4), good(31), good(36)]), [[0], [1], [2]]);
    }

    #[test]
    fn neighbours_that_touch_stay_two() {
        // The first ends where the second begins; each tile's mask spills over by two columns.
        assert_eq!(joined(&[piece(0, &[[22, 5, 14, 8]], 0.9), piece(1, &[[34, 5, 14, 8]], 0.8)]), [[0], [1]]);
        assert_eq!(
            joined(&[piece(0, &[], 0.9), piece(1, &[[34, 5, 14, 8]], 0.8), piece(2, &[], 0.9)]).len(),
            3
        );
    }
}
