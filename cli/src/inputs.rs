//! The pictures of a command: which files, and how they are read.

use anyhow::{Result, bail};
use clap::ValueEnum;
use sam3i::picture::DecodeOptions;
use sam3i::{Picture, ResizeMode};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Pictures")]
pub struct InputArgs {
    /// Pictures: png, jpeg or webp files; - reads one from standard input
    #[arg(value_name = "INPUT", required = true, help_heading = None::<&'static str>)]
    inputs: Vec<PathBuf>,
    /// Take the pixels as they are stored, not turned as the EXIF orientation says
    #[arg(long)]
    no_exif: bool,
    /// The arithmetic that resizes pictures: exact8, pillow or float
    #[arg(long, value_name = "MODE", value_enum, hide_possible_values = true, default_value = "exact8")]
    #[arg(
        help = "The arithmetic that resizes pictures: exact8 (as the published model's interactive use on a CPU), \
                  pillow (as its evaluation) or float (as on a GPU)"
    )]
    resize: Resize,
}

/// A value of `--resize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Resize {
    Exact8,
    Pillow,
    Float,
}

impl InputArgs {
    /// The pictures, in the order they were given.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> + Clone {
        self.inputs.iter().map(|path| Input(path))
    }

    /// How pictures are brought to the model's size.
    pub fn resize_mode(&self) -> ResizeMode {
        match self.resize {
            Resize::Exact8 => ResizeMode::Exact8,
            Resize::Pillow => ResizeMode::Pillow,
            Resize::Float => ResizeMode::Float,
        }
    }

    /// How picture files are read.
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions::default().exif(!self.no_exif)
    }
}

/// A picture that was named on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a Path);

impl Input<'_> {
    /// What a person calls it.
    pub fn name(self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.0.display().to_string() }
    }

    /// Whether it comes through a pipe.
    pub fn is_stdin(self) -> bool {
        self.0 == Path::new("-")
    }

    /// Reads and decodes it.
    ///
    /// # Errors
    /// When it is no file, or no picture this program reads.
    pub fn read(self, options: &DecodeOptions) -> Result<Picture> {
        if self.is_stdin() {
            let mut bytes = Vec::new();
            let most = options.limits.memory.saturating_add(1);
            std::io::stdin().lock().take(most).read_to_end(&mut bytes)?;
            return Ok(Picture::from_bytes(&bytes, options)?);
        }
        if self.0.is_dir() {
            let directory = self.0.display();
            bail!("{directory} is a directory: give the files in it, such as {directory}/*.jpg");
        }
        Ok(Picture::open(self.0, options)?)
    }
}

/// Whether a note about a picture's conversion is of the everyday kind: the picture still looks as it does elsewhere.
pub fn is_everyday(note: &str) -> bool {
    note.contains("EXIF") || note.starts_with("grey")
}
