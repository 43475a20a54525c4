//! Pictures: files against Pillow, resizes against the reference and Pillow, hostile files against errors.

use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use sam3i::picture::{DecodeOptions, ImageView, Picture, ResizeMode, normalise, resize};
use sam3i_tests::goldens::{data, goldens_dir};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    file: String,
    width: usize,
    height: usize,
    /// What Pillow makes of the file, in hexadecimal.
    rgb: String,
    /// Largest difference, in levels: lossy formats leave the inverse transform's rounding open.
    tolerance: u8,
    /// A word of each note.
    notes: Vec<String>,
}

fn pictures() -> PathBuf {
    data("pictures")
}

fn open(path: &Path) -> Picture {
    Picture::open(path, &DecodeOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn files_decode_as_pillow_decodes_them() {
    let text = std::fs::read_to_string(pictures().join("expected.json")).expect("expected.json");
    let expected: Vec<Expected> = serde_json::from_str(&text).expect("a list of files");
    for case in expected {
        let picture = open(&pictures().join(&case.file));
        assert_eq!((picture.width, picture.height), (case.width, case.height), "{}", case.file);
        let differences = picture.rgb.iter().zip(from_hex(&case.rgb)).map(|(&a, b)| a.abs_diff(b));
        let most = differences.max().expect("pixels");
        assert!(most <= case.tolerance, "{}: {most} levels", case.file);
        assert_eq!(picture.notes.len(), case.notes.len(), "{}: {:?}", case.file, picture.notes);
        for (note, word) in picture.notes.iter().zip(&case.notes) {
            assert!(note.contains(word.as_str()), "{}: {note:?} has no {word:?}", case.file);
        }
    }
}

#[test]
fn exif_orientation_can_be_left_alone() {
    let plain = open(&pictures().join("rgb.png"));
    let options = DecodeOptions::default().exif(false);
    let stored = Picture::open(&pictures().join("orientation_6.png"), &options).expect("a png");
    assert_eq!(stored.rgb, plain.rgb);
    assert_eq!(stored.notes, ["not turned right as the EXIF orientation says"]);
}

#[test]
fn sixteen_bits_keep_their_high_byte() {
    let samples: Vec<u16> = (0..2 * 3 * 3).map(|i| i * 3671).collect();
    let deep = image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(3, 2, samples.clone()).expect("3 x 2");
    let mut bytes = std::io::Cursor::new(Vec::new());
    deep.write_to(&mut bytes, image::ImageFormat::Png).expect("a png in memory");
    let picture = Picture::from_bytes(bytes.get_ref(), &DecodeOptions::default()).expect("a 16-bit png");
    let high: Vec<u8> = samples.iter().map(|sample| (sample >> 8) as u8).collect();
    assert_eq!(picture.rgb, high);
    assert!(picture.notes[0].contains("16 bits"), "{:?}", picture.notes);
}

#[test]
fn floating_point_is_cut_to_what_can_be_shown() {
    let samples: Vec<f32> = vec![0.0, 0.5, 1.0, -3.0, 7.0, 0.25];
    let deep = image::ImageBuffer::<image::Rgb<f32>, _>::from_raw(2, 1, samples).expect("2 x 1");
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::DynamicImage::ImageRgb32F(deep).write_to(&mut bytes, image::ImageFormat::Tiff).expect("a tiff");
    let picture = Picture::from_bytes(bytes.get_ref(), &DecodeOptions::default()).expect("a tiff of floats");
    assert_eq!(picture.rgb, [0, 128, 255, 0, 255, 64]);
    assert!(picture.notes[0].starts_with("floating point"), "{:?}", picture.notes);
}

/// A tiff file of two grey pixels: uncompressed, of so many bits, with these tags more.
fn grey_tiff(bits: u16, samples: &[u8], more: &[(u16, u16)]) -> Vec<u8> {
    let length = samples.len() as u16;
    let tags: Vec<(u16, u16)> =
        [(256, 2), (257, 1), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, length)]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
    let mut file = [b"II*\0", &(8 + u32::from(length)).to_le_bytes()[..], samples].concat();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        // A short, one of them.
        file.extend([&tag.to_le_bytes()[..], &[3, 0, 1, 0, 0, 0], &value.to_le_bytes(), &[0, 0]].concat());
    }
    file.extend([0; 4]);
    file
}

