//! YOLO segmentation, as ultralytics reads it: `yolo/labels/NAME.txt`, a line an instance, the class and one ring in
//! fractions of the picture; `yolo/classes.txt` and `yolo/data.yaml` name the classes. Pictures belong in `yolo/images`.
//!
//! A line has one ring: pieces and holes are joined to it along lines that enclose nothing.

use super::Found;
use super::shapes::polygons;
use crate::output::write_whole;
use anyhow::{Context, Result};
use sam3i::mask::polygon::joined;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the label files are.
pub fn labels(dir: &Path) -> PathBuf {
    dir.join("yolo/labels")
}

fn classes(dir: &Path) -> PathBuf {
    dir.join("yolo/classes.txt")
}

pub(super) fn write(path: &Path, found: &Found) -> Result<()> {
    let (width, height) = (found.picture.width as f64, found.picture.height as f64);
    let mut text = String::new();
    for item in found.report.items() {
        let ring = joined(&polygons(found, &item)?);
        if ring.is_empty() {
            continue; // a mask without pixels
        }
        let class = found.classes.iter().position(|class| class == item.prompt.label());
        text += &class.context("every prompt has a class")?.to_string();
        for [x, y] in ring {
            text += &format!(" {:.6} {:.6}", x / width, y / height);
        }
        text += "\n";
    }
    write_whole(path, |file| Ok(file.write_all(text.as_bytes())?))
}

/// Whether label files that lie there have the classes of this run.
pub fn has_classes(dir: &Path, names: &[String]) -> bool {
    fs::read_to_string(classes(dir)).is_ok_and(|text| text == one_a_line(names))
}

/// Writes the files that name the classes.
///
/// # Errors
/// When they cannot be written.
pub fn write_classes(dir: &Path, names: &[String]) -> Result<()> {
    write_whole(&classes(dir), |file| Ok(file.write_all(one_a_line(names).as_bytes())?))?;
    write_whole(&dir.join("yolo/data.yaml"), |file| {
        writeln!(file, "# Put the pictures, or a link to them, beside this file as images/.")?;
        writeln!(file, "train: images\nval: images\nnames:")?;
        for (index, name) in names.iter().enumerate() {
            // A string of JSON is a string of YAML.
            writeln!(file, "  {index}: {}", serde_json::to_string(name)?)?;
        }
        Ok(())
    })
}

fn one_a_line(names: &[String]) -> String {
    names.iter().map(|name| name.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}
