//! From bytes to the numbers the ViT reads.

use super::ImageView;

/// `(x * (1/255) - 0.5) / 0.5` of every byte, in f32.
///
/// The reference multiplies by the rounded reciprocal; dividing by 255 gives other last bits for some bytes.
///
/// # Shapes
/// The picture's rows, to `[height, width, 3]`.
#[must_use]
pub fn normalise(picture: &ImageView<'_>) -> Vec<f32> {
    let table: [f32; 256] = std::array::from_fn(|byte| (byte as f32 * (1.0 / 255.0) - 0.5) / 0.5);
    let rows = (0..picture.height()).flat_map(|y| picture.row(y));
    let mut pixels_hwc = Vec::with_capacity(3 * picture.width() * picture.height());
    pixels_hwc.extend(rows.map(|&byte| table[usize::from(byte)]));
    pixels_hwc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_is_minus_one_and_white_is_one() {
        let view = ImageView::new(&[0, 255, 51], 1, 1, 3).expect("one pixel");
        let [black, white, fifth] = normalise(&view)[..] else { panic!("one pixel has three numbers") };
        assert_eq!((black, white), (-1.0, 1.0));
        assert!((fifth + 0.6).abs() < 1e-6, "{fifth}");
    }
}
