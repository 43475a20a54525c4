//! Antialiased bilinear resize, in the arithmetics of the reference's two image paths.
//!
//! Along an axis from `I` to `O` pixels: `s = I/O`, `r = max(s, 1)`. Output `o` has its centre at `c = s(o + 0.5)` and
//! reads inputs `lo = max(trunc(c - r + 0.5), 0)` up to `hi = min(trunc(c + r + 0.5), I)` with the weights
//! `max(0, 1 - |i - c + 0.5| / r)`, divided by their sum. The axes are resized one after the other; an axis that keeps
//! its length is left out. Source: image-model spec, section 4.1, and the recorded numbers' note on the exact resize.
//!
//! The integer modes run rows in parallel. Down an axis the loop adds whole rows, which vectorises; along a row it
//! gathers `hi - lo` pixels for each output pixel.

use super::{ImageView, Picture};
use crate::{Error, Result};
use rayon::prelude::*;

/// Longest side that is made, in pixels.
const LONGEST_SIDE: usize = 1 << 16;
/// Fraction bits of Pillow's weights.
const PILLOW_BITS: u32 = 22;

/// How the weights are rounded, and which axis comes first. All are bilinear and antialiased; on photographs they
/// differ by at most two levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResizeMode {
    /// 16-bit weights, along the rows first, each pass rounded to bytes: the reference's interactive path on a CPU.
    #[default]
    Exact8,
    /// Pillow 13: 22-bit weights, each pass rounded to bytes; down the columns first when the height shrinks by more
    /// than twice the pixels the width does. The reference's batch script, where its published numbers come from.
    Pillow,
    /// f32 in both passes, one rounding (half to even) at the end: the reference's interactive path on a GPU.
    Float,
}

/// Resizes to `width` x `height`, whatever the proportions. A picture of that size is copied unchanged.
///
/// # Errors
/// [`Error::Picture`] when a side of the result is zero or above 65536.
pub fn resize(picture: &ImageView<'_>, width: usize, height: usize, mode: ResizeMode) -> Result<Picture> {
    let sides = 1..=LONGEST_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        let problem =
            format!("cannot be resized to {width} x {height}; a side must be 1 to {LONGEST_SIDE} pixels");
        return Err(Error::picture("the picture", problem));
    }
    let across = (picture.width() != width).then(|| Axis::new(picture.width(), width));
    let down = (picture.height() != height).then(|| Axis::new(picture.height(), height));
    let rgb = match mode {
        ResizeMode::Float => resize_float(picture, across, down),
        ResizeMode::Pillow => {
            resize_bytes(picture, across, down, pillow_goes_down_first(picture, width, height))
        }
        ResizeMode::Exact8 => {
            let fit = |axis: Option<Axis>| axis.map(Axis::with_16_bit_weights);
            resize_bytes(picture, fit(across), fit(down), false)
        }
    };
    Picture::new(width, height, rgb)
}

/// Pillow 13's rule for the order of the passes.
fn pillow_goes_down_first(picture: &ImageView<'_>, width: usize, height: usize) -> bool {
    let lost_rows = picture.height() as i64 - height as i64;
    let lost_columns = picture.width() as i64 - width as i64;
    lost_rows > 0 && lost_rows > 2 * lost_columns
}

/// Weights of one output pixel: those of inputs `start..start + weights.len()`.
struct Taps<T> {
    start: usize,
    weights: Vec<T>,
}

/// What each output along an axis reads.
struct Axis {
    exact: Vec<Taps<f64>>,
    bits: u32,
}

impl Axis {
    fn new(input: usize, output: usize) -> Self {
        let scale = input as f64 / output as f64;
        let exact = (0..output).map(|o| exact_taps(input, scale, o)).collect();
        Self { exact, bits: PILLOW_BITS }
    }

    /// As many fraction bits as leave the largest weight below 2^15.
    fn with_16_bit_weights(self) -> Self {
        let weights = self.exact.iter().flat_map(|taps| &taps.weights);
        let largest = weights.fold(0.0, |most: f64, &weight| most.max(weight));
        let fits = |bits: u32| ((0.5 + largest * f64::from(1u32 << (bits + 1))) as i64) < 1 << 15;
        let bits = (1..PILLOW_BITS).find(|&bits| !fits(bits)).unwrap_or(PILLOW_BITS);
        Self { bits, ..self }
    }

