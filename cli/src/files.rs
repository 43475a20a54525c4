//! Where results go: the options, and the files of pictures.

use crate::export::coco::{self, DataSet, Masks};
use crate::export::{Format, Found, can_draw, mask_path, write_mask, yolo};
use crate::inputs::Input;
use crate::output::check_writable;
use crate::questions::Questions;
use crate::report::Report;
use crate::terminal::Messages;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Where files go when nothing else is said.
const DEFAULT_DIR: &str = "sam3i-out";
/// What is written when nothing else is said.
const DEFAULT_FORMATS: [Format; 3] = [Format::Overlay, Format::Masks, Format::Json];

/// The options.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Where files go [default: sam3i-out; with --json alone no files are written]
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Which files, separated by commas: overlay, masks, labels, union, cutout, json, coco, coco-polygons, yolo, labelme,
    /// geojson, svg, npz [default: overlay,masks,json]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', hide_possible_values = true)]
    format: Vec<Format>,
    /// How far polygons may be from the masks, in pixels; 0 follows the edges of pixels
    #[arg(long, value_name = "PIXELS", value_parser = tolerance, default_value = "1")]
    tolerance: f64,
    /// Pass over pictures whose files are there, made by the same prompts; needs json among the formats
    #[arg(long)]
    skip_existing: bool,
    /// Write the model's intermediate tensors to DIR/NAME.safetensors: image/..., then p0/... and so on for each prompt,
    /// by the names of docs/parity.md; the published model's take a gigabyte a picture
    #[arg(long, value_name = "DIR")]
    pub dump_tensors: Option<PathBuf>,
    /// One JSON object a picture on stdout, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 if nothing is found in any picture
    #[arg(long)]
    pub fail_empty: bool,
    /// Only warnings and errors on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More on stderr: -v what was done to pictures and the time of every op, -vvv a line an op; RUST_LOG is heeded
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1000.0).contains(number));
    number.ok_or_else(|| "it must be a number of pixels from 0 to 1000, such as 1.5".to_owned())
}

impl OutputArgs {
    /// The output directory; none if the results go to stdout alone.
    pub fn dir(&self) -> Option<PathBuf> {
        let alone = self.json && self.out_dir.is_none() && self.format.is_empty();
        (!alone).then(|| self.out_dir.clone().unwrap_or_else(|| DEFAULT_DIR.into()))
    }

    /// The files to write; `None` if the results go to stdout alone.
    ///
    /// # Errors
    /// When finished pictures are to be passed over and could not be known.
    pub fn files(&self, inputs: &[Input], questions: &Questions) -> Result<Option<Files>> {
        let mut formats = if self.format.is_empty() { DEFAULT_FORMATS.to_vec() } else { self.format.clone() };
        formats.sort_by_key(|format| *format as usize);
        formats.dedup();
        let Some(dir) = self.dir() else {
            ensure!(
                !self.skip_existing,
                "--skip-existing: no files are written with --json alone; add --out-dir"
            );
            return Ok(None);
        };
        let knows = !self.skip_existing || formats.contains(&Format::Json);
        ensure!(knows, "--skip-existing looks into the json files: add json to --format");
        let inputs = inputs.iter().filter_map(|input| fs::canonicalize(&input.path).ok()).collect();
        Ok(Some(Files {
            layout: Layout { dir, formats, classes: questions.labels(), skip: self.skip_existing },
            tolerance: self.tolerance,
            inputs,
            sets: Vec::new(),
            yolo_classes: Vec::new(),
            lock: None,
        }))
    }
}

/// Which files there are.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    formats: Vec<Format>,
    classes: Vec<String>,
    /// Whether finished pictures are passed over.
    skip: bool,
}

/// What of a report says whose it is.
#[derive(Deserialize)]
struct Whose {
    image: WhoseImage,
}

#[derive(Deserialize)]
struct WhoseImage {
    file: String,
}

