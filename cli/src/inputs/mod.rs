//! The pictures of a command: which files, what their results are called, and how they are read.

mod ends;
mod find;
mod names;
mod stream;

use anyhow::{Result, anyhow, ensure};
use clap::ValueEnum;
use sam3i::picture::{DecodeLimits, DecodeOptions};
use sam3i::{Picture, ResizeMode};
use std::path::{Path, PathBuf};
use stream::{Frame, Frames};

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Pictures")]
pub struct InputArgs {
    /// Pictures: png, jpeg, webp, bmp or tiff files, directories (with all below them), patterns such as 'photos/**/*.jpg',
    /// @LIST (a file with one of these a line); - reads standard input: one picture, or several one behind the other
    #[arg(value_name = "INPUT", required = true, help_heading = None::<&'static str>)]
    inputs: Vec<PathBuf>,
    /// The most pixels a picture may have; those that unpack to more are refused
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)), default_value_t = DecodeLimits::default().pixels)]
    max_pixels: u64,
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

/// What the arguments stand for.
#[derive(Debug, Default)]
pub struct Listed {
    /// The pictures, in the order they were given, each once.
    pub inputs: Vec<Input>,
    /// Arguments that stand for nothing.
    pub problems: Vec<String>,
}

impl Listed {
    /// Whether standard input is among them, so that nobody knows how many pictures will come.
    pub fn has_stream(&self) -> bool {
        self.inputs.iter().any(Input::is_stdin)
    }
}

/// A picture, or a pipe of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it is, as it was given or found; `-` for standard input.
    pub path: PathBuf,
    /// What its results are called: a path below the output directory, without extension.
    pub name: PathBuf,
}

impl InputArgs {
    /// The pictures; what lies in `output` is no picture of a directory.
    ///
    /// # Errors
    /// When standard input is asked for twice.
    pub fn list(&self, output: Option<&Path>) -> Result<Listed> {
        find::list(&self.inputs, output)
    }

    /// Whether an argument reads standard input by itself.
    pub fn reads_stdin(&self) -> bool {
        self.inputs.iter().any(|input| [Path::new("-"), Path::new("@-")].contains(&input.as_path()))
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
        // What a decoder keeps at a time, with the 8-bit copy: up to 11 bytes a pixel (16-bit RGBA).
        let memory = DecodeLimits::default().memory.max(11 * self.max_pixels + (1 << 20));
        DecodeOptions::default().exif(!self.no_exif).max_pixels(self.max_pixels).max_memory(memory)
    }
}

impl Input {
    /// What a person calls it.
    pub fn title(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// What results and prompt files call it: its path as it was given or found, and for standard input the name that its
    /// files have.
    pub fn file(&self) -> &Path {
        if self.is_stdin() { Path::new("stdin") } else { &self.path }
    }

    /// Whether it comes through a pipe.
    pub fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// What can be read from it: a file gives itself, a pipe its pictures as they come.
    pub fn sources(self, options: &DecodeOptions) -> Box<dyn Iterator<Item = Source> + Send> {
        if !self.is_stdin() {
            return Box::new(std::iter::once(Source { input: self, from: Ok(None) }));
        }
        let frames = Frames::new(std::io::stdin(), options.limits.memory);
        Box::new(frames.map(move |frame| match frame {
            Ok(frame) => {
                let input = frame.number.map_or_else(|| self.clone(), |number| self.frame(number));
                Source { input, from: Ok(Some(frame)) }
            }
            Err(problem) => Source { input: self.clone(), from: Err(problem) },
        }))
    }

    /// A picture of a pipe that has several, counted from 1.
    fn frame(&self, number: usize) -> Self {
        let name = format!("{}.{number:06}", self.name.display());
        Self { path: name.clone().into(), name: name.into() }
    }
}

/// A picture that can be read.
pub struct Source {
    /// What it is called.
    pub input: Input,
    /// The picture if it came through a pipe, or what is wrong with the pipe.
    from: Result<Option<Frame>, String>,
}

impl Source {
    /// Reads and decodes it.
    ///
    /// # Errors
    /// When it is no file, or no picture this program reads.
    pub fn read(self, options: &DecodeOptions) -> Result<Picture> {
        match self.from.map_err(|problem| anyhow!(problem))? {
            Some(frame) => {
                ensure!(!frame.bytes.is_empty(), "nothing came; does the program that fills the pipe work?");
                let mut picture = Picture::from_bytes(&frame.bytes, options).map_err(with_option)?;
                picture.notes.extend(frame.note);
                Ok(picture)
            }
            None => Picture::open(&self.input.path, options).map_err(with_option),
        }
    }
}

/// Names the option where a picture is refused for its size.
fn with_option(error: sam3i::Error) -> anyhow::Error {
    let text = error.to_string();
    if text.ends_with(RAISE) { anyhow!("{text} (--max-pixels)") } else { error.into() }
}

/// What the library says at the end of such a message.
const RAISE: &str = "raise the limit";

/// Whether a note about a picture's conversion is of the everyday kind: the picture still looks as it does elsewhere.
pub fn is_everyday(note: &str) -> bool {
    note.contains("EXIF") || note.starts_with("grey")
}
