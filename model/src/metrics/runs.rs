//! Masks as run lengths, compared and joined without decoding them.
//!
//! A mask of `height` x `width` is read column by column, top to bottom; runs of zeros and ones take turns, zeros first,
//! and add up to all pixels. Inner runs may be empty. Source: evaluation spec, section 7; pycocotools 2.0.11.

use crate::mask::rle::check_sum;
use crate::mask::{Bounds, Mask, Rle};
use crate::{Error, Result};
use serde::Serialize;
use std::iter::Sum;

/// A binary mask as run lengths. They always add up to its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    height: usize,
    width: usize,
    lengths: Vec<u32>,
}

/// Pixels two masks share, and pixels at least one of them has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// Set in both.
    pub intersection: u64,
    /// Set in any.
    pub union: u64,
}

impl Overlap {
    /// Intersection over union; 0 when neither mask has a pixel.
    #[must_use]
    pub fn iou(self) -> f64 {
        if self.union == 0 { 0.0 } else { self.intersection as f64 / self.union as f64 }
    }
}

impl Sum for Overlap {
    fn sum<I: Iterator<Item = Self>>(overlaps: I) -> Self {
        overlaps.fold(Self::default(), |all, one| Self {
            intersection: all.intersection + one.intersection,
            union: all.union + one.union,
        })
    }
}

/// How two masks are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Pixels of any of them.
    Union,
    /// Pixels of both.
    Intersection,
}

impl Runs {
    /// A mask from run lengths, zeros first.
    ///
    /// # Errors
    /// [`Error::Rle`] when they do not add up to `height * width`, or that is more than 2^28.
    pub fn new(height: usize, width: usize, lengths: Vec<u32>) -> Result<Self> {
        check_sum([height, width], &lengths)?;
        Ok(Self { height, width, lengths })
    }

    /// A mask without pixels.
    ///
    /// # Errors
    /// [`Error::Rle`] when `height * width` is more than 2^28.
    pub fn zeros(height: usize, width: usize) -> Result<Self> {
        Self::from_rle(&Rle { size: [height, width], counts: String::new() })
    }

    /// Unpacks a run-length string; an empty one is a mask without pixels.
    ///
    /// # Errors
    /// [`Error::Rle`] when it is malformed or does not fit its size.
    pub fn from_rle(rle: &Rle) -> Result<Self> {
        let [height, width] = rle.size;
        Ok(Self { height, width, lengths: rle.runs()? })
    }

    /// Encodes a decoded mask.
    ///
    /// # Errors
    /// [`Error::Rle`] when it has more than 2^28 pixels.
    pub fn from_mask(mask: &Mask) -> Result<Self> {
        Self::from_rle(&mask.to_rle()?)
    }

    /// Packs the runs into a string.
    ///
    /// # Errors
    /// Never for runs that add up, which these do.
    pub fn to_rle(&self) -> Result<Rle> {
        Rle::from_runs(self.height, self.width, &self.lengths)
    }

    /// Height and width.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The run lengths, zeros first.
    #[must_use]
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// The number of set pixels.
    #[must_use]
    pub fn area(&self) -> u64 {
        self.lengths.iter().skip(1).step_by(2).map(|&run| u64::from(run)).sum()
    }

