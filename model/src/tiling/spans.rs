//! Masks as pieces of columns, so that a small mask in a large picture stays small.

use super::Tile;
use crate::Result;
use crate::mask::{Bounds, Rle};

/// Sorted pieces of columns, none touching another: column, first row, end row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spans(Vec<[usize; 3]>);

impl Spans {
    /// A mask whose upper left corner is at `x, y`.
    pub(super) fn new(rle: &Rle, [x, y]: [usize; 2]) -> Result<Self> {
        let [height, _] = rle.size;
        let (mut spans, mut at) = (Vec::new(), 0);
        for (i, run) in rle.runs()?.into_iter().enumerate() {
            let end = at + run as usize;
            while i % 2 == 1 && at < end {
                let column = at / height;
                let stop = end.min((column + 1) * height);
                spans.push([x + column, y + at % height, y + at % height + (stop - at)]);
                at = stop;
            }
            at = end;
        }
        Ok(Self::sorted(spans))
    }

    /// Sorts pieces, and joins those that touch.
    fn sorted(mut spans: Vec<[usize; 3]>) -> Self {
        spans.sort_unstable();
        spans.dedup_by(|[column, first, end], [before, _, before_end]| {
            let touch = column == before && *first <= *before_end;
            if touch {
                *before_end = (*before_end).max(*end);
            }
            touch
        });
        Self(spans)
    }

    /// The part in a tile.
    pub(super) fn within(&self, tile: Tile) -> Self {
        let (right, bottom) = (tile.x + tile.width, tile.y + tile.height);
        let from = self.0.partition_point(|&[column, ..]| column < tile.x);
        let to = self.0.partition_point(|&[column, ..]| column < right);
        let cut =
            self.0[from..to].iter().map(|&[column, first, end]| [column, first.max(tile.y), end.min(bottom)]);
        Self(cut.filter(|[_, first, end]| first < end).collect())
    }

    /// The number of pixels.
    pub(super) fn area(&self) -> u64 {
        self.0.iter().map(|[_, first, end]| (end - first) as u64).sum()
    }

    /// The smallest rectangle that holds it; an empty one at 0, 0 if there is nothing.
    pub(super) fn bounds(&self) -> Bounds {
        let (Some(&[x, ..]), Some(&[last, ..])) = (self.0.first(), self.0.last()) else {
            return Bounds { x: 0, y: 0, width: 0, height: 0 };
        };
        let y = self.0.iter().map(|&[_, first, _]| first).min().unwrap_or(0);
        let bottom = self.0.iter().map(|&[.., end]| end).max().unwrap_or(0);
        Bounds { x, y, width: last + 1 - x, height: bottom - y }
    }

    /// The number of pixels of both.
    pub(super) fn common(&self, other: &Self) -> u64 {
        let (mut i, mut j, mut common) = (0, 0, 0);
        while let (Some(&[x, first, end]), Some(&[other_x, other_first, other_end])) =
            (self.0.get(i), other.0.get(j))
        {
            if x == other_x {
                common += end.min(other_end).saturating_sub(first.max(other_first)) as u64;
            }
            if (x, end) <= (other_x, other_end) { i += 1 } else { j += 1 }
        }
        common
    }

    pub(super) fn union<'a>(masks: impl Iterator<Item = &'a Self>) -> Self {
        Self::sorted(masks.flat_map(|mask| mask.0.iter().copied()).collect())
    }

    /// The mask of a picture of this width and height, which must hold it.
    pub(super) fn to_rle(&self, [width, height]: [usize; 2]) -> Result<Rle> {
        let (mut runs, mut at): (Vec<u32>, usize) = (Vec::new(), 0);
        for &[column, first, end] in &self.0 {
            let (start, stop) = (column * height + first, column * height + end);
            match runs.last_mut() {
                // The piece goes on at the top of the next column.
                Some(ones) if start == at => *ones += (stop - start) as u32,
                _ => runs.extend([(start - at) as u32, (stop - start) as u32]),
            }
            at = stop;
        }
        if runs.is_empty() || at < width * height {
            runs.push((width * height - at) as u32);
        }
        Rle::from_runs(height, width, &runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;

    fn spans(width: usize, bits: &[u8], at: [usize; 2]) -> Spans {
        let mask = Mask::new(width, bits.len() / width, bits.to_vec()).expect("its size");
        Spans::new(&mask.to_rle().expect("small"), at).expect("a mask")
    }

    #[test]
    fn masks_come_back_as_they_were() {
        for seed in 0..200_u32 {
            let bits: Vec<u8> = (0..30_u32)
                .map(|i| {
                    u8::from(
                        (i + 7).wrapping_mul(seed.wrapping_mul(2_654_435_761).wrapping_add(12_345)) >> 30
                            == 1,
                    )
                })
                .collect();
            let rle = Mask::new(6, 5, bits.clone()).expect("6 x 5").to_rle().expect("small");
            assert_eq!(spans(6, &bits, [0, 0]).to_rle([6, 5]).expect("small"), rle, "{bits:?}");
        }
        for (bits, counts) in [([1; 6], "06"), ([0; 6], "6")] {
            assert_eq!(spans(3, &bits, [0, 0]).to_rle([3, 2]).expect("small").counts, counts);
        }
    }

    #[test]
    fn parts_are_counted() {
        let (a, b) = (spans(2, &[1, 1, 1, 0], [3, 1]), spans(3, &[1, 0, 0, 1, 1, 1], [2, 2]));
        assert_eq!((a.area(), b.area(), a.common(&b), b.common(&a)), (3, 4, 0, 0));
        let c = spans(2, &[1, 1, 1, 1], [2, 1]);
        assert_eq!((a.common(&c), c.common(&b), Spans::union([&a, &c].into_iter()).area()), (2, 1, 5));
        assert_eq!(c.within(Tile { x: 3, y: 2, width: 9, height: 9 }), Spans(vec![[3, 2, 3]]));
    }
}
