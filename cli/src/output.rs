//! Files and JSON that the command writes. Their form is a contract: fields keep their names and order.

use anyhow::{Context, Result};
use image::ExtendedColorType;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageError};
use sam3i::Model;
use sam3i::mask::{Mask, Rle};
use sam3i::picture::Picture;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Version of [`Report`]'s form.
pub const SCHEMA: u32 = 1;

/// Everything about one picture: a line of `--json`, or `<stem>.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The picture.
    pub image: ImageReport,
    /// The model.
    pub model: ModelReport,
    /// The device that computed.
    pub device: String,
    /// The type that was computed in.
    pub dtype: String,
    /// How long each stage took.
    pub timings_ms: Timings,
    /// One for each prompt, in the order they were given.
    pub prompts: Vec<PromptReport>,
}

/// The picture of a report.
#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    /// Its file, as it was given.
    pub file: String,
    /// Pixels across, after the EXIF orientation.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
}

/// The model of a report.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    /// Its configuration's name.
    pub name: String,
    /// Its number of parameters.
    pub params: u64,
}

impl ModelReport {
    /// Of a loaded model.
    pub fn new(model: &Model) -> Self {
        Self { name: model.config().name.clone(), params: model.checkpoint().param_count() as u64 }
    }
}

/// Milliseconds of the stages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timings {
    /// Reading the weights; 0 for all pictures of a batch but the first.
    pub load: f64,
    /// Decoding and resizing the picture.
    pub preprocess: f64,
    /// The image trunk.
    pub image: f64,
    /// The text encoder.
    pub text: f64,
    /// Fusion, decoder and heads.
    pub grounding: f64,
    /// Masks at the picture's size.
    pub masks: f64,
}

/// One prompt and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct PromptReport {
    /// Its place among the prompts, from 0.
    pub index: usize,
    /// Its text; null for boxes alone.
    pub text: Option<String>,
    /// `concept`, `simple` or `complex`.
    pub level: String,
    /// Its example boxes.
    pub boxes: Vec<BoxReport>,
    /// Tokens of the whole text, start and end included.
    pub tokens: usize,
    /// Whether the model saw only the text's beginning.
    pub truncated: bool,
    /// How sure the model is that the picture shows it at all.
    pub presence: f32,
    /// What was found, highest score first.
    pub instances: Vec<InstanceReport>,
}

/// An example box.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BoxReport {
    /// x0, y0, x1, y1 in pixels.
    pub r#box: [f32; 4],
    /// Whether it shows what is meant, or what is not.
    pub positive: bool,
}

/// One instance.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceReport {
    /// Its place among the prompt's instances, from 0.
    pub id: usize,
    /// The query that found it.
    pub query: usize,
    /// Its score.
    pub score: f32,
    /// x0, y0, x1, y1 in pixels, perhaps beyond the picture.
    pub r#box: [f32; 4],
    /// Pixels of the mask.
    pub area: usize,
    /// The mask at the picture's size.
    pub rle: Rle,
}

/// Where a picture's files go: its name without directory and extension, in the output directory.
#[derive(Clone, Debug)]
pub struct Names {
    dir: PathBuf,
    stem: String,
}

impl Names {
    /// For the picture `input` (any path, or `-`).
    pub fn new(dir: &Path, input: &Path) -> Self {
        let stem = input.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.filter(|stem| stem != "-").unwrap_or_else(|| "stdin".to_owned());
        Self { dir: dir.to_owned(), stem }
    }

    /// `<stem>.overlay.png`.
    pub fn overlay(&self) -> PathBuf {
        self.file("overlay.png")
    }

    /// `<stem>.p<prompt>.<instance>.png`.
    pub fn mask(&self, prompt: usize, instance: usize) -> PathBuf {
        self.file(&format!("p{prompt}.{instance}.png"))
    }

    /// `<stem>.json`.
    pub fn json(&self) -> PathBuf {
        self.file("json")
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", self.stem))
    }
}

/// Writes a mask as a grey png: 255 where it is set, else 0.
///
/// # Errors
/// When the file cannot be written; nothing is left then.
pub fn write_mask(path: &Path, mask: &Mask) -> Result<()> {
    let grey: Vec<u8> = mask.bits.iter().map(|&bit| if bit == 0 { 0 } else { 255 }).collect();
    write_png(path, &grey, mask.width, mask.height, ExtendedColorType::L8)
}

/// Writes a picture as an RGB png.
///
/// # Errors
/// When the file cannot be written; nothing is left then.
pub fn write_picture(path: &Path, picture: &Picture) -> Result<()> {
    write_png(path, &picture.rgb, picture.width, picture.height, ExtendedColorType::Rgb8)
}

/// Writes anything as one line of JSON.
///
/// # Errors
/// When the file cannot be written; nothing is left then.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_whole(path, |file| {
        serde_json::to_writer(&mut *file, value)?;
        Ok(file.write_all(b"\n")?)
    })
}

fn write_png(
    path: &Path,
    bytes: &[u8],
    width: usize,
    height: usize,
    colour: ExtendedColorType,
) -> Result<()> {
    let (width, height) = (u32::try_from(width)?, u32::try_from(height)?);
    write_whole(path, |file| {
        let encoded: Result<(), ImageError> = PngEncoder::new(file).write_image(bytes, width, height, colour);
        Ok(encoded?)
    })
}