    fn integer_taps(&self) -> Vec<Taps<i32>> {
        let one = f64::from(1u32 << self.bits);
        self.map_weights(|weight| (0.5 + weight * one) as i32)
    }

    fn map_weights<T>(&self, weight: impl Fn(f64) -> T) -> Vec<Taps<T>> {
        let convert = |taps: &Taps<f64>| taps.weights.iter().map(|&w| weight(w)).collect();
        self.exact.iter().map(|taps| Taps { start: taps.start, weights: convert(taps) }).collect()
    }
}

fn exact_taps(input: usize, scale: f64, output: usize) -> Taps<f64> {
    let support = scale.max(1.0);
    let inverse = 1.0 / support;
    let centre = scale * (output as f64 + 0.5);
    let start = (centre - support + 0.5).max(0.0) as usize;
    let end = ((centre + support + 0.5) as usize).min(input);
    let triangle = |i: usize| (1.0 - ((i as f64 - centre + 0.5) * inverse).abs()).max(0.0);
    let mut weights: Vec<f64> = (start..end).map(triangle).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    Taps { start, weights }
}

/// Rows of bytes between two passes.
struct Rows {
    bytes: Vec<u8>,
    row: usize,
}

impl Rows {
    fn of(picture: &ImageView<'_>) -> Self {
        let mut bytes = Vec::with_capacity(3 * picture.width() * picture.height());
        (0..picture.height()).for_each(|y| bytes.extend_from_slice(picture.row(y)));
        Self { bytes, row: 3 * picture.width() }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.bytes[y * self.row..][..self.row]
    }
}

fn resize_bytes(
    picture: &ImageView<'_>,
    across: Option<Axis>,
    down: Option<Axis>,
    down_first: bool,
) -> Vec<u8> {
    let (width, height) = (picture.width(), picture.height());
    match (across, down) {
        (None, None) => Rows::of(picture).bytes,
        (Some(across), None) => across_bytes(height, |y| picture.row(y), &across).bytes,
        (None, Some(down)) => down_bytes(3 * width, |y| picture.row(y), &down).bytes,
        (Some(across), Some(down)) if down_first => {
            let rows = down_bytes(3 * width, |y| picture.row(y), &down);
            across_bytes(down.exact.len(), |y| rows.row(y), &across).bytes
        }
        (Some(across), Some(down)) => {
            let rows = across_bytes(height, |y| picture.row(y), &across);
            down_bytes(rows.row, |y| rows.row(y), &down).bytes
        }
    }
}

/// Resizes along the rows.
fn across_bytes<'r>(height: usize, source: impl Fn(usize) -> &'r [u8] + Sync, axis: &Axis) -> Rows {
    let taps = axis.integer_taps();
    let row = 3 * taps.len();
    let mut bytes = vec![0; row * height];
    bytes.par_chunks_mut(row).enumerate().for_each(|(y, out)| gather_row(source(y), &taps, axis.bits, out));
    Rows { bytes, row }
}

fn gather_row(source: &[u8], taps: &[Taps<i32>], bits: u32, out: &mut [u8]) {
    let half = 1i32 << (bits - 1);
    for (pixel, taps) in out.chunks_exact_mut(3).zip(taps) {
        let inputs = source[3 * taps.start..].chunks_exact(3);
        let mut sums = [half; 3];
        for (input, &weight) in inputs.zip(&taps.weights) {
            sums[0] += weight * i32::from(input[0]);
            sums[1] += weight * i32::from(input[1]);
            sums[2] += weight * i32::from(input[2]);
        }
        pixel.iter_mut().zip(sums).for_each(|(byte, sum)| *byte = to_byte(sum, bits));
    }
}

/// Resizes down the columns, rows of `row` bytes.
fn down_bytes<'r>(row: usize, source: impl Fn(usize) -> &'r [u8] + Sync, axis: &Axis) -> Rows {
    let taps = axis.integer_taps();
    let half = 1i32 << (axis.bits - 1);
    let mut bytes = vec![0; row * taps.len()];
    bytes.par_chunks_mut(row).zip(&taps).for_each_init(
        || vec![0i32; row],
        |sums, (out, taps)| {
            sums.fill(half);
            for (y, &weight) in (taps.start..).zip(&taps.weights) {
                sums.iter_mut().zip(source(y)).for_each(|(sum, &byte)| *sum += weight * i32::from(byte));
            }
            out.iter_mut().zip(&*sums).for_each(|(byte, &sum)| *byte = to_byte(sum, axis.bits));
        },
    );
    Rows { bytes, row }
}

