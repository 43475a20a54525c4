//! Pictures of what was found: overlay, masks, label map, union, cutout. All have the picture's size.

use super::overlay::{self, Item};
use super::tags::can_draw;
use super::{Found, Item as Instance};
use crate::output::write_png;
use anyhow::{Context, Result, ensure};
use image::ExtendedColorType;
use sam3i::mask::Mask;
use std::borrow::Cow;
use std::path::Path;

/// The picture with every prompt's instances, each in a colour of its own.
pub(super) fn overlay(path: &Path, found: &Found) -> Result<()> {
    let items = found.report.items().map(|Instance { number, prompt, instance }| Item {
        mask: &instance.rle,
        box_xyxy: instance.r#box,
        score: instance.score,
        label: drawn_label(prompt.label(), number),
        colour: number - 1,
    });
    let drawn = overlay::render(found.picture, &items.collect::<Vec<_>>())?;
    write_png(path, &drawn.rgb, size(found), ExtendedColorType::Rgb8)
}

/// What a tag calls an instance: what it was found by, or its number where the font lacks letters.
fn drawn_label(label: &str, number: usize) -> Cow<'_, str> {
    if can_draw(label) { label.into() } else { format!("#{number}").into() }
}

/// A mask: 255 where it is set, else 0.
///
/// # Errors
/// When it is malformed, or the file cannot be written.
pub fn mask(path: &Path, item: &Instance) -> Result<()> {
    let mask = item.instance.rle.decode()?;
    write_png(path, &black_and_white(&mask.bits), [mask.width, mask.height], ExtendedColorType::L8)
}

/// 16-bit numbers: 0 where there is nothing, else the number of the instance, from 1 over all prompts. Where masks overlap,
/// the best score has it (of equal ones the first).
pub(super) fn labels(path: &Path, found: &Found) -> Result<()> {
    let numbers = label_map(found)?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    write_png(path, &bytes, size(found), ExtendedColorType::L16)
}

fn label_map(found: &Found) -> Result<Vec<u16>> {
    let mut items: Vec<Instance> = found.report.items().collect();
    // The best is drawn last; the sort keeps the order of equals, so that the first of them is drawn last as well.
    items.reverse();
    items.sort_by(|a, b| a.instance.score.total_cmp(&b.instance.score));
    let mut numbers = vec![0; found.picture.width * found.picture.height];
    for Instance { number, instance, .. } in items {
        let number =
            u16::try_from(number).context("a label map has numbers up to 65535; ask for less at a time")?;
        let mask = of_size(found, instance.rle.decode()?)?;
        for (pixel, _) in numbers.iter_mut().zip(&mask.bits).filter(|(_, bit)| **bit != 0) {
            *pixel = number;
        }
    }
    Ok(numbers)
}

/// 255 where any mask is set, else 0.
pub(super) fn union(path: &Path, found: &Found) -> Result<()> {
    write_png(path, &black_and_white(&union_bits(found)?), size(found), ExtendedColorType::L8)
}

/// The picture's pixels where any mask is set; the others are black and transparent.
pub(super) fn cutout(path: &Path, found: &Found) -> Result<()> {
    let bits = union_bits(found)?;
    let pixels = found.picture.rgb.chunks_exact(3).zip(&bits);
    let rgba: Vec<u8> = pixels
        .flat_map(|(rgb, &bit)| if bit == 0 { [0; 4] } else { [rgb[0], rgb[1], rgb[2], 255] })
        .collect();
    write_png(path, &rgba, size(found), ExtendedColorType::Rgba8)
}

fn union_bits(found: &Found) -> Result<Vec<u8>> {
    let mut bits = vec![0; found.picture.width * found.picture.height];
    for item in found.report.items() {
        let mask = of_size(found, item.instance.rle.decode()?)?;
        bits.iter_mut().zip(&mask.bits).for_each(|(bit, more)| *bit |= more);
    }
    Ok(bits)
}

fn of_size(found: &Found, mask: Mask) -> Result<Mask> {
    let fits = [mask.width, mask.height] == size(found);
    ensure!(fits, "a mask of {} x {} pixels does not fit the picture", mask.width, mask.height);
    Ok(mask)
}

fn size(found: &Found) -> [usize; 2] {
    [found.picture.width, found.picture.height]
}

fn black_and_white(bits: &[u8]) -> Vec<u8> {
    bits.iter().map(|&bit| if bit == 0 { 0 } else { 255 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_numbered() {
        assert_eq!(drawn_label("the mug", 3), "the mug");
        assert_eq!(drawn_label("the 猫", 3), "#3");
    }
}
