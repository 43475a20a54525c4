//! Pictures far larger than the model's, looked at piece by piece.
//!
//! A picture is cut into overlapping squares ([`Tiling::tiles`], [`ImageView::crop`](crate::ImageView::crop)), each is
//! encoded and asked by itself, and [`merge`] joins what they found. What a sentence says about the whole picture ("the
//! leftmost") is so decided in every tile for itself.

mod join;
mod spans;

use crate::mask::Bounds;
use crate::segmentation::{Instance, SegmentOptions, Segmentation};
use crate::{Error, Result};
use join::{Piece, groups};
use spans::Spans;

/// How a picture is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    side: usize,
    overlap: usize,
}

/// A piece of a picture, in pixels.
pub type Tile = Bounds;

impl Tiling {
    /// Squares of `side` pixels that share at least `overlap` with their neighbours.
    ///
    /// # Errors
    /// [`Error::Tiling`] when there is no side, or the overlap is more than half of it.
    pub fn new(side: usize, overlap: usize) -> Result<Self> {
        if side == 0 || overlap > side / 2 {
            return Err(Error::Tiling { side, overlap });
        }
        Ok(Self { side, overlap })
    }

    /// The side of a tile, in pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// The least that neighbours share, in pixels.
    #[must_use]
    pub fn overlap(&self) -> usize {
        self.overlap
    }

    /// The tiles of a picture, row by row; they cover it, and their overlaps are as equal as they can be. Where the picture
    /// is smaller than a tile, so is the tile.
    #[must_use]
    pub fn tiles(&self, width: usize, height: usize) -> Vec<Tile> {
        let (across, down) = (self.starts(width), self.starts(height));
        let (tile_width, tile_height) = (self.side.min(width), self.side.min(height));
        let tile = |x, y| Tile { x, y, width: tile_width, height: tile_height };
        down.iter().flat_map(|&y| across.iter().map(move |&x| tile(x, y))).collect()
    }

    fn starts(&self, length: usize) -> Vec<usize> {
        if length <= self.side {
            return vec![0];
        }
        let gaps = (length - self.side).div_ceil(self.side - self.overlap);
        (0..=gaps).map(|i| i * (length - self.side) / gaps).collect()
    }
}

/// Joins what the tiles of a picture of `size` (width, height) found for one prompt.
///
/// Finds of different tiles become one (the union of the masks and boxes, the best score) if their masks agree where both tiles
/// look (IoU of a half or more), or if most of one lies within a larger one whose score is no lower. What a tile shows
/// apart, neither mostly inside the other, stays apart. `options` are applied to the result; the tiles must have been
/// asked with the same thresholds and neither `top_k` nor `min_area`.
///
/// # Errors
/// [`Error::Rle`] when the picture is too large for a mask, or a mask is malformed.
pub fn merge(
    tiles: &[Tile],
    found: Vec<Segmentation>,
    size: [usize; 2],
    options: &SegmentOptions,
) -> Result<Option<Segmentation>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut whole: Option<Segmentation> = None;
    for (&tile, mut one) in tiles.iter().zip(found) {
        for instance in one.instances.drain(..) {
            pieces.push(Piece { tile, spans: Spans::new(&instance.rle, [tile.x, tile.y])?, instance });
        }
        whole = Some(whole.map_or(one.clone(), |whole| with(whole, &one)));
    }
    let Some(mut whole) = whole else { return Ok(None) };
    for group in groups(&pieces) {
        let instance = united(&group, size)?;
        if instance.area >= options.min_area {
            whole.instances.push(instance);
        }
    }
    // Stable: of equal scores, the one of the first tile and query.
    whole.instances.sort_by(|a, b| b.score.total_cmp(&a.score));
    whole.instances.truncate(options.top_k.unwrap_or(usize::MAX));
    Ok(Some(whole))
}

/// What two tiles say besides instances.
fn with(mut whole: Segmentation, one: &Segmentation) -> Segmentation {
    whole.presence = whole.presence.max(one.presence);
    whole.timings.text += one.timings.text;
    whole.timings.grounding += one.timings.grounding;
    whole.timings.masks += one.timings.masks;
    whole
}

/// What two tiles both show.
fn shared(a: Tile, b: Tile) -> Option<Tile> {
    let (x, y) = (a.x.max(b.x), a.y.max(b.y));
    let right = (a.x + a.width).min(b.x + b.width);
    let bottom = (a.y + a.height).min(b.y + b.height);
    (x < right && y < bottom).then(|| Tile { x, y, width: right - x, height: bottom - y })
}

