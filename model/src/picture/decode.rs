//! Picture files: png, jpeg, webp, bmp and, with the feature `tiff`, tiff, told apart by their content.
//!
//! Rules of conversion to 8-bit RGB, each told in [`Picture::notes`]: grey goes to all three channels; transparency is
//! dropped and the colours below it shown, as Pillow's `convert("RGB")` does; of 16 bits the high 8 are kept; floating point is
//! cut to 0 to 1; CMYK becomes `ink * key / 255` of the inverted values Adobe stores. Colour profiles are not applied. Of a
//! tiff file with several pages the first is read.

use super::{Picture, sniff};
use crate::{Error, Result};
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// The formats that are read.
const READ: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff];
/// How floating point is read.
const FLOAT: &str = "floating point: 0 to 1 became 0 to 255, what lies beyond was cut";
/// What to do about a picture that is too large.
const REMEDY: &str = "shrink the picture or raise the limit";

/// How a file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// Turn the picture as its EXIF orientation says. The reference does not; people expect it.
    pub exif: bool,
    /// What a file may cost.
    pub limits: DecodeLimits,
}

/// Bounds against files that unpack to far more than they seem to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// Most pixels.
    pub pixels: u64,
    /// Most bytes: of the file, and of what the decoder keeps at a time.
    pub memory: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { exif: true, limits: DecodeLimits::default() }
    }
}

impl Default for DecodeLimits {
    /// 178956970 pixels, where Pillow stops too, and 2 GiB.
    fn default() -> Self {
        Self { pixels: 178_956_970, memory: 2 << 30 }
    }
}

impl DecodeOptions {
    /// With or without turning the picture as its EXIF orientation says.
    #[must_use]
    pub fn exif(mut self, apply: bool) -> Self {
        self.exif = apply;
        self
    }

    /// With at most this many pixels.
    #[must_use]
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.limits.pixels = pixels;
        self
    }

    /// With at most this many bytes.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.limits.memory = bytes;
        self
    }
}

impl Picture {
    /// Reads a picture file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Picture`] when it is no picture, damaged, cut off or too large.
    pub fn open(path: &Path, options: &DecodeOptions) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut bytes = Vec::new();
        let most = options.limits.memory.saturating_add(1);
        file.take(most).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
        Self::decode(&bytes, &path.display().to_string(), options)
    }

    /// Reads a picture file that is in memory.
    ///
    /// # Errors
    /// [`Error::Picture`] when the bytes are no picture, damaged, cut off or too large.
    pub fn from_bytes(bytes: &[u8], options: &DecodeOptions) -> Result<Self> {
        Self::decode(bytes, "the picture", options)
    }

    fn decode(bytes: &[u8], origin: &str, options: &DecodeOptions) -> Result<Self> {
        decode(bytes, &options.limits, options.exif).map_err(|problem| Error::picture(origin, problem))
    }
}

fn decode(bytes: &[u8], limits: &DecodeLimits, exif: bool) -> Result<Picture, String> {
    if bytes.len() as u64 > limits.memory {
        return Err(format!("the file is larger than the limit of {} bytes", limits.memory));
    }
    let format = format_of(bytes)?;
    let mut notes = Vec::new();
    let Contents { mut decoded, orientation, stored } = match grey_float(bytes, format, limits) {
        Some(read) => {
            let (decoded, orientation) = read?;
            notes.push(FLOAT.to_owned());
            Contents { decoded, orientation, stored: ExtendedColorType::L8 }
        }
        None => read_pixels(bytes, format, limits)?,
    };
    match format {
        ImageFormat::Jpeg => note_cmyk(&sniff::Jpeg::read(bytes), &mut notes),
        ImageFormat::Tiff => note_tiff(bytes, stored, &mut notes),
        _ => {}
    }
    let rgb = to_rgb(&mut decoded, &mut notes)?;
    let mut turned = DynamicImage::ImageRgb8(rgb);
    if orientation != Orientation::NoTransforms {
        notes.push(orientation_note(orientation, exif));
        if exif {
            turned.apply_orientation(orientation);
        }
    }
    let (width, height) = (turned.width() as usize, turned.height() as usize);
    let picture = Picture::new(width, height, turned.into_rgb8().into_raw()).map_err(|e| e.to_string())?;
    Ok(Picture { notes, ..picture })
}

/// The format the content says; cut-off files are refused here where the decoders would fill in grey.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, String> {
    let cut_off = || Err("the file is cut off: its end is missing; copy or download it again".to_owned());
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) if !sniff::Jpeg::read(bytes).complete => cut_off(),
        Ok(ImageFormat::WebP) if !sniff::riff_is_complete(bytes) => cut_off(),
        Ok(ImageFormat::Bmp) if !sniff::bmp_is_complete(bytes) => cut_off(),
        Ok(ImageFormat::Tiff) if !cfg!(feature = "tiff") => {
            Err("TIFF files are not read by this build (feature tiff); convert it to png".to_owned())
        }
        Ok(format) if READ.contains(&format) => Ok(format),
        _ => Err(format!(
            "not a png, jpeg, webp, bmp or tiff picture: {}; convert it to one of these",
            sniff::describe(bytes)
        )),
    }
}

