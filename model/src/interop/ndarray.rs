//! The crate `ndarray`: pictures `[h, w, 3]` in, masks and logits `[h, w]` out.

use crate::{Error, ImageView, Mask, MaskLogits, Picture, Result};
use ndarray::{ArrayView2, ArrayView3};

/// No copy is made.
impl<'a> TryFrom<ArrayView3<'a, u8>> for ImageView<'a> {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if it is not `[h, w, 3]` with `h` and `w` of at least 1, or does not lie row-major without gaps;
    /// [`Picture`] copies those that lie otherwise.
    fn try_from(pixels: ArrayView3<'a, u8>) -> Result<Self> {
        let (height, width) = size(&pixels)?;
        let gaps = || Error::picture(ORIGIN, "it does not lie row-major without gaps; make a Picture of it");
        Self::new(pixels.to_slice().ok_or_else(gaps)?, width, height, 3 * width)
    }
}

/// Copies it, however it lies.
impl TryFrom<ArrayView3<'_, u8>> for Picture {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if it is not `[h, w, 3]` with `h` and `w` of at least 1.
    fn try_from(pixels: ArrayView3<'_, u8>) -> Result<Self> {
        let (height, width) = size(&pixels)?;
        Self::new(width, height, pixels.iter().copied().collect())
    }
}

/// `[h, w]`, 1 where the mask is set, else 0. No copy is made.
impl<'a> TryFrom<&'a Mask> for ArrayView2<'a, u8> {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if its bytes are not those of its size.
    fn try_from(mask: &'a Mask) -> Result<Self> {
        view(mask.height, mask.width, &mask.bits)
    }
}

/// `[h, w]`. No copy is made.
impl<'a> TryFrom<&'a MaskLogits> for ArrayView2<'a, f32> {
    type Error = Error;

    /// # Errors
    /// [`Error::Picture`] if its values are not those of its size.
    fn try_from(logits: &'a MaskLogits) -> Result<Self> {
        view(logits.height, logits.width, &logits.values)
    }
}

/// What is refused.
const ORIGIN: &str = "the array";

/// Height and width of `[h, w, 3]`.
fn size(pixels: &ArrayView3<u8>) -> Result<(usize, usize)> {
    match pixels.dim() {
        (height, width, 3) => Ok((height, width)),
        (h, w, c) => Err(Error::picture(ORIGIN, format!("[{h}, {w}, {c}] is not [height, width, 3]"))),
    }
}

fn view<T>(height: usize, width: usize, values: &[T]) -> Result<ArrayView2<'_, T>> {
    ArrayView2::from_shape((height, width), values)
        .map_err(|problem| Error::picture("the mask", problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, s};

    #[test]
    fn arrays_are_pictures_if_their_last_axis_is_rgb() {
        let pixels = Array3::from_shape_fn((2, 3, 3), |(y, x, c)| (100 * y + 10 * x + c) as u8);
        let view = ImageView::try_from(pixels.view()).expect("2 x 3");
        assert_eq!((view.width(), view.height()), (3, 2));
        assert_eq!(view.row(1), [100, 101, 102, 110, 111, 112, 120, 121, 122]);

        let part = pixels.slice(s![.., 1.., ..]);
        let refused = ImageView::try_from(part).expect_err("it has gaps").to_string();
        assert!(refused.contains("make a Picture"), "{refused}");
        let copied = Picture::try_from(part).expect("2 x 2");
        assert_eq!(copied.rgb, [10, 11, 12, 20, 21, 22, 110, 111, 112, 120, 121, 122]);

        let grey = Array3::<u8>::zeros((2, 3, 1));
        assert!(Picture::try_from(grey.view()).is_err() && ImageView::try_from(grey.view()).is_err());
        assert!(Picture::try_from(Array3::zeros((0, 3, 3)).view()).is_err());
    }

    #[test]
    fn masks_and_logits_are_seen_as_rows() {
        let mask = Mask::new(3, 2, vec![0, 1, 0, 0, 0, 1]).expect("3 x 2");
        let seen = ArrayView2::try_from(&mask).expect("its own size");
        assert_eq!((seen.dim(), seen[[0, 1]], seen[[1, 2]]), ((2, 3), 1, 1));
        let logits = MaskLogits { height: 1, width: 2, values: vec![-1.0, 2.5] };
        assert_eq!(ArrayView2::try_from(&logits).expect("its own size")[[0, 1]], 2.5);
    }
}