fn united(group: &[&Piece], size: [usize; 2]) -> Result<Instance> {
    let best = group
        .iter()
        .fold(group[0], |best, piece| if piece.instance.score > best.instance.score { piece } else { best });
    let spans = Spans::union(group.iter().map(|piece| &piece.spans));
    let boxes = group.iter().map(|piece| {
        let [x, y] = [piece.tile.x as f32, piece.tile.y as f32];
        let [x0, y0, x1, y1] = piece.instance.box_xyxy;
        [x0 + x, y0 + y, x1 + x, y1 + y]
    });
    let around = |a: [f32; 4], b: [f32; 4]| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])];
    let box_xyxy = boxes.reduce(around).unwrap_or(best.instance.box_xyxy);
    let (area, rle) = (spans.area() as usize, spans.to_rle(size)?);
    Ok(Instance { query: best.instance.query, score: best.instance.score, box_xyxy, area, rle, logits: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::mask::Mask;
    use crate::segmentation::Timings;

    #[test]
    fn tiles_cover_the_picture_and_overlap() {
        for (side, overlap, width, height) in [
            (10, 0, 30, 7),
            (10, 3, 31, 10),
            (10, 5, 11, 100),
            (1008, 128, 5000, 3777),
            (10, 2, 3, 4),
            (1, 0, 3, 2),
        ] {
            let tiles = Tiling::new(side, overlap).expect("a tiling").tiles(width, height);
            for (length, range) in [
                (width, tiles.iter().filter(|t| t.y == 0).map(|t| (t.x, t.width)).collect::<Vec<_>>()),
                (height, tiles.iter().filter(|t| t.x == 0).map(|t| (t.y, t.height)).collect()),
            ] {
                assert_eq!(range[0].0, 0);
                let last = range.last().expect("some");
                assert_eq!(last.0 + last.1, length);
                assert!(range.iter().all(|(_, size)| *size == side.min(length)));
                assert!(range.windows(2).all(|pair| pair[0].0 + pair[0].1 >= pair[1].0 + overlap));
            }
        }
        assert!(Tiling::new(0, 0).is_err() && Tiling::new(10, 6).is_err());
    }

    /// What a tile finds of a rectangle of the picture, if it shows any of it.
    fn seen(tile: Tile, thing: Bounds, score: f32) -> Option<Instance> {
        let part = shared(tile, thing)?;
        let mut bits = vec![0; tile.width * tile.height];
        for y in part.y..part.y + part.height {
            for x in part.x..part.x + part.width {
                bits[(y - tile.y) * tile.width + x - tile.x] = 1;
            }
        }
        let rle = Mask::new(tile.width, tile.height, bits).expect("its size").to_rle().expect("small");
        let [x0, y0] = [(part.x - tile.x) as f32, (part.y - tile.y) as f32];
        let box_xyxy = [x0, y0, x0 + part.width as f32, y0 + part.height as f32];
        Some(Instance { query: 3, score, box_xyxy, area: part.width * part.height, rle, logits: None })
    }

    fn answer(instances: Vec<Instance>) -> Segmentation {
        let timings = Timings::default();
        Segmentation { level: Level::Simple, presence: 0.5, tokens: 3, truncated: false, instances, timings }
    }

    #[test]
    fn things_on_seams_are_whole_and_neighbours_stay_apart() {
        let tiles = Tiling::new(40, 10).expect("a tiling").tiles(100, 70);
        let things = [
            Bounds { x: 5, y: 5, width: 90, height: 4 },    // over three tiles
            Bounds { x: 30, y: 20, width: 20, height: 30 }, // over a corner
            Bounds { x: 2, y: 60, width: 3, height: 5 },    // in one tile
            Bounds { x: 6, y: 60, width: 3, height: 5 },    // beside it
        ];
        let found = tiles.iter().map(|&tile| {
            let scored = things.iter().zip([0.9, 0.8, 0.7, 0.6]);
            answer(scored.filter_map(|(&thing, score)| seen(tile, thing, score)).collect())
        });
        let options = SegmentOptions::default();
        let whole = merge(&tiles, found.collect(), [100, 70], &options).expect("masks").expect("tiles");
        assert_eq!(whole.instances.len(), 4);
        for (instance, thing) in whole.instances.iter().zip(things) {
            let mask = instance.mask().expect("a mask");
            assert_eq!(
                (mask.width, mask.height, mask.bounds(), mask.area()),
                (100, 70, thing, thing.width * thing.height)
            );
            assert_eq!(instance.area, mask.area());
            let [x0, y0, x1, y1] = instance.box_xyxy.map(|side| side as usize);
            assert_eq!(Bounds { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }, thing);
        }
    }

    #[test]
    fn options_hold_for_the_whole_picture() {
        let tiles = Tiling::new(10, 2).expect("a tiling").tiles(18, 10);
        let thing = Bounds { x: 6, y: 0, width: 6, height: 5 };
        let found =
            || tiles.iter().map(|&tile| answer(seen(tile, thing, 0.9).into_iter().collect())).collect();
        let count = |options: SegmentOptions| {
            merge(&tiles, found(), [18, 10], &options).expect("masks").expect("tiles").instances.len()
        };
        assert_eq!(count(SegmentOptions::default().min_area(30)), 1);
        assert_eq!(count(SegmentOptions::default().min_area(31)), 0);
        assert!(merge(&[], vec![], [18, 10], &SegmentOptions::default()).expect("nothing").is_none());
    }
}
