//! Where results go: the options, and the files of a picture.

use crate::inputs::Input;
use crate::output::{Names, Report, check_writable, write_json, write_mask, write_picture};
use crate::overlay::{self, Item};
use crate::prompts::Query;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use sam3i::{Instance, Picture, Segmentation};
use std::collections::{HashMap, HashSet};
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
    /// Which files, separated by commas: overlay (STEM.overlay.png), masks (STEM.pPROMPT.ID.png), json (STEM.json)
    /// [default: all three]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', hide_possible_values = true)]
    format: Vec<Format>,
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

/// A value of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The picture with what was found drawn over it.
    Overlay,
    /// A black and white picture an instance.
    #[value(alias = "mask")]
    Masks,
    /// What `--json` prints.
    Json,
}

/// The files to write.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    formats: Vec<Format>,
    /// The pictures that are read, which are never written over.
    inputs: HashSet<PathBuf>,
}

impl OutputArgs {
    /// The files to write; `None` if the results go to stdout alone.
    ///
    /// # Errors
    /// When two pictures would write the same files.
    pub fn files<'a>(&self, inputs: impl Iterator<Item = Input<'a>> + Clone) -> Result<Option<Files>> {
        if self.json && self.out_dir.is_none() && self.format.is_empty() {
            return Ok(None);
        }
        let dir = self.out_dir.clone().unwrap_or_else(|| DEFAULT_DIR.into());
        let formats = if self.format.is_empty() { DEFAULT_FORMATS.to_vec() } else { self.format.clone() };
        check_names(&dir, inputs.clone())?;
        let inputs = inputs.filter_map(|input| fs::canonicalize(input.0).ok()).collect();
        Ok(Some(Files { dir, formats, inputs }))
    }
}

/// Files are named after pictures without their directory and extension; two pictures must not share such a name.
fn check_names<'a>(dir: &Path, inputs: impl Iterator<Item = Input<'a>>) -> Result<()> {
    let mut taken: HashMap<PathBuf, Input> = HashMap::new();
    for input in inputs {
        let mut file = Names::new(dir, input.0).json();
        if cfg!(any(windows, target_os = "macos")) {
            file = file.to_string_lossy().to_lowercase().into(); // these file systems don't tell cases apart
        }
        if let Some(other) = taken.insert(file.clone(), input) {
            anyhow::bail!(
                "{} and {} would both write {}: run them one after the other with different --out-dir, or rename one",
                other.name(),
                input.name(),
                file.display()
            );
        }
    }
    Ok(())
}

impl Files {
    /// Makes the directory and checks that files can be made there, before the time is spent.
    ///
    /// # Errors
    /// When they cannot.
    pub fn prepare(&self) -> Result<()> {
        let dir = self.dir.display();
        let advice = || format!("the output directory {dir} cannot be used; name another one with --out-dir");
        fs::create_dir_all(&self.dir).with_context(advice)?;
        check_writable(&self.dir).with_context(advice)
    }

    /// Writes a picture's files, and returns the one a person opens first.
    ///
    /// # Errors
    /// When a file cannot be written, or would replace one of the pictures that are read.
    pub fn write(
        &self,
        input: Input,
        picture: &Picture,
        queries: &[Query],
        answers: &[Segmentation],
        report: &Report,
    ) -> Result<Option<PathBuf>> {
        let names = Names::new(&self.dir, input.0);
        let mut written = Vec::new();
        if self.formats.contains(&Format::Overlay) {
            let drawn = draw(picture, queries, answers)?;
            write_picture(self.free(&names.overlay())?, &drawn)?;
            written.push(names.overlay());
        }
        if self.formats.contains(&Format::Masks) {
            for (prompt, id, instance) in numbered(answers) {
                write_mask(self.free(&names.mask(prompt, id))?, &instance.mask()?)?;
                written.push(names.mask(prompt, id));
            }
        }
        if self.formats.contains(&Format::Json) {
            write_json(self.free(&names.json())?, report)?;
            written.push(names.json());
        }
        Ok(written.into_iter().next())
    }

    /// The path again, unless a picture that is read lies there.
    fn free<'a>(&self, path: &'a Path) -> Result<&'a Path> {
        let taken = fs::canonicalize(path).is_ok_and(|path| self.inputs.contains(&path));
        ensure!(!taken, "{} is one of the pictures: name another directory with --out-dir", path.display());
        Ok(path)
    }
}

/// All instances with the place of their prompt, and their own among the prompt's.
fn numbered(answers: &[Segmentation]) -> impl Iterator<Item = (usize, usize, &Instance)> {
    answers.iter().enumerate().flat_map(|(prompt, answer)| {
        answer.instances.iter().enumerate().map(move |(id, instance)| (prompt, id, instance))
    })
}

/// The picture with every prompt's instances, each in a colour of its own.
fn draw(picture: &Picture, queries: &[Query], answers: &[Segmentation]) -> Result<Picture> {
    let items: Vec<Item> = numbered(answers)
        .enumerate()
        .map(|(colour, (prompt, _, instance))| Item {
            mask: &instance.rle,
            box_xyxy: instance.box_xyxy,
            score: instance.score,
            label: queries[prompt].label(),
            colour,
        })
        .collect();
    overlay::render(picture, &items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_the_same_name_are_told() {
        let check = |paths: &[&str]| {
            let inputs = paths.iter().map(|path| Input(Path::new(path)));
            check_names(Path::new("out"), inputs).map_err(|error| error.to_string())
        };
        assert!(check(&["a/x.png", "a/y.png", "-"]).is_ok());
        for twice in [["a/x.png", "b/x.png"], ["x.png", "x.jpg"], ["x.png", "x.png"], ["-", "stdin.png"]] {
            let message = check(&twice).expect_err("the same stem");
            assert!(message.contains(twice[1]) && message.contains("--out-dir"), "{message}");
        }
    }
}
