//! An annotation file that is being made.

use crate::output::write_json;
use crate::terminal::Messages;
use anyhow::{Context, Result};
use image::ImageReader;
use sam3i::mask::{Mask, Rle};
use sam3i::metrics::Instructions;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Samples and their targets; ids count from 1 (average precision has a peculiarity about 0).
#[derive(Debug, Default)]
pub struct Samples {
    images: Vec<Value>,
    annotations: Vec<Value>,
}

/// A picture of a sample.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Relative to the folder that `--image-root` will name.
    pub file_name: &'a str,
    pub width: usize,
    pub height: usize,
}

impl Samples {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Begins a sample; the targets that follow belong to it.
    pub fn sample(&mut self, shown: Shown, instructions: &Instructions) {
        let Shown { file_name, width, height } = shown;
        self.images.push(json!({
            "id": self.images.len() + 1,
            "file_name": file_name,
            "width": width,
            "height": height,
            "text_inst_input": instructions,
        }));
    }

    /// Adds a target as a COCO file has it: its mask, area, box and crowd flag stay as they are.
    pub fn target(&mut self, annotation: &Map<String, Value>) {
        let mut target = Map::new();
        for (key, value) in
            [("id", self.annotations.len() + 1), ("image_id", self.images.len()), ("category_id", 1)]
        {
            target.insert(key.to_owned(), value.into());
        }
        for key in ["iscrowd", "area", "bbox", "segmentation"] {
            if let Some(value) = annotation.get(key) {
                target.insert(key.to_owned(), value.clone());
            }
        }
        self.annotations.push(target.into());
    }

    /// Adds a target from its mask.
    ///
    /// # Errors
    /// When the mask is too large.
    pub fn mask(&mut self, mask: &Mask) -> Result<()> {
        let (bounds, rle): (_, Rle) = (mask.bounds(), mask.to_rle()?);
        let fields = json!({
            "iscrowd": 0,
            "area": mask.area(),
            "bbox": [bounds.x, bounds.y, bounds.width, bounds.height],
            "segmentation": rle,
        });
        self.target(fields.as_object().context("an object")?);
        Ok(())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(self, path: &Path, messages: Messages) -> Result<()> {
        let Self { images, annotations } = self;
        let (samples, targets) = (images.len(), annotations.len());
        let categories = json!([{"id": 1, "name": "object"}]);
        write_json(path, &json!({"images": images, "annotations": annotations, "categories": categories}))?;
        messages.say(&format!("wrote {} ({samples} samples, {targets} targets)", path.display()));
        Ok(())
    }
}

/// Reads a JSON file.
///
/// # Errors
/// When it cannot be read, or has another form.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).with_context(name)?;
    serde_json::from_slice(&bytes).with_context(name)
}

/// Width and height of a picture file, as its pixels are stored.
///
/// # Errors
/// When it is no picture.
pub fn size_of(path: &Path) -> Result<[usize; 2]> {
    let read = || anyhow::Ok(open_by_content(path)?.into_dimensions()?);
    let (width, height) = read().with_context(|| path.display().to_string())?;
    Ok([width as usize, height as usize])
}

/// A picture file, of the kind its content says.
///
/// # Errors
/// When it cannot be read.
pub fn open_by_content(path: &Path) -> Result<ImageReader<BufReader<File>>> {
    Ok(ImageReader::open(path)?.with_guessed_format()?)
}
