//! `sam3i merge`: several prediction files into one, sorted as the reference sorts them.

use crate::output::{check_file, write_whole};
use crate::terminal::Messages;
use anyhow::{Result, bail};
use sam3i::metrics::{Record, predictions};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `sam3i merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The prediction files, of shards or levels
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "PRED.json")]
    output: PathBuf,
    /// Keep only the best prediction of each record
    #[arg(long)]
    keep_top1: bool,
}

/// Runs `sam3i merge`.
pub fn run(args: &Args) -> Result<()> {
    check_file(&args.output)?;
    let parts: Result<Vec<Vec<Record>>, _> = args.parts.iter().map(|part| predictions::read(part)).collect();
    let parts = parts?;
    refuse_repeated(&args.parts, &parts)?;
    let records: Vec<Record> = parts.into_iter().flatten().collect();
    write_records(&args.output, records, args.keep_top1, Messages::new(false, false))
}

/// Writes a prediction file, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_records(
    path: &Path,
    mut records: Vec<Record>,
    keep_top1: bool,
    messages: Messages,
) -> Result<()> {
    predictions::sort(&mut records);
    if keep_top1 {
        predictions::keep_top1(&mut records);
    }
    write_whole(path, |file| {
        serde_json::to_writer_pretty(&mut *file, &records)?;
        Ok(file.write_all(b"\n")?)
    })?;
    messages.say(&format!("wrote {} ({} records)", path.display(), records.len()));
    Ok(())
}

/// One query answered in two parts would count twice.
fn refuse_repeated(paths: &[PathBuf], parts: &[Vec<Record>]) -> Result<()> {
    let mut owners: HashMap<String, usize> = HashMap::new();
    for (part, records) in parts.iter().enumerate() {
        for record in records {
            let Record { annotation_id, image_id, prompt, prompt_type, .. } = record;
            let key = serde_json::to_string(&(annotation_id, image_id, prompt_type, prompt))?;
            let owner = *owners.entry(key).or_insert(part);
            if owner != part {
                let id = |id: &Option<_>| id.as_ref().map_or("none".to_owned(), |id| format!("{id}"));
                bail!(
                    "{} and {} both have annotation {} of image {} at {}; give each part once",
                    paths[owner].display(),
                    paths[part].display(),
                    id(annotation_id),
                    id(image_id),
                    prompt_type.as_deref().unwrap_or("no level")
                );
            }
        }
    }
    Ok(())
}