#[test]
fn grey_floating_point_is_read_as_that_of_rgb() {
    let halves = [half::f16::from_f32(0.5), half::f16::from_f32(-3.0)].map(half::f16::to_le_bytes).concat();
    let singles = [0.5_f32, -3.0].map(f32::to_le_bytes).concat();
    let doubles = [0.5_f64, -3.0].map(f64::to_le_bytes).concat();
    for (bits, samples) in [(16, halves), (32, singles.clone()), (64, doubles)] {
        let file = grey_tiff(bits, &samples, &[(339, 3)]);
        let picture = Picture::from_bytes(&file, &DecodeOptions::default()).expect("a tiff of floats");
        assert_eq!((picture.width, picture.height, &picture.rgb[..]), (2, 1, &[128, 128, 128, 0, 0, 0][..]));
        let notes = [picture.notes[0].as_str(), &picture.notes[1]];
        assert!(notes[0].starts_with("floating point") && notes[1].starts_with("grey"), "{notes:?}");
        let cut_off = Picture::from_bytes(&file[..file.len() - 20], &DecodeOptions::default());
        assert!(cut_off.expect_err("half a list of tags").to_string().contains("damaged or cut off"));
    }
    // Turned right, as any other picture.
    let turned = grey_tiff(32, &singles, &[(274, 6), (339, 3)]);
    let picture = Picture::from_bytes(&turned, &DecodeOptions::default()).expect("a tiff of floats");
    assert_eq!((picture.width, picture.height), (1, 2));
    let small = DecodeOptions::default().max_pixels(1);
    let refused = Picture::from_bytes(&turned, &small).expect_err("two pixels").to_string();
    assert!(refused.contains("more than the limit of 1"), "{refused}");
    let whole = Picture::from_bytes(&grey_tiff(32, &singles, &[]), &DecodeOptions::default());
    let refused = whole.expect_err("32-bit whole numbers").to_string();
    assert!(refused.contains("whole numbers of 32 bits") && refused.contains("8 or 16 bits"), "{refused}");
}

#[test]
fn a_tiff_with_a_palette_is_refused_with_what_to_do() {
    let refused = Picture::open(&pictures().join("palette.tif"), &DecodeOptions::default());
    let message = refused.expect_err("the decoder knows no palettes").to_string();
    assert!(message.contains("RGBPalette") && message.ends_with("convert it to png"), "{message}");
}

#[test]
fn the_content_decides_not_the_name() {
    let bytes = std::fs::read(pictures().join("colour.jpg")).expect("a jpeg");
    let named_png = std::env::temp_dir().join(format!("sam3i-{}-really-a-jpeg.png", std::process::id()));
    std::fs::write(&named_png, &bytes).expect("a temporary file");
    let picture = Picture::open(&named_png, &DecodeOptions::default());
    std::fs::write(&named_png, "hello, I am text\n").expect("a temporary file");
    let text = Picture::open(&named_png, &DecodeOptions::default());
    std::fs::remove_file(&named_png).expect("the temporary file");
    assert_eq!(picture.expect("a jpeg").rgb, open(&pictures().join("colour.jpg")).rgb);
    let message = text.expect_err("text is no picture").to_string();
    assert!(message.contains("the file is text; it starts with \"hello, I am text\""), "{message}");
    assert!(message.contains("really-a-jpeg.png"), "{message}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Picture::open(Path::new("no/such.png"), &DecodeOptions::default()).expect_err("no such file");
    assert!(error.to_string().contains("no/such.png"), "{error}");
}

#[test]
fn cut_off_files_are_errors_at_every_length() {
    for file in [
        "rgb.png",
        "colour.jpg",
        "progressive.jpg",
        "orientation_6.jpg",
        "lossless.webp",
        "lossy.webp",
        "rgb.bmp",
        "rgb.tif",
        "lzw.tif",
    ] {
        let bytes = std::fs::read(pictures().join(file)).expect("a picture");
        // The last 12 bytes of a png hold no pixels, and the checksum before them is not needed for any either.
        let needed = if file.ends_with(".png") { bytes.len() - 16 } else { bytes.len() };
        for end in 0..needed {
            let read = Picture::from_bytes(&bytes[..end], &DecodeOptions::default());
            assert!(read.is_err(), "{file}: {end} of {} bytes were enough", bytes.len());
        }
    }
}

/// A png header that claims `width` x `height` pixels, with nothing behind it.
fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let crc = !chunk.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    let end = [0, 0, 0, 0, b'I', b'D', b'A', b'T', 0x35, 0xaf, 0x06, 0x1e];
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &chunk, &crc.to_be_bytes(), &end].concat()
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let error = Picture::from_bytes(&png_that_claims(60_000, 60_000), &DecodeOptions::default());
    let message = error.expect_err("3.6 gigapixels").to_string();
    assert!(message.contains("60000 x 60000") && message.contains("limit"), "{message}");
    let bytes = std::fs::read(pictures().join("noise.png")).expect("a png");
    let small = DecodeOptions::default().max_pixels(45 * 61 - 1);
    assert!(Picture::from_bytes(&bytes, &small).is_err());
    let tight = DecodeOptions::default().max_memory(9000);
    let message = Picture::from_bytes(&bytes, &tight).expect_err("9000 bytes").to_string();
    assert!(message.contains("9000"), "{message}");
}

