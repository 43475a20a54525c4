//! Where results go: the options, and the files of pictures.

use crate::export::coco::{self, DataSet, Masks};
use crate::export::{Format, Found, mask_path, write_mask, yolo};
use crate::inputs::Input;
use crate::output::check_writable;
use crate::questions::Questions;
use crate::report::Report;
use crate::terminal::Messages;
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::fs;
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
            layout: Layout { dir, formats, classes: questions.labels() },
            tolerance: self.tolerance,
            skip: self.skip_existing,
            inputs,
            sets: Vec::new(),
            yolo_classes: Vec::new(),
        }))
    }
}

/// Which files there are.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    formats: Vec<Format>,
    classes: Vec<String>,
}

impl Layout {
    fn has(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// What was said about a picture before, if all of its files are there and answer the same prompts.
    pub fn finished(&self, input: &Input, questions: &Questions) -> Option<Report> {
        if self.has(Format::Yolo) && !yolo::has_classes(&self.dir, &self.classes) {
            return None; // its numbers mean other classes
        }
        let json = Format::Json.path(&self.dir, &input.name)?;
        let report: Report = serde_json::from_slice(&fs::read(json).ok()?).ok()?;
        let asked = questions.of(&input.path);
        let same = report.image.file == input.path.display().to_string()
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
    skip: bool,
    /// The pictures that are read, which are never written over.
    inputs: HashSet<PathBuf>,
    /// The data sets that are being written.
    sets: Vec<DataSet>,
    /// The names that YOLO's numbers stand for: those of earlier runs into the same directory too.
    yolo_classes: Vec<String>,
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

    /// What finished pictures are known by, if they are to be passed over.
    pub fn skipping(&self) -> Option<Layout> {
        self.skip.then(|| self.layout.clone())
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

/// A picture and all that is known about it.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    pub picture: &'a sam3i::Picture,
    pub report: &'a Report,
    /// The logits of all masks, if they are wanted.
    pub logits: &'a [sam3i::MaskLogits],
}
