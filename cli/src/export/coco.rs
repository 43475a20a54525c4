//! A COCO data set across pictures: `annotations.coco.json`, written whole when the run ends.
//!
//! Ids count from 1; a category a label. Masks are compressed run lengths, which pycocotools reads and which are exact, or
//! polygons for programs that know nothing else: a list a piece, holes joined to it along lines that enclose nothing. What
//! was found so far waits in two temporary files, not in memory.

use super::shapes::score;
use crate::output::{Temporary, create_temporary};
use crate::report::Report;
use anyhow::{Context, Result};
use sam3i::mask::{Polygon, Rle, polygon::joined};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How masks are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Masks {
    RunLengths,
    /// With this tolerance, in pixels.
    Polygons(f64),
}

/// A data set that is being written.
pub struct DataSet {
    path: PathBuf,
    masks: Masks,
    categories: Vec<String>,
    /// The file up to the list of annotations.
    head: Part,
    annotations: Part,
    /// How many pictures and annotations there are.
    counts: [usize; 2],
}

/// A temporary file.
struct Part {
    name: Temporary,
    file: BufWriter<File>,
}

impl Part {
    fn beside(path: &Path) -> Result<Self> {
        let (name, file) = create_temporary(path)?;
        Ok(Self { name, file: BufWriter::new(file) })
    }

    /// Adds an entry of a list.
    fn add(&mut self, entry: &Value, first: bool) -> Result<()> {
        if !first {
            self.file.write_all(b",\n")?;
        }
        Ok(serde_json::to_writer(&mut self.file, entry)?)
    }
}

/// The file of a data set.
pub fn path(dir: &Path, masks: Masks) -> PathBuf {
    dir.join(if masks == Masks::RunLengths { "annotations.coco.json" } else { "polygons.coco.json" })
}

impl DataSet {
    /// Begins a data set with these categories.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(dir: &Path, masks: Masks, categories: &[String]) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let path = path(dir, masks);
        let mut head = Part::beside(&path).with_context(|| path.display().to_string())?;
        let annotations = Part::beside(&path)?;
        let numbered = categories.iter().enumerate();
        let listed: Vec<Value> = numbered.map(|(i, name)| json!({"id": i + 1, "name": name})).collect();
        let info = json!({"description": "made by sam3i", "version": env!("CARGO_PKG_VERSION")});
        write!(head.file, "{{\"info\":{info},\"licenses\":[],\"categories\":{},\"images\":[", json!(listed))?;
        Ok(Self { path, masks, categories: categories.to_vec(), head, annotations, counts: [0; 2] })
    }

    /// Adds a picture and what was found in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, report: &Report) -> Result<()> {
        let [images, _] = self.counts;
        let image = &report.image;
        let entry =
            json!({"id": images + 1, "file_name": image.file, "width": image.width, "height": image.height});
        self.head.add(&entry, images == 0)?;
        self.counts[0] += 1;
        for item in report.items() {
            let label = item.prompt.label();
            let category =
                self.categories.iter().position(|name| name == label).context("a label is no category")?;
            let rle = &item.instance.rle;
            let bounds = rle.decode()?.bounds();
            let entry = json!({
                "id": self.counts[1] + 1,
                "image_id": images + 1,
                "category_id": category + 1,
                "iscrowd": 0,
                "area": item.instance.area,
                "bbox": [bounds.x, bounds.y, bounds.width, bounds.height],
                "score": score(item.instance.score),
                "segmentation": segmentation(rle, self.masks)?,
            });
            self.annotations.add(&entry, self.counts[1] == 0)?;
            self.counts[1] += 1;
        }
        Ok(())
    }

    /// Puts it together; the file's path and how many pictures it has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(PathBuf, usize)> {
        let Self { path, head: Part { name, mut file }, annotations, counts, .. } = self;
        let mut annotations_file =
            annotations.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        annotations_file.seek(SeekFrom::Start(0))?;
        file.write_all(b"],\n\"annotations\":[")?;
        std::io::copy(&mut annotations_file, &mut file)?;
        file.write_all(b"]}\n")?;
        file.flush()?;
        drop(file);
        name.rename(&path).with_context(|| path.display().to_string())?;
        Ok((path, counts[0]))
    }
}

fn segmentation(rle: &Rle, masks: Masks) -> Result<Value> {
    let Masks::Polygons(tolerance) = masks else { return Ok(json!(rle)) };
    let flat = |piece: Polygon| joined(&[piece]).into_iter().flatten().map(|value| value.round() as i64);
    Ok(rle.to_polygons(tolerance)?.into_iter().map(|piece| flat(piece).collect::<Vec<_>>()).collect())
}