fn to_byte(sum: i32, bits: u32) -> u8 {
    (sum >> bits).clamp(0, 255) as u8
}

fn resize_float(picture: &ImageView<'_>, across: Option<Axis>, down: Option<Axis>) -> Vec<u8> {
    let (mut row, height) = (3 * picture.width(), picture.height());
    let mut pixels: Vec<f32> = Rows::of(picture).bytes.into_iter().map(f32::from).collect();
    if let Some(across) = across {
        (pixels, row) = across_floats(&pixels, row, height, &across);
    }
    if let Some(down) = down {
        pixels = down_floats(&pixels, row, &down);
    }
    pixels.into_iter().map(|value| value.round_ties_even().clamp(0.0, 255.0) as u8).collect()
}

fn across_floats(pixels: &[f32], row: usize, height: usize, axis: &Axis) -> (Vec<f32>, usize) {
    let taps = axis.map_weights(|weight| weight as f32);
    let wide = 3 * taps.len();
    let mut out = vec![0.0; wide * height];
    out.par_chunks_mut(wide).zip(pixels.par_chunks(row)).for_each(|(out, source)| {
        for (pixel, taps) in out.chunks_exact_mut(3).zip(&taps) {
            for (input, &weight) in source[3 * taps.start..].chunks_exact(3).zip(&taps.weights) {
                pixel.iter_mut().zip(input).for_each(|(sum, &value)| *sum += weight * value);
            }
        }
    });
    (out, wide)
}

fn down_floats(pixels: &[f32], row: usize, axis: &Axis) -> Vec<f32> {
    let taps = axis.map_weights(|weight| weight as f32);
    let mut out = vec![0.0; row * taps.len()];
    out.par_chunks_mut(row).zip(&taps).for_each(|(out, taps)| {
        let sources = pixels[row * taps.start..].chunks_exact(row);
        for (source, &weight) in sources.zip(&taps.weights) {
            out.iter_mut().zip(source).for_each(|(sum, &value)| *sum += weight * value);
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [ResizeMode; 3] = [ResizeMode::Exact8, ResizeMode::Pillow, ResizeMode::Float];

    fn ramp(width: usize, height: usize) -> Picture {
        let rgb = (0..3 * width * height).map(|i| (i * 37 % 251) as u8).collect();
        Picture::new(width, height, rgb).expect("a ramp")
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        for mode in MODES {
            assert_eq!(resize(&ramp(7, 5).view(), 7, 5, mode).expect("7 x 5"), ramp(7, 5));
        }
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for (width, height) in [(1, 1), (3, 200), (640, 2), (33, 47)] {
            for value in [0, 1, 127, 254, 255] {
                let flat = Picture::new(40, 30, vec![value; 3600]).expect("one colour");
                for mode in MODES {
                    let out = resize(&flat.view(), width, height, mode).expect("a size");
                    let far = out.rgb.iter().any(|&byte| byte.abs_diff(value) > 1);
                    assert!(!far, "{mode:?} {width} x {height} of {value}");
                }
            }
        }
    }

    #[test]
    fn the_modes_differ_by_two_levels_at_most() {
        let source = ramp(61, 90);
        let exact = resize(&source.view(), 32, 32, ResizeMode::Exact8).expect("32 x 32");
        for mode in MODES {
            let other = resize(&source.view(), 32, 32, mode).expect("32 x 32");
            let most = exact.rgb.iter().zip(&other.rgb).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(most <= Some(2), "{mode:?}: {most:?}");
        }
    }

    #[test]
    fn a_gap_between_rows_is_not_read() {
        let source = ramp(9, 6);
        let mut gapped = vec![255; 40 * 6];
        for y in 0..6 {
            gapped[40 * y..][..27].copy_from_slice(source.view().row(y));
        }
        let view = ImageView::new(&gapped, 9, 6, 40).expect("gapped rows");
        for mode in MODES {
            let expected = resize(&source.view(), 4, 5, mode).expect("4 x 5");
            assert_eq!(resize(&view, 4, 5, mode).expect("4 x 5"), expected);
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (width, height) in [(0, 4), (4, 0), (1 << 17, 4)] {
            assert!(resize(&ramp(2, 2).view(), width, height, ResizeMode::Exact8).is_err());
        }
    }
}