/// A tiff file of grey floating point, and how it is turned; nothing if it is anything else.
fn grey_float(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Option<Result<(DynamicImage, Orientation), String>> {
    #[cfg(feature = "tiff")]
    if format == ImageFormat::Tiff {
        return super::grey_float::read(bytes, limits);
    }
    let _ = (bytes, format, limits); // without the feature, no tiff file comes so far
    None
}

/// What a decoder found.
struct Contents {
    decoded: DynamicImage,
    orientation: Orientation,
    /// How the file holds its colours.
    stored: ExtendedColorType,
}

fn read_pixels(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Result<Contents, String> {
    let damaged = |error: ImageError| damage(&error, limits);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = Limits::default();
    allowed.max_alloc = Some(limits.memory);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size([width, height], decoder.total_bytes(), limits)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let stored = decoder.original_color_type();
    let decoded = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(Contents { decoded, orientation, stored })
}

/// Refuses by the header what would take too much to decode.
///
/// # Errors
/// That; `bytes` are those that decoding gives.
pub(super) fn check_size([width, height]: [u32; 2], bytes: u64, limits: &DecodeLimits) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    let (most, size) = (limits.pixels, format!("{width} x {height}"));
    if pixels > most {
        return Err(format!("{size} is {pixels} pixels, more than the limit of {most}; {REMEDY}"));
    }
    if bytes.saturating_add(3 * pixels) > limits.memory {
        return Err(format!("{size} pixels take more than the limit of {} bytes; {REMEDY}", limits.memory));
    }
    Ok(())
}

fn damage(error: &ImageError, limits: &DecodeLimits) -> String {
    match error {
        ImageError::Limits(_) => {
            format!(
                "decoding needs more than the limit of {} bytes; shrink the picture or raise the limit",
                limits.memory
            )
        }
        ImageError::Unsupported(_) => {
            format!("this kind of picture file cannot be read ({error}); convert it to png")
        }
        _ => format!("the file is damaged or cut off ({error}); copy or download it again"),
    }
}

fn note_cmyk(jpeg: &sniff::Jpeg, notes: &mut Vec<String>) {
    if jpeg.components == 4 {
        let how = if jpeg.adobe {
            ""
        } else {
            "; no Adobe marker says so, but the inks were taken as stored inverted"
        };
        notes.push(format!("CMYK converted to RGB without a colour profile{how}"));
    }
}

fn note_tiff(bytes: &[u8], stored: ExtendedColorType, notes: &mut Vec<String>) {
    if matches!(stored, ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16) {
        notes.push("CMYK converted to RGB without a colour profile".to_owned());
    }
    if sniff::tiff_has_more_pages(bytes) {
        notes.push("the first of several pages; the others were not read".to_owned());
    }
}

fn orientation_note(orientation: Orientation, applied: bool) -> String {
    let what = match orientation {
        Orientation::NoTransforms => "upright",
        Orientation::Rotate90 => "turned right",
        Orientation::Rotate180 => "turned upside down",
        Orientation::Rotate270 => "turned left",
        Orientation::FlipHorizontal => "mirrored",
        Orientation::FlipVertical => "flipped top to bottom",
        Orientation::Rotate90FlipH => "turned right and mirrored",
        Orientation::Rotate270FlipH => "turned left and mirrored",
    };
    let done = if applied { "" } else { "not " };
    format!("{done}{what} as the EXIF orientation says")
}

/// The pixels as 8-bit RGB; `decoded` is left empty.
fn to_rgb(decoded: &mut DynamicImage, notes: &mut Vec<String>) -> Result<RgbImage, String> {
    let (width, height) = (decoded.width(), decoded.height());
    let colour = decoded.color();
    match colour.bytes_per_pixel() / colour.channel_count() {
        2 => notes.push("16 bits a channel cut to the high 8".to_owned()),
        4 => notes.push(FLOAT.to_owned()),
        _ => {}
    }
    if !colour.has_color() {
        notes.push("grey copied to the three channels".to_owned());
    }
    if colour.has_alpha() {
        notes.push("transparency dropped".to_owned());
    }
    let rgb = match std::mem::take(decoded) {
        DynamicImage::ImageRgb8(rgb) => return Ok(rgb),
        DynamicImage::ImageLuma8(grey) => spread(grey.as_raw(), 1, |&v| v),
        DynamicImage::ImageLumaA8(grey) => spread(grey.as_raw(), 2, |&v| v),
        DynamicImage::ImageRgba8(rgba) => spread(rgba.as_raw(), 4, |&v| v),
        DynamicImage::ImageLuma16(grey) => spread(grey.as_raw(), 1, high_byte),
        DynamicImage::ImageLumaA16(grey) => spread(grey.as_raw(), 2, high_byte),
        DynamicImage::ImageRgb16(rgb) => spread(rgb.as_raw(), 3, high_byte),
        DynamicImage::ImageRgba16(rgba) => spread(rgba.as_raw(), 4, high_byte),
        other => return Ok(other.into_rgb8()),
    };
    RgbImage::from_raw(width, height, rgb).ok_or_else(|| "the decoder gave too few pixels".to_owned())
}

fn high_byte(value: &u16) -> u8 {
    (value >> 8) as u8
}

/// Three bytes a pixel from `channels` samples a pixel: grey (1 or 2 samples) three times, else the first three.
fn spread<T>(samples: &[T], channels: usize, byte: impl Fn(&T) -> u8) -> Vec<u8> {
    let second = usize::from(channels > 2);
    let rgb =
        samples.chunks_exact(channels).flat_map(|s| [byte(&s[0]), byte(&s[second]), byte(&s[2 * second])]);
    rgb.collect()
}