#[test]
fn pillow_mode_is_pillows_resize() {
    let noise = open(&pictures().join("noise.png"));
    for (width, height) in [(32, 32), (45, 20), (20, 61), (64, 70), (40, 30), (12, 60), (90, 25)] {
        let expected = open(&pictures().join(format!("noise.pillow.{width}x{height}.png")));
        let ours = resize(&noise.view(), width, height, ResizeMode::Pillow).expect("a size");
        assert_eq!(ours.rgb, expected.rgb, "{width} x {height}");
    }
}

#[derive(Deserialize)]
struct Manifest {
    config: Sizes,
    images: Vec<Image>,
    tensors: std::collections::HashMap<String, Stored>,
}

#[derive(Deserialize)]
struct Sizes {
    image_size: usize,
}

#[derive(Deserialize)]
struct Image {
    id: String,
    file: PathBuf,
}

#[derive(Deserialize)]
struct Stored {
    stride: Option<usize>,
}

/// The recorded numbers of a tensor, whatever type they were stored in.
fn values(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    match tensor.dtype() {
        Dtype::U8 => tensor.data().iter().map(|&byte| f32::from(byte)).collect(),
        Dtype::F32 => {
            let words = tensor.data().as_chunks().0;
            words.iter().map(|&word| f32::from_le_bytes(word)).collect()
        }
        other => panic!("{name} is {other:?}"),
    }
}

/// The values a recording of `[3, h, w]` holds: every `stride`th.
fn as_recorded<T: Copy>(pixels_hwc: &[T], size: usize, stride: usize) -> Vec<T> {
    let chw = (0..3 * size * size).map(|i| pixels_hwc[i % (size * size) * 3 + i / (size * size)]);
    chw.step_by(stride).collect()
}

#[test]
fn recorded_pictures_are_resized_and_normalised_exactly() {
    let Some(dir) = goldens_dir() else { return };
    for name in ["micro", "tiny_a", "tiny_b", "full"] {
        let manifest = std::fs::read(dir.join(format!("{name}.json"))).expect("a manifest");
        let manifest: Manifest = serde_json::from_slice(&manifest).expect("a manifest");
        let bytes = std::fs::read(dir.join(format!("{name}.safetensors"))).expect("recorded tensors");
        let tensors = SafeTensors::deserialize(&bytes).expect("recorded tensors");
        for image in &manifest.images {
            let size = manifest.config.image_size;
            let picture = open(&dir.join(&image.file));
            assert!(picture.notes.is_empty(), "{:?}", picture.notes);
            let resized = resize(&picture.view(), size, size, ResizeMode::Exact8).expect("the model's size");
            let stride = |tensor: &str| manifest.tensors[tensor].stride.unwrap_or(1);
            let key = format!("{}/image.resized_u8", image.id);
            let ours: Vec<f32> =
                as_recorded(&resized.rgb, size, stride(&key)).into_iter().map(f32::from).collect();
            assert!(ours == values(&tensors, &key), "{key} of {name}");
            let key = format!("{}/image.pixel_values", image.id);
            let ours = as_recorded(&normalise(&resized.view()), size, stride(&key));
            assert!(ours == values(&tensors, &key), "{key} of {name}");
        }
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(vec!["rgb.png", "colour.jpg", "cmyk.jpg", "progressive.jpg", "lossy.webp",
            "lossless.webp", "orientation_6.jpg", "rgb.bmp", "palette.bmp", "rgb.tif", "lzw.tif", "deflate.tif",
            "packbits.tif", "jpeg.tif", "bilevel.tif", "cmyk.tif", "pages.tif"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(pictures().join(file)).expect("a picture");
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let options = DecodeOptions::default().max_pixels(1 << 20).max_memory(64 << 20);
        if let Ok(picture) = Picture::from_bytes(&bytes, &options) {
            prop_assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height);
        }
    }

    #[test]
    fn any_size_can_be_resized_to_any_other(
        (width, height) in (1usize..40, 1usize..40), (to_width, to_height) in (1usize..80, 1usize..80), seed in any::<u8>(),
    ) {
        let rgb: Vec<u8> = (0..3 * width * height).map(|i| (i * 97) as u8 ^ seed).collect();
        let view = ImageView::new(&rgb, width, height, 3 * width).expect("a picture");
        for mode in [ResizeMode::Exact8, ResizeMode::Pillow, ResizeMode::Float] {
            let out = resize(&view, to_width, to_height, mode).expect("a size");
            prop_assert_eq!(out.rgb.len(), 3 * to_width * to_height);
        }
    }
}
