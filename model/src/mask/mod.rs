//! Binary masks, their COCO run-length encoding, and their polygons.

mod outline;
pub mod polygon;
pub mod rle;
mod simplify;

pub use polygon::Polygon;
pub use rle::Rle;

use crate::{Error, Result};

/// A binary mask: one byte a pixel, 0 or 1, row by row.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mask {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// 1 where the mask is set, else 0.
    pub bits: Vec<u8>,
}

/// The smallest box around a mask's pixels, in whole pixels; all zero for an empty mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Mask {
    /// A mask from its bytes; whatever is not 0 counts as set.
    ///
    /// # Errors
    /// [`Error::Picture`] when `bits` is not `width * height` bytes.
    pub fn new(width: usize, height: usize, mut bits: Vec<u8>) -> Result<Self> {
        if width.checked_mul(height) != Some(bits.len()) {
            let problem = format!("{} bytes are not {width} x {height} pixels", bits.len());
            return Err(Error::picture("the mask", problem));
        }
        bits.iter_mut().for_each(|bit| *bit = u8::from(*bit != 0));
        Ok(Self { width, height, bits })
    }

    /// The number of set pixels.
    #[must_use]
    pub fn area(&self) -> usize {
        self.bits.iter().filter(|&&bit| bit != 0).count()
    }

    /// The smallest box around the set pixels.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let rows = || self.bits.chunks_exact(self.width.max(1)).enumerate();
        let set = |row: &[u8]| row.iter().any(|&bit| bit != 0);
        let used: Vec<usize> = rows().filter(|(_, row)| set(row)).map(|(y, _)| y).collect();
        let (Some(&top), Some(&bottom)) = (used.first(), used.last()) else { return Bounds::default() };
        let firsts = rows().filter_map(|(_, row)| row.iter().position(|&bit| bit != 0));
        let lasts = rows().filter_map(|(_, row)| row.iter().rposition(|&bit| bit != 0));
        let (left, right) = (firsts.min().unwrap_or(0), lasts.max().unwrap_or(0));
        Bounds { x: left, y: top, width: right - left + 1, height: bottom - top + 1 }
    }

    /// The mask as COCO run lengths.
    ///
    /// # Errors
    /// [`Error::Rle`] when the mask has more pixels than a run-length encoded mask may have.
    pub fn to_rle(&self) -> Result<Rle> {
        Rle::encode(self)
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { width, height, .. } = self;
        f.debug_struct("Mask")
            .field("width", width)
            .field("height", height)
            .field("area", &self.area())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_smallest_box() {
        struct Case(&'static [u8], Bounds);
        let cases = [
            Case(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Bounds::default()),
            Case(&[0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0], Bounds { x: 1, y: 1, width: 2, height: 2 }),
            Case(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], Bounds { x: 0, y: 0, width: 4, height: 3 }),
        ];
        for Case(bits, expected) in cases {
            let mask = Mask::new(4, 3, bits.to_vec()).expect("4 x 3");
            assert_eq!(mask.bounds(), expected);
            assert_eq!(mask.area(), bits.iter().filter(|&&bit| bit > 0).count());
        }
    }

    #[test]
    fn a_mask_has_exactly_its_bytes() {
        assert!(Mask::new(2, 2, vec![0; 5]).is_err());
        assert!(Mask::new(usize::MAX, 2, vec![0; 5]).is_err());
        assert_eq!(Mask::new(0, 0, vec![]).expect("no pixels").bounds(), Bounds::default());
    }
}
