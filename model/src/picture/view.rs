//! Pictures in memory: owned, and borrowed from the host.

use crate::{Error, Result};

/// A borrowed RGB picture: rows of `3 * width` bytes, `stride` bytes from one row to the next.
#[derive(Clone, Copy, Debug)]
pub struct ImageView<'a> {
    rgb: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'a> ImageView<'a> {
    /// A view of `rgb`, whose rows start every `stride` bytes.
    ///
    /// # Errors
    /// [`Error::Picture`] when a side is zero, when rows overlap (`stride < 3 * width`) or when bytes are missing.
    pub fn new(rgb: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self> {
        let refuse = |problem: String| Err(Error::picture("the picture in memory", problem));
        if width == 0 || height == 0 {
            return refuse(format!("{width} x {height} pixels; both sides must be at least 1"));
        }
        let Some(row) = width.checked_mul(3).filter(|&row| row <= stride) else {
            return refuse(format!("rows of {width} pixels do not fit a stride of {stride} bytes"));
        };
        let needed = stride.checked_mul(height - 1).and_then(|bytes| bytes.checked_add(row));
        if needed.is_none_or(|needed| needed > rgb.len()) {
            let have = rgb.len();
            return refuse(format!(
                "{have} bytes are too few for {width} x {height} pixels, {stride} bytes a row"
            ));
        }
        Ok(Self { rgb, width, height, stride })
    }

    /// A part of it, by its upper left corner and its size.
    ///
    /// # Errors
    /// [`Error::Picture`] when it has no pixels or reaches beyond the picture.
    pub fn crop(&self, x: usize, y: usize, width: usize, height: usize) -> Result<Self> {
        let ends = |from: usize, size: usize, end: usize| from.checked_add(size).is_some_and(|to| to <= end);
        if !ends(x, width, self.width) || !ends(y, height, self.height) {
            let problem = format!(
                "{width} x {height} pixels from {x}, {y} are not within {} x {}",
                self.width, self.height
            );
            return Err(Error::picture("a part of the picture", problem));
        }
        Self::new(self.rgb.get(y * self.stride + 3 * x..).unwrap_or_default(), width, height, self.stride)
    }

    /// Pixels across.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes of row `y`.
    ///
    /// # Panics
    /// When `y` is not below the height.
    #[must_use]
    pub fn row(&self, y: usize) -> &'a [u8] {
        assert!(y < self.height, "row {y} of {}", self.height);
        &self.rgb[y * self.stride..][..3 * self.width]
    }
}

/// An owned RGB picture, rows without gaps.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Three bytes a pixel, row by row.
    pub rgb: Vec<u8>,
    /// What was changed on the way from the file, one sentence each; empty when the file already held 8-bit RGB.
    pub notes: Vec<String>,
}

impl Picture {
    /// A picture from its bytes.
    ///
    /// # Errors
    /// [`Error::Picture`] when a side is zero or `rgb` is not `3 * width * height` bytes.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self> {
        let view = ImageView::new(&rgb, width, height, width.saturating_mul(3))?;
        if rgb.len() != 3 * view.width * view.height {
            let problem = format!("{} bytes are too many for {width} x {height} pixels", rgb.len());
            return Err(Error::picture("the picture in memory", problem));
        }
        Ok(Self { width, height, rgb, notes: Vec::new() })
    }

    /// The picture as the model's input.
    #[must_use]
    pub fn view(&self) -> ImageView<'_> {
        ImageView { rgb: &self.rgb, width: self.width, height: self.height, stride: 3 * self.width }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { width, height, notes, .. } = self;
        f.debug_struct("Picture").field("width", width).field("height", height).field("notes", notes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_needs_all_its_bytes() {
        struct Case(usize, usize, usize, usize, bool);
        let cases = [
            Case(12, 2, 2, 6, true),
            Case(14, 2, 2, 8, true),
            Case(13, 2, 2, 8, false),
            Case(12, 2, 2, 5, false),
            Case(0, 0, 1, 0, false),
            Case(9, usize::MAX, 1, usize::MAX, false),
            Case(9, 1, usize::MAX, usize::MAX, false),
        ];
        for Case(bytes, width, height, stride, fits) in cases {
            let rgb = vec![0; bytes];
            assert_eq!(
                ImageView::new(&rgb, width, height, stride).is_ok(),
                fits,
                "{width} x {height}, {stride}"
            );
        }
    }

    #[test]
    fn rows_skip_the_gap() {
        let rgb: Vec<u8> = (0..14).collect();
        let view = ImageView::new(&rgb, 2, 2, 8).expect("two rows");
        assert_eq!(view.row(1), [8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn a_part_has_its_own_rows() {
        let rgb: Vec<u8> = (0..24).collect();
        let view = ImageView::new(&rgb, 4, 2, 12).expect("4 x 2");
        let part = view.crop(3, 0, 1, 2).expect("the last column");
        assert_eq!((part.row(0), part.row(1)), (&[9, 10, 11][..], &[21, 22, 23][..]));
        for (x, y, width, height) in [(4, 0, 1, 1), (0, 1, 1, 2), (0, 0, 0, 1), (1, 0, usize::MAX, 1)] {
            assert!(view.crop(x, y, width, height).is_err(), "{x} {y} {width} {height}");
        }
    }

    #[test]
    fn a_picture_has_exactly_its_bytes() {
        assert!(Picture::new(2, 1, vec![0; 6]).is_ok());
        assert!(Picture::new(2, 1, vec![0; 7]).is_err());
        assert!(Picture::new(usize::MAX, 2, vec![0; 7]).is_err());
    }
}
