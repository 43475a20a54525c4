//! Files that are whole or not there.

use anyhow::{Context, Result, ensure};
use image::ExtendedColorType;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageError};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes samples as a png: one byte or two (of this machine's order) a channel.
///
/// # Errors
/// When the file cannot be written; nothing is left then.
pub fn write_png(
    path: &Path,
    bytes: &[u8],
    [width, height]: [usize; 2],
    colour: ExtendedColorType,
) -> Result<()> {
    let (width, height) = (u32::try_from(width)?, u32::try_from(height)?);
    write_whole(path, |file| {
        let encoded: Result<(), ImageError> = PngEncoder::new(file).write_image(bytes, width, height, colour);
        Ok(encoded?)
    })
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

/// Writes a file that is whole or not there: under a temporary name in the same directory (which is made if need be), then
/// renamed. Whatever goes wrong, an older file of this name stays and the temporary one goes.
///
/// # Errors
/// When `write` fails or the file cannot be made.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>) -> Result<()> {
    let written = || format!("{} could not be written", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(written)?;
    }
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

/// Checks that a file can be written in the end, before the time is spent on what goes into it. Directories that are missing are
/// made only then ([`make_directory_of`]).
///
/// # Errors
/// When it cannot, or the path names no file; with what to do.
pub fn check_file(path: &Path) -> Result<()> {
    ensure!(
        path != Path::new("-"),
        "-o -: this file is not written to stdout; name a file (./- if it is to be called so)"
    );
    ensure!(!path.is_dir(), "{} is a directory; name the file to write with -o", path.display());
    let there = directory_of(path).ancestors().find(|dir| dir.exists()).map(Path::to_owned);
    let there = there.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| ".".into());
    check_writable(&there)
        .with_context(|| format!("{} cannot be written; name another file with -o", path.display()))
}

/// Makes the directory that a file is to be in.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory_of(path: &Path) -> Result<()> {
    let advice = || format!("{} cannot be written; name another file with -o", path.display());
    fs::create_dir_all(directory_of(path)).with_context(advice)
}

/// The directory of a file; `.` for a bare name.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory that a verb is to write to, and checks that files can be made there. `option` names it.
///
/// # Errors
/// When they cannot; with what to do.
pub fn prepare_directory(dir: &Path, option: &str) -> Result<()> {
    let advice = || format!("the directory {} cannot be used; name another one with {option}", dir.display());
    fs::create_dir_all(dir).with_context(advice)?;
    check_writable(dir).with_context(advice)
}

/// A file that is removed unless it is renamed.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Gives it its name.
    ///
    /// # Errors
    /// When the system does not let it; the file is gone then.
    pub fn rename(self, path: &Path) -> Result<()> {
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

/// A new file beside `path`, of a name that nothing else has, to write and read.
///
/// # Errors
/// When it cannot be made.
pub fn create_temporary(path: &Path) -> Result<(Temporary, File)> {
    let name = path.file_name().context("the path names no file")?.to_string_lossy();
    for attempt in 0..100 {
        let temporary = path.with_file_name(format!(".{name}.{}.{attempt}.tmp", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&temporary) {
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
    fn a_directory_that_cannot_be_made_is_named() {
        let scratch = Scratch::new("file");
        write_json(&scratch.0.join("x"), &1).expect("a number");
        let inside = scratch.0.join("x/y.json");
        let message = format!("{:#}", write_json(&inside, &1).expect_err("x is no directory"));
        assert!(message.contains("y.json"), "{message}");
    }
}
