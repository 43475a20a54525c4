//! What was found, as other programs read it: a file a format.

mod canvas;
pub mod coco;
mod geojson;
mod labelme;
mod npz;
mod overlay;
mod palette;
mod pictures;
mod shapes;
mod svg;
mod tags;
pub mod yolo;

use crate::report::{InstanceReport, PromptReport, Report};
use anyhow::Result;
use clap::ValueEnum;
use sam3i::{MaskLogits, Picture};
use std::path::{Path, PathBuf};

/// A value of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The picture with what was found drawn over it.
    Overlay,
    /// A black and white picture an instance.
    #[value(alias = "mask")]
    Masks,
    /// A picture of 16-bit numbers: 0 for nothing, n for the n-th instance.
    Labels,
    /// One black and white picture of everything that was found.
    Union,
    /// The picture, transparent where nothing was found.
    Cutout,
    /// What `--json` prints.
    Json,
    /// A COCO data set across all pictures, masks as run lengths.
    Coco,
    /// The same with masks as polygons.
    CocoPolygons,
    /// Labels to train YOLO segmentation with.
    Yolo,
    /// A file for the labelling tool labelme.
    Labelme,
    /// Polygons with holes, in pixels.
    Geojson,
    /// A drawing of the outlines.
    Svg,
    /// Numpy arrays: the masks' logits.
    Npz,
}

/// What is known about a picture.
pub struct Found<'a> {
    pub picture: &'a Picture,
    pub report: &'a Report,
    /// The logits of each instance, in the report's order, if a format wants them.
    pub logits: &'a [MaskLogits],
    /// How far polygons may be from the masks, in pixels.
    pub tolerance: f64,
    /// The names that YOLO's numbers stand for.
    pub classes: &'a [String],
}

/// An instance with its place.
pub struct Item<'a> {
    /// Its number over all prompts of the picture, from 1.
    pub number: usize,
    pub prompt: &'a PromptReport,
    pub instance: &'a InstanceReport,
}

impl Report {
    /// All instances, in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let all = self
            .prompts
            .iter()
            .flat_map(|prompt| prompt.instances.iter().map(move |instance| (prompt, instance)));
        all.enumerate().map(|(i, (prompt, instance))| Item { number: i + 1, prompt, instance })
    }
}

impl PromptReport {
    /// What is found is called so.
    pub fn label(&self) -> &str {
        crate::query::label(self.text.as_deref())
    }
}

impl Format {
    /// Its file for the picture whose results are called `name`; none for those of an instance or of all pictures.
    pub fn path(self, dir: &Path, name: &Path) -> Option<PathBuf> {
        let file = |ending: &str| Some(with_ending(&dir.join(name), ending));
        match self {
            Self::Overlay => file("overlay.png"),
            Self::Labels => file("labels.png"),
            Self::Union => file("union.png"),
            Self::Cutout => file("cutout.png"),
            Self::Json => file("json"),
            Self::Yolo => Some(with_ending(&yolo::labels(dir).join(name), "txt")),
            Self::Labelme => Some(with_ending(&dir.join("labelme").join(name), "json")),
            Self::Geojson => file("geojson"),
            Self::Svg => file("svg"),
            Self::Npz => file("npz"),
            Self::Masks | Self::Coco | Self::CocoPolygons => None,
        }
    }

    /// Writes its file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(self, path: &Path, found: &Found) -> Result<()> {
        match self {
            Self::Overlay => pictures::overlay(path, found),
            Self::Labels => pictures::labels(path, found),
            Self::Union => pictures::union(path, found),
            Self::Cutout => pictures::cutout(path, found),
            Self::Json => crate::output::write_json(path, found.report),
            Self::Yolo => yolo::write(path, found),
            Self::Labelme => labelme::write(path, found),
            Self::Geojson => geojson::write(path, found),
            Self::Svg => svg::write(path, found),
            Self::Npz => npz::write(path, found),
            Self::Masks | Self::Coco | Self::CocoPolygons => Ok(()), // a file an instance, a file for all
        }
    }
}

/// The files that a picture of this name may get, in every format; masks of instances aside, whose names are like no others.
pub fn files_of(name: &Path) -> Vec<PathBuf> {
    Format::value_variants().iter().filter_map(|format| format.path(Path::new(""), name)).collect()
}

/// The files that belong to all pictures, in every format.
pub fn files_for_all() -> [PathBuf; 4] {
    let dir = Path::new("");
    let [classes, data] = yolo::files_for_all(dir);
    [coco::path(dir, coco::Masks::RunLengths), coco::path(dir, coco::Masks::Polygons(0.0)), classes, data]
}

/// The file of an instance's mask: `NAME.p<prompt>.<id>.png`.
pub fn mask_path(dir: &Path, name: &Path, item: &Item) -> PathBuf {
    with_ending(&dir.join(name), &format!("p{}.{}.png", item.prompt.index, item.instance.id))
}

pub use pictures::mask as write_mask;
pub use tags::can_draw;

/// The path with more at its end.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(".");
    text.push(ending);
    text.into()
}