    /// The box pycocotools gives: a run that crosses the end of a column makes it as high as the picture.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let (mut at, mut left, mut right, mut top, mut bottom) = (0, usize::MAX, 0, usize::MAX, 0);
        for (i, &run) in self.lengths.iter().enumerate() {
            let (first, run) = (at, run as usize);
            at += run;
            if i % 2 == 0 || run == 0 {
                continue;
            }
            let last = at - 1;
            let (x0, x1) = (first / self.height, last / self.height);
            let whole = x0 != x1;
            (left, right) = (left.min(x0), right.max(x1));
            top = top.min(if whole { 0 } else { first % self.height });
            bottom = bottom.max(if whole { self.height - 1 } else { last % self.height });
        }
        match left {
            usize::MAX => Bounds::default(),
            _ => Bounds { x: left, y: top, width: right - left + 1, height: bottom - top + 1 },
        }
    }

    /// Shared pixels and all pixels of two masks; `None` when their sizes differ.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Overlap> {
        let mut overlap = Overlap::default();
        self.walk(other, |pixels, a, b| {
            overlap.intersection += if a && b { u64::from(pixels) } else { 0 };
            overlap.union += if a || b { u64::from(pixels) } else { 0 };
        })?;
        Some(overlap)
    }

    /// Intersection over union as pycocotools gives it for a detection (`self`) and a ground truth: -1 when sizes differ, 0
    /// when nothing is shared, and divided by the detection's area alone when the ground truth is a crowd.
    #[must_use]
    pub fn coco_iou(&self, truth: &Self, crowd: bool) -> f64 {
        match self.overlap(truth) {
            None => -1.0,
            Some(Overlap { intersection: 0, .. }) => 0.0,
            Some(overlap) if crowd => overlap.intersection as f64 / self.area() as f64,
            Some(overlap) => overlap.iou(),
        }
    }

    /// Two masks joined, in canonical form: no empty run but perhaps the first.
    ///
    /// # Errors
    /// [`Error::Rle`] when their sizes differ.
    pub fn join(&self, other: &Self, how: Join) -> Result<Self> {
        let (mut lengths, mut last) = (vec![0], false);
        let walked = self.walk(other, |pixels, a, b| {
            let set = match how {
                Join::Union => a || b,
                Join::Intersection => a && b,
            };
            match lengths.last_mut() {
                Some(run) if set == last => *run += pixels,
                _ => lengths.push(pixels),
            }
            last = set;
        });
        walked.ok_or_else(|| {
            let ([h, w], [other_h, other_w]) = (self.size(), other.size());
            Error::rle(format!("a mask of {w} x {h} cannot be joined with one of {other_w} x {other_h}"))
        })?;
        Ok(Self { height: self.height, width: self.width, lengths })
    }

    /// The union of masks; `None` when there are none.
    ///
    /// # Errors
    /// [`Error::Rle`] when their sizes differ.
    pub fn union<'a>(masks: impl IntoIterator<Item = &'a Self>) -> Result<Option<Self>> {
        let mut masks = masks.into_iter();
        let Some(first) = masks.next() else { return Ok(None) };
        let mut all = first.clone();
        for mask in masks {
            all = all.join(mask, Join::Union)?;
        }
        Ok(Some(all))
    }

    /// Calls `visit(pixels, in self, in other)` for stretches that cover both masks; `None` when sizes differ.
    fn walk(&self, other: &Self, mut visit: impl FnMut(u32, bool, bool)) -> Option<()> {
        if self.size() != other.size() {
            return None;
        }
        let (mut ours, mut theirs) = (Cursor::new(&self.lengths), Cursor::new(&other.lengths));
        while let (Some((left, a)), Some((right, b))) = (ours.here(), theirs.here()) {
            let pixels = left.min(right);
            visit(pixels, a, b);
            ours.left -= pixels;
            theirs.left -= pixels;
        }
        Some(())
    }
}

/// A place within run lengths.
struct Cursor<'a> {
    lengths: &'a [u32],
    run: usize,
    left: u32,
}

impl<'a> Cursor<'a> {
    fn new(lengths: &'a [u32]) -> Self {
        Self { lengths, run: 0, left: lengths.first().copied().unwrap_or(0) }
    }

    /// Pixels left of the present run, and whether it is set; skips empty runs.
    fn here(&mut self) -> Option<(u32, bool)> {
        while self.left == 0 {
            self.run += 1;
            self.left = *self.lengths.get(self.run)?;
        }
        Some((self.left, self.run % 2 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(lengths: &[u32]) -> Runs {
        Runs::new(4, 5, lengths.to_vec()).expect("20 pixels")
    }

    #[test]
    fn overlaps_are_counted_by_stretches() {
        struct Case(&'static [u32], &'static [u32], u64, u64);
        let cases = [
            Case(&[20], &[20], 0, 0),
            Case(&[0, 20], &[20], 0, 20),
            Case(&[0, 20], &[0, 20], 20, 20),
            Case(&[5, 10, 5], &[10, 10], 5, 15),
            Case(&[5, 3, 0, 7, 5], &[10, 10], 5, 15),
            Case(&[5, 0, 5, 10], &[10, 10], 10, 10),
        ];
        for Case(a, b, intersection, union) in cases {
            let (a, b) = (runs(a), runs(b));
            assert_eq!(a.overlap(&b), Some(Overlap { intersection, union }));
            assert_eq!(b.overlap(&a), Some(Overlap { intersection, union }));
            assert_eq!(a.join(&b, Join::Union).expect("one size").area(), union);
            assert_eq!(a.join(&b, Join::Intersection).expect("one size").area(), intersection);
        }
    }

    #[test]
    fn empty_masks_score_zero_and_other_sizes_minus_one() {
        let (none, all) = (runs(&[20]), runs(&[0, 20]));
        let other = Runs::zeros(5, 4).expect("small");
        assert_eq!(none.overlap(&none).expect("one size").iou(), 0.0);
        assert_eq!(none.coco_iou(&all, true), 0.0);
        assert_eq!(runs(&[15, 5]).coco_iou(&all, true), 1.0);
        assert_eq!(runs(&[15, 5]).coco_iou(&all, false), 0.25);
        assert_eq!(none.coco_iou(&other, false), -1.0);
        assert!(none.join(&other, Join::Union).is_err());
    }

    #[test]
    fn joined_masks_are_canonical() {
        let odd = runs(&[0, 0, 3, 2, 0, 5, 10]);
        assert_eq!(odd.join(&odd, Join::Union).expect("one size").lengths(), [3, 7, 10]);
        let all = runs(&[0, 20]);
        assert_eq!(all.join(&odd, Join::Union).expect("one size").lengths(), [0, 20]);
        assert_eq!(Runs::zeros(0, 0).expect("none").bounds(), Bounds::default());
        assert_eq!(Runs::union([]).expect("none"), None);
    }
}