/// Writes a file that is whole or not there: under a temporary name in the same directory, then renamed. Whatever goes wrong,
/// an older file of this name stays and the temporary one goes.
///
/// # Errors
/// When `write` fails or the file cannot be made.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>) -> Result<()> {
    let written = || format!("{} could not be written", path.display());
    let (temporary, file) = create_temporary(path).with_context(written)?;
    let mut buffered = BufWriter::new(&file);
    write(&mut buffered).and_then(|()| Ok(buffered.flush()?)).with_context(written)?;
    drop(buffered);
    drop(file);
    temporary.rename(path).with_context(written)
}

/// Checks that a file can be made in a directory; none stays.
///
/// # Errors
/// When it cannot.
pub fn check_writable(dir: &Path) -> Result<()> {
    create_temporary(&dir.join("sam3i")).map(drop)
}

/// A file that is removed unless it is renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn rename(self, path: &Path) -> Result<()> {
        fs::rename(&self.0, path)?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The error that brought us here is the one to tell.
        let _ = fs::remove_file(&self.0);
    }
}

/// A new file beside `path`, of a name that nothing else has.
fn create_temporary(path: &Path) -> Result<(Temporary, File)> {
    let name = path.file_name().context("the path names no file")?.to_string_lossy();
    for attempt in 0..100 {
        let temporary = path.with_file_name(format!(".{name}.{}.{attempt}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((Temporary(temporary), file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("a hundred temporary files of this name are in the way; remove them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    /// A directory that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sam3i-output-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).expect("a temporary directory");
            Self(dir)
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("the directory");
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_named_after_the_picture() {
        let names = Names::new(Path::new("out"), Path::new("photos/a.b.jpg"));
        assert_eq!(names.overlay(), Path::new("out/a.b.overlay.png"));
        assert_eq!(names.mask(1, 12), Path::new("out/a.b.p1.12.png"));
        assert_eq!(names.json(), Path::new("out/a.b.json"));
        assert_eq!(Names::new(Path::new("out"), Path::new("-")).json(), Path::new("out/stdin.json"));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let scratch = Scratch::new("failed");
        let path = scratch.0.join("x.json");
        write_json(&path, &1).expect("a number");
        let failed = write_whole(&path, |file| {
            file.write_all(b"half")?;
            Err(anyhow!("no more ink"))
        });
        let message = format!("{:#}", failed.expect_err("the closure failed"));
        assert!(message.contains("x.json") && message.contains("no more ink"), "{message}");
        assert_eq!(fs::read_to_string(&path).expect("the old file"), "1\n");
        assert_eq!(scratch.files(), ["x.json"]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let message = format!("{:#}", write_json(Path::new("no/such/x.json"), &1).expect_err("no directory"));
        assert!(message.contains("no/such/x.json"), "{message}");
    }

    #[test]
    fn a_mask_is_written_black_and_white() {
        let scratch = Scratch::new("mask");
        let path = scratch.0.join("m.png");
        let mask = Mask::new(3, 2, vec![0, 1, 0, 1, 1, 0]).expect("3 x 2");
        write_mask(&path, &mask).expect("a png");
        let read = image::open(&path).expect("a png");
        assert_eq!(read.color(), image::ColorType::L8);
        assert_eq!(read.into_luma8().into_raw(), [0, 255, 0, 255, 255, 0]);
        assert_eq!(scratch.files(), ["m.png"]);
    }

    #[test]
    fn the_report_has_the_contracts_fields_in_order() {
        let mask = Mask::new(5, 4, vec![1; 20]).expect("5 x 4");
        let rle = mask.to_rle().expect("a small mask");
        let instance =
            InstanceReport { id: 0, query: 17, score: 0.91, r#box: [0.0, 0.5, 5.0, 4.0], area: 20, rle };
        let prompt = PromptReport {
            index: 0,
            text: Some("the mug".to_owned()),
            level: "simple".to_owned(),
            boxes: vec![],
            tokens: 4,
            truncated: false,
            presence: 0.98,
            instances: vec![instance],
        };
        let report = Report {
            schema: SCHEMA,
            image: ImageReport { file: "a.png".to_owned(), width: 5, height: 4 },
            model: ModelReport { name: "sam3i".to_owned(), params: 840_509_750 },
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            timings_ms: Timings::default(),
            prompts: vec![prompt],
        };
        let expected = concat!(
            r#"{"schema":1,"image":{"file":"a.png","width":5,"height":4},"model":{"name":"sam3i","params":840509750},"#,
            r#""device":"cpu","dtype":"f32","timings_ms":{"load":0.0,"preprocess":0.0,"image":0.0,"text":0.0,"#,
            r#""grounding":0.0,"masks":0.0},"prompts":[{"index":0,"text":"the mug","level":"simple","boxes":[],"#,
            r#""tokens":4,"truncated":false,"presence":0.98,"instances":[{"id":0,"query":17,"score":0.91,"#,
            r#""box":[0.0,0.5,5.0,4.0],"area":20,"rle":{"size":[4,5],"counts":"0d0"}}]}]}"#,
        );
        assert_eq!(serde_json::to_string(&report).expect("plain data"), expected);
    }
}