impl Layout {
    fn has(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// Refuses to write over the results of another picture that is called the same, of an earlier run or one beside this.
    ///
    /// A picture that is gone, or was named from another directory, cannot be told from this one; its results are replaced.
    ///
    /// # Errors
    /// That.
    pub fn check_free(&self, input: &Input) -> Result<()> {
        let json = Format::Json.path(&self.dir, &input.name).filter(|_| self.has(Format::Json));
        let there = json.as_ref().and_then(|json| fs::read(json).ok());
        let whose = there.and_then(|bytes| serde_json::from_slice::<Whose>(&bytes).ok());
        let (Some(json), Some(Whose { image: WhoseImage { file } })) = (json, whose) else { return Ok(()) };
        let others =
            matches!((fs::canonicalize(&file), fs::canonicalize(&input.path)), (Ok(a), Ok(b)) if a != b);
        ensure!(
            !others,
            "its results would replace those of {file}, which are called the same: name another directory with --out-dir, or \
             remove {}",
            json.display()
        );
        Ok(())
    }

    /// What was said about a picture before, if all of its files are there and answer the same prompts, and such pictures
    /// are to be passed over.
    pub fn finished(&self, input: &Input, questions: &Questions) -> Option<Report> {
        if !self.skip {
            return None;
        }
        if self.has(Format::Yolo) && !yolo::has_classes(&self.dir, &self.classes) {
            return None; // its numbers mean other classes
        }
        let json = Format::Json.path(&self.dir, &input.name)?;
        let report: Report = serde_json::from_slice(&fs::read(json).ok()?).ok()?;
        let asked = questions.of(input.file());
        let same = report.image.file == input.file().display().to_string()
            && report.prompts.len() == asked.len()
            && report.prompts.iter().zip(asked).all(|(prompt, query)| query.is_of(prompt));
        let mut files = self.formats.iter().filter_map(|format| format.path(&self.dir, &input.name));
        let mask_is_there = |item| mask_path(&self.dir, &input.name, &item).is_file();
        let masks = !self.has(Format::Masks) || report.items().all(mask_is_there);
        (same && masks && files.all(|file| file.is_file())).then_some(report)
    }
}

/// The files to write.
pub struct Files {
    layout: Layout,
    tolerance: f64,
    /// The pictures that are read, which are never written over.
    inputs: HashSet<PathBuf>,
    /// The data sets that are being written.
    sets: Vec<DataSet>,
    /// The names that YOLO's numbers stand for: those of earlier runs into the same directory too.
    yolo_classes: Vec<String>,
    /// Held as long as files for all pictures are written.
    lock: Option<File>,
}

impl Files {
    /// Makes the directory and checks that files can be made there, before the time is spent.
    ///
    /// # Errors
    /// When they cannot.
    pub fn prepare(&mut self) -> Result<()> {
        let Layout { dir, classes, .. } = &self.layout;
        let advice = || {
            format!("the output directory {} cannot be used; name another one with --out-dir", dir.display())
        };
        fs::create_dir_all(dir).with_context(advice)?;
        check_writable(dir).with_context(advice)?;
        if [Format::Coco, Format::CocoPolygons, Format::Yolo]
            .into_iter()
            .any(|format| self.layout.has(format))
        {
            self.lock = lock(dir)?;
        }
        if self.layout.has(Format::Yolo) {
            self.yolo_classes = yolo::write_classes(dir, classes)?;
        }
        let sets =
            [(Format::Coco, Masks::RunLengths), (Format::CocoPolygons, Masks::Polygons(self.tolerance))];
        for (format, masks) in sets {
            if self.layout.has(format) {
                self.free(&coco::path(dir, masks))?;
                self.sets.push(DataSet::begin(dir, masks, classes)?);
            }
        }
        Ok(())
    }

    /// Whether masks' logits are wanted.
    pub fn want_logits(&self) -> bool {
        self.layout.has(Format::Npz)
    }

    /// Which files there are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Says which labels the overlays' font lacks letters for.
    pub fn tell_numbered(&self, messages: Messages) {
        let classes = self.layout.classes.iter().filter(|_| self.layout.has(Format::Overlay));
        let numbered: Vec<String> =
            classes.filter(|label| !can_draw(label)).map(|label| format!("{label:?}")).collect();
        if !numbered.is_empty() {
            messages.say(&format!(
                "the font of overlays has no letters for {}: what is found so bears its number there (#1 is the first in the \
                 picture's JSON)",
                numbered.join(", ")
            ));
        }
    }

    /// Writes a picture's files, the json file last, and returns the one a person opens first.
    ///
    /// # Errors
    /// When a file cannot be written, or would replace one of the pictures that are read.
    pub fn write(&mut self, input: &Input, answered: &Answered) -> Result<Option<PathBuf>> {
        let Layout { dir, formats, .. } = &self.layout;
        let Answered { picture, report, logits } = *answered;
        let found = Found { picture, report, logits, tolerance: self.tolerance, classes: &self.yolo_classes };
        let mut written = None;
        for format in formats.iter().filter(|format| **format != Format::Json).chain(&[Format::Json]) {
            if !formats.contains(format) {
                continue;
            }
            if *format == Format::Masks {
                for item in report.items() {
                    let path = mask_path(dir, &input.name, &item);
                    write_mask(self.free(&path)?, &item)?;
                    written.get_or_insert(path);
                }
            }
            if let Some(path) = format.path(dir, &input.name) {
                format.write(self.free(&path)?, &found)?;
                written.get_or_insert(path);
            }
        }
        self.add(report)?;
        Ok(written)
    }

    /// Adds a picture to the files for all pictures.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, report: &Report) -> Result<()> {
        self.sets.iter_mut().try_for_each(|set| set.add(report))
    }

    /// Writes the files for all pictures.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(&mut self, messages: Messages) -> Result<()> {
        for set in std::mem::take(&mut self.sets) {
            let (path, pictures) = set.finish()?;
            messages.say(&format!("wrote {} ({pictures} pictures)", path.display()));
        }
        Ok(())
    }

    /// The path again, unless a picture that is read lies there.
    fn free<'a>(&self, path: &'a Path) -> Result<&'a Path> {
        let taken = fs::canonicalize(path).is_ok_and(|path| self.inputs.contains(&path));
        ensure!(!taken, "{} is one of the pictures: name another directory with --out-dir", path.display());
        Ok(path)
    }
}

/// Keeps other runs from writing files for all pictures into a directory meanwhile. Where the system cannot lock a directory,
/// nothing does.
///
/// # Errors
/// When another run is at it.
fn lock(dir: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(dir) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => bail!(
            "another run is writing a data set into {}: name another directory with --out-dir, or wait until it is done",
            dir.display()
        ),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// A picture and all that is known about it.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    pub picture: &'a sam3i::Picture,
    pub report: &'a Report,
    /// The logits of all masks, if they are wanted.
    pub logits: &'a [sam3i::MaskLogits],
}
