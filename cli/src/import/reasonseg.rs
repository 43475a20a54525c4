//! ReasonSeg: `X.jpg` beside `X.json`, which has `shapes` (polygons labelled `target` or `ignore`; `flag` means nothing),
//! `text`, a list of instructions, and `is_sentence`. Every instruction becomes a sample: a sentence at the level complex, a
//! phrase at the level simple.
//!
//! Polygons are painted from the largest to the smallest, as the data set's own code does; what `ignore` covers last is not
//! part of the target. Annotation files cannot say "ignore", so that predicting it counts as wrong.

use super::Output;
use super::samples::{Samples, Shown, size_of};
use crate::terminal::Messages;
use anyhow::{Context, Result};
use sam3i::mask::Mask;
use sam3i::metrics::Instructions;
use sam3i::metrics::polygon::polygon_to_runs;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What pictures end in.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Characters 0x80 to 0x9f of Windows' code page 1252, in which some of the files are.
const CP1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Arguments of `sam3i import reasonseg`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of a split; it is also what `--image-root` names later
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Deserialize)]
struct File {
    shapes: Vec<Shape>,
    text: Vec<String>,
    is_sentence: bool,
}

#[derive(Deserialize)]
struct Shape {
    label: String,
    points: Vec<[f64; 2]>,
}

pub(super) fn read(args: &Args, messages: Messages) -> Result<Samples> {
    let name = || args.dir.display().to_string();
    let entries: std::io::Result<Vec<_>> = fs::read_dir(&args.dir).with_context(name)?.collect();
    let mut files: Vec<PathBuf> = entries.with_context(name)?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let mut samples = Samples::default();
    for path in files {
        let picture =
            ENDINGS.iter().map(|ending| path.with_extension(ending)).find(|picture| picture.is_file());
        let Some(picture) = picture else {
            messages.warn(&format!("{}: there is no picture beside it; passed over", path.display()));
            continue;
        };
        add(&mut samples, &path, &picture).with_context(|| path.display().to_string())?;
    }
    Ok(samples)
}

fn add(samples: &mut Samples, path: &Path, picture: &Path) -> Result<()> {
    let file: File = serde_json::from_str(&text_of(fs::read(path)?))?;
    let [width, height] = size_of(picture)?;
    let mask = painted(file.shapes, width, height)?;
    let file_name = picture.file_name().context("a file has a name")?.to_string_lossy();
    for text in file.text {
        let mut instructions = Instructions::default();
        let list =
            if file.is_sentence { &mut instructions.complex_query } else { &mut instructions.simple_query };
        list.push(text);
        samples.sample(Shown { file_name: &file_name, width, height }, &instructions);
        if mask.area() > 0 {
            samples.mask(&mask)?;
        }
    }
    Ok(())
}

/// UTF-8, or else code page 1252.
fn text_of(bytes: Vec<u8>) -> String {
    let other = |byte: u8| match byte {
        0x80..=0x9f => CP1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    };
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(other).collect())
}

/// The pixels of the target.
fn painted(shapes: Vec<Shape>, width: usize, height: usize) -> Result<Mask> {
    let mut layers: Vec<(usize, bool, Mask)> = Vec::new();
    for Shape { label, points } in shapes {
        let label = label.to_lowercase();
        if label == "flag" || points.len() < 3 {
            continue;
        }
        let flat: Vec<f64> = points.concat();
        let mask = polygon_to_runs(&flat, height, width)?.to_rle()?.decode()?;
        layers.push((mask.area(), !label.contains("ignore"), mask));
    }
    layers.sort_by_key(|(area, ..)| std::cmp::Reverse(*area));
    let mut bits = vec![0; width * height];
    for (_, target, mask) in layers {
        let covered = bits.iter_mut().zip(&mask.bits).filter(|(_, cover)| **cover != 0);
        covered.for_each(|(bit, _)| *bit = u8::from(target));
    }
    Ok(Mask::new(width, height, bits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_shapes_are_painted_over_larger_ones() {
        let square = |label: &str, from: f64, to: f64| Shape {
            label: label.to_owned(),
            points: vec![[from, from], [to, from], [to, to], [from, to]],
        };
        let shapes = vec![
            square("target", 4.0, 6.0),
            square("ignore", 3.0, 7.0),
            square("target", 1.0, 9.0),
            square("flag", 0.0, 10.0),
        ];
        let mask = painted(shapes, 10, 10).expect("squares");
        assert_eq!(mask.area(), 64 - 16 + 4);
        assert_eq!((mask.bits[33], mask.bits[44], mask.bits[11], mask.bits[0]), (0, 1, 1, 0));
    }

    #[test]
    fn old_text_is_read() {
        assert_eq!(text_of(b"the dog\x92s \xe9".to_vec()), "the dog’s é");
        assert_eq!(text_of("é’".as_bytes().to_vec()), "é’");
    }
}
