//! Grey floating point in tiff files (16, 32 or 64 bits a pixel), which the crate `image` does not read.

use super::decode::{DecodeLimits, check_size};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage};
use std::io::Cursor;
use tiff::ColorType;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{SampleFormat, Tag};

/// The picture of a tiff file whose first page is grey floating point; nothing if it is anything else, or damaged.
///
/// Values become bytes as those of RGB do: 0 to 1 to 0 to 255, what lies beyond is cut.
///
/// # Errors
/// When it is damaged, larger than the limits allow, or holds whole numbers of 32 or 64 bits.
pub(super) fn read(
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Option<Result<(DynamicImage, Orientation), String>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let ColorType::Gray(bits) = decoder.colortype().ok()? else { return None };
    let format = decoder.find_tag_unsigned::<u16>(Tag::SampleFormat).ok()?.unwrap_or(1);
    if format == SampleFormat::IEEEFP.to_u16() {
        return Some(decode(decoder, limits, bits));
    }
    let whole = format!(
        "grey in whole numbers of {bits} bits cannot be read: nothing says which of them are black and white; convert it \
         to 8 or 16 bits"
    );
    (bits > 16).then_some(Err(whole))
}

fn decode(
    mut decoder: Decoder<Cursor<&[u8]>>,
    limits: &DecodeLimits,
    bits: u8,
) -> Result<(DynamicImage, Orientation), String> {
    let damaged = |error: TiffError| match error {
        TiffError::LimitsExceeded => {
            format!(
                "decoding needs more than the limit of {} bytes; shrink the picture or raise the limit",
                limits.memory
            )
        }
        TiffError::UnsupportedError(_) => {
            format!("this kind of picture file cannot be read ({error}); convert it to png")
        }
        _ => format!("the file is damaged or cut off ({error}); copy or download it again"),
    };
    let (width, height) = decoder.dimensions().map_err(damaged)?;
    let pixels = u64::from(width) * u64::from(height);
    check_size([width, height], pixels.saturating_mul(u64::from(bits / 8)), limits)?;
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    let mut allowed = Limits::default();
    let most = usize::try_from(limits.memory).unwrap_or(usize::MAX);
    (allowed.decoding_buffer_size, allowed.intermediate_buffer_size) = (most, most);
    let values = decoder.with_limits(allowed).read_image().map_err(damaged)?;
    let grey: Vec<u8> = match values {
        DecodingResult::F16(values) => values.into_iter().map(|value| byte(value.to_f32())).collect(),
        DecodingResult::F32(values) => values.into_iter().map(byte).collect(),
        DecodingResult::F64(values) => values.into_iter().map(|value| byte(value as f32)).collect(),
        _ => return Err("the file is damaged: its values are not of the kind it says".to_owned()),
    };
    let grey = GrayImage::from_raw(width, height, grey).ok_or("the decoder gave too few pixels")?;
    let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::ImageLuma8(grey), orientation))
}

/// As `image` does with RGB: what is no number is white.
fn byte(value: f32) -> u8 {
    let cut = if value < 1.0 { value.max(0.0) } else { 1.0 };
    (255.0 * cut).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_bytes_as_those_of_rgb_do() {
        let values =
            [-1.0, 0.0, 0.001, 0.25, 0.5, 0.999, 1.0, 7.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let rgb: Vec<f32> = values.iter().flat_map(|&value| [value; 3]).collect();
        let rgb = image::Rgb32FImage::from_raw(values.len() as u32, 1, rgb).expect("its size");
        let theirs: Vec<u8> =
            DynamicImage::ImageRgb32F(rgb).into_rgb8().pixels().map(|pixel| pixel[0]).collect();
        assert_eq!(values.map(byte).to_vec(), theirs);
    }
}
