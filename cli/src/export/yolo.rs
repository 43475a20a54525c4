//! YOLO segmentation, as ultralytics reads it: `yolo/labels/NAME.txt`, a line an instance, the class and one ring in
//! fractions of the picture; `yolo/classes.txt` and `yolo/data.yaml` name the classes. Pictures belong in `yolo/images`.
//!
//! Classes only ever grow: label files of earlier runs lie there and go by their numbers.
//!
//! A line has one ring: pieces and holes are joined to it along lines that enclose nothing.

use super::Found;
use super::shapes::polygons;
use crate::output::write_whole;
use anyhow::{Context, Result};
use sam3i::mask::polygon::joined;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the label files are.
pub fn labels(dir: &Path) -> PathBuf {
    dir.join("yolo/labels")
}

/// The files that name the classes.
pub fn files_for_all(dir: &Path) -> [PathBuf; 2] {
    [classes(dir), dir.join("yolo/data.yaml")]
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
        let name = one_line(item.prompt.label());
        let class = found.classes.iter().position(|class| *class == name);
        text += &class.context("every prompt has a class")?.to_string();
        for [x, y] in ring {
            text += &format!(" {:.6} {:.6}", x / width, y / height);
        }
        text += "\n";
    }
    write_whole(path, |file| Ok(file.write_all(text.as_bytes())?))
}

/// Whether the classes that lie there have those of this run among them.
pub fn has_classes(dir: &Path, names: &[String]) -> bool {
    read_classes(dir).is_ok_and(|there| names.iter().all(|name| there.contains(&one_line(name))))
}

/// Writes the files that name the classes: those that lie there with their numbers, then those of `names` that are new.
/// Returns all of them.
///
/// # Errors
/// When they cannot be read or written.
pub fn write_classes(dir: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut all = read_classes(dir).with_context(|| classes(dir).display().to_string())?;
    for name in names.iter().map(|name| one_line(name)) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let text: String = all.iter().map(|name| format!("{name}\n")).collect();
    write_whole(&classes(dir), |file| Ok(file.write_all(text.as_bytes())?))?;
    let [_, data] = files_for_all(dir);
    write_whole(&data, |file| {
        writeln!(file, "# Put the pictures, or a link to them, beside this file as images/.")?;
        writeln!(file, "train: images\nval: images\nnames:")?;
        for (index, name) in all.iter().enumerate() {
            // A string of JSON is a string of YAML.
            writeln!(file, "  {index}: {}", serde_json::to_string(name)?)?;
        }
        Ok(())
    })?;
    Ok(all)
}

/// The classes that lie there, a line each; none if there is no such file.
fn read_classes(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_to_string(classes(dir)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn one_line(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}
