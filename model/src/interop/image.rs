//! The crate `image`: `RgbImage` in, `GrayImage` out.

use crate::{Error, ImageView, Mask, Picture, Result};
use image::{GrayImage, RgbImage};

/// No copy is made.
impl<'a> TryFrom<&'a RgbImage> for ImageView<'a> {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if it has no pixels.
    fn try_from(image: &'a RgbImage) -> Result<Self> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        Self::new(image.as_raw(), width, height, 3 * width)
    }
}

/// No copy is made.
impl TryFrom<RgbImage> for Picture {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if it has no pixels.
    fn try_from(image: RgbImage) -> Result<Self> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        Self::new(width, height, image.into_raw())
    }
}

/// No copy is made.
impl TryFrom<Picture> for RgbImage {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if its bytes are not those of its size, or a side is beyond `u32`.
    fn try_from(Picture { width, height, rgb, .. }: Picture) -> Result<Self> {
        let made = sides(width, height).and_then(|(w, h)| Self::from_raw(w, h, rgb));
        made.ok_or_else(|| misfit(width, height))
    }
}

/// 255 where the mask is set, 0 elsewhere.
impl TryFrom<&Mask> for GrayImage {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if its bytes are not those of its size, or a side is beyond `u32`.
    fn try_from(mask: &Mask) -> Result<Self> {
        let shown = mask.bits.iter().map(|&bit| if bit == 0 { 0 } else { 255 }).collect();
        let made = sides(mask.width, mask.height).and_then(|(w, h)| Self::from_raw(w, h, shown));
        made.ok_or_else(|| misfit(mask.width, mask.height))
    }
}

fn sides(width: usize, height: usize) -> Option<(u32, u32)> {
    Some((width.try_into().ok()?, height.try_into().ok()?))
}

fn misfit(width: usize, height: usize) -> Error {
    Error::picture("the picture in memory", format!("its bytes are not those of {width} x {height} pixels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_pixels_both_ways() {
        let image = RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let view = ImageView::try_from(&image).expect("6 pixels");
        assert_eq!((view.width(), view.height(), view.row(1)), (3, 2, &[0, 1, 7, 1, 1, 7, 2, 1, 7][..]));
        let picture = Picture::try_from(image.clone()).expect("6 pixels");
        assert_eq!(RgbImage::try_from(picture).expect("6 pixels"), image);
        assert!(ImageView::try_from(&RgbImage::new(0, 2)).is_err());
    }

    #[test]
    fn masks_are_black_and_white() {
        let mask = Mask::new(2, 1, vec![0, 1]).expect("2 x 1");
        assert_eq!(GrayImage::try_from(&mask).expect("2 x 1").into_raw(), [0, 255]);
    }
}
