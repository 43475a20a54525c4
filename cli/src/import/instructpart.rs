//! InstructPart: a split has `images`, `masks` and `data_*.json`, a list of `{image_path, part_list: [{object, part,
//! instruction}]}`. A part's picture and mask are called `NAME-OBJECT-PART`, with underscores for spaces. Of its six
//! instructions the first two (by a person, rewritten) are complex, the next two (sentences about the part of the object)
//! simple, the fifth (its name) a concept.

use super::Output;
use super::samples::{Samples, Shown, open_by_content, read_json};
use anyhow::{Context, Result, bail, ensure};
use sam3i::mask::Mask;
use sam3i::metrics::Instructions;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What pictures and masks end in.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Arguments of `sam3i import instructpart`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of a split; `DIR/images` is what `--image-root` names later
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Deserialize)]
struct Entry {
    image_path: String,
    part_list: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    object: String,
    part: String,
    instruction: Vec<String>,
}

pub(super) fn read(args: &Args) -> Result<Samples> {
    let entries: Vec<Entry> = read_json(&list_of(&args.dir)?)?;
    let mut samples = Samples::default();
    for Entry { image_path, part_list } in entries {
        let base = Path::new(&image_path).file_stem().context("image_path names no file")?.to_string_lossy();
        for Part { object, part, instruction } in part_list {
            let name = format!("{base}-{}-{}", object.replace(' ', "_"), part.replace(' ', "_"));
            let picture = find(&args.dir.join("images"), &name)?;
            let mask = read_mask(&find(&args.dir.join("masks"), &name)?)?;
            let file_name = picture.file_name().context("a file has a name")?.to_string_lossy();
            let shown = Shown { file_name: &file_name, width: mask.width, height: mask.height };
            samples.sample(shown, &by_level(&instruction));
            samples.mask(&mask)?;
        }
    }
    Ok(samples)
}

/// The only `data*.json` of a folder.
fn list_of(dir: &Path) -> Result<PathBuf> {
    let name = || dir.display().to_string();
    let entries: std::io::Result<Vec<_>> = fs::read_dir(dir).with_context(name)?.collect();
    let mut lists: Vec<PathBuf> = entries.with_context(name)?.into_iter().map(|entry| entry.path()).collect();
    let is_list = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("data") && name.ends_with(".json")
    };
    lists.retain(is_list);
    ensure!(lists.len() == 1, "{}: one file data_*.json was expected, not {}", name(), lists.len());
    Ok(lists.remove(0))
}

fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    for ending in ENDINGS {
        let path = dir.join(format!("{name}.{ending}"));
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{}: there is no {name}.png or .jpg", dir.display())
}

/// Whatever is at least half bright is set, so that a mask that was stored as jpeg is read too; a mask of small numbers is
/// set where it is not 0.
fn read_mask(path: &Path) -> Result<Mask> {
    let read = || anyhow::Ok(open_by_content(path)?.decode()?);
    let grey = read().with_context(|| path.display().to_string())?.into_luma8();
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let brightest = grey.iter().copied().max().unwrap_or(0);
    let least = if brightest > 127 { 128 } else { 1 };
    Ok(Mask::new(width, height, grey.into_raw().into_iter().map(|value| u8::from(value >= least)).collect())?)
}

fn by_level(instruction: &[String]) -> Instructions {
    let part = |from: usize, to: usize| {
        instruction.get(from..to.min(instruction.len())).unwrap_or_default().to_vec()
    };
    Instructions { complex_query: part(0, 2), simple_query: part(2, 4), concept: part(4, 5) }
}
