//! The RefCOCO family. `instances.json` is a COCO file; the references are a list of objects with `image_id`, `ann_id` (a
//! number, or a list in gRefCOCO, where -1 and an empty list mean that nothing is meant), `split` and `sentences`, each with
//! `sent`. Every sentence becomes a sample, as the papers count them.

use super::Output;
use super::samples::{Samples, Shown, read_json};
use anyhow::{Context, Result};
use sam3i::metrics::Instructions;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;

/// Arguments of `sam3i import refcoco`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The references as JSON: grefs(unc).json is; docs/data-sets.md has the line that makes it of refs(unc).p
    #[arg(long, value_name = "REFS.json")]
    refs: PathBuf,
    /// The masks
    #[arg(long, value_name = "instances.json")]
    instances: PathBuf,
    /// Which references: train, val, test, testA or testB
    #[arg(long, value_name = "SPLIT")]
    split: String,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Deserialize)]
struct Reference {
    image_id: i64,
    ann_id: Meant,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Meant {
    One(i64),
    Several(Vec<i64>),
}

#[derive(Deserialize)]
struct Sentence {
    sent: String,
}

#[derive(Deserialize)]
struct Instances {
    images: Vec<Picture>,
    annotations: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Picture {
    id: i64,
    file_name: String,
    width: usize,
    height: usize,
}

pub(super) fn read(args: &Args) -> Result<Samples> {
    let references: Vec<Reference> = read_json(&args.refs)?;
    let instances: Instances = read_json(&args.instances)?;
    let pictures: HashMap<i64, &Picture> = instances.images.iter().map(|one| (one.id, one)).collect();
    let id = |one: &Map<String, Value>| one.get("id").and_then(Value::as_i64);
    let masks: HashMap<i64, &Map<String, Value>> =
        instances.annotations.iter().filter_map(|one| Some((id(one)?, one))).collect();
    let mut samples = Samples::default();
    for reference in references.into_iter().filter(|one| one.split == args.split) {
        let unknown = |what: &str, id: i64| format!("{} has no {what} {id}", args.instances.display());
        let picture = pictures.get(&reference.image_id);
        let picture = picture.with_context(|| unknown("image", reference.image_id))?;
        let Picture { file_name, width, height, .. } = picture;
        let meant = match reference.ann_id {
            Meant::One(id) => vec![id],
            Meant::Several(ids) => ids,
        };
        for Sentence { sent } in reference.sentences {
            let instructions = Instructions { simple_query: vec![sent], ..Instructions::default() };
            samples.sample(Shown { file_name, width: *width, height: *height }, &instructions);
            for &id in meant.iter().filter(|&&id| id >= 0) {
                samples.target(masks.get(&id).with_context(|| unknown("annotation", id))?);
            }
        }
    }
    Ok(samples)
}
