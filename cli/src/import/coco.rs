//! COCO and its kin: every category that a picture has becomes a sample of the level concept, all of its instances the
//! targets. PACO-LVIS calls parts `mug:handle`; they are asked as "mug handle", and as "the handle of the mug" at the level
//! simple.

use super::Output;
use super::samples::{Samples, Shown, read_json};
use anyhow::{Context, Result};
use sam3i::metrics::Instructions;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Arguments of `sam3i import coco`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The COCO file
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Deserialize)]
struct File {
    images: Vec<Picture>,
    annotations: Vec<Map<String, Value>>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Picture {
    id: i64,
    /// LVIS has `coco_url` instead.
    file_name: Option<String>,
    coco_url: Option<String>,
    width: usize,
    height: usize,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// The annotations of a picture, by their category.
type ByCategory<'a> = BTreeMap<i64, Vec<&'a Map<String, Value>>>;

pub(super) fn read(args: &Args) -> Result<Samples> {
    let file: File = read_json(&args.file)?;
    let names: HashMap<i64, &str> = file.categories.iter().map(|one| (one.id, one.name.as_str())).collect();
    let mut held: HashMap<i64, ByCategory> = HashMap::new();
    let number = |one: &Map<String, Value>, key: &str| one.get(key).and_then(Value::as_i64);
    for annotation in &file.annotations {
        let ids = number(annotation, "image_id").zip(number(annotation, "category_id"));
        let (image, category) = ids.context("an annotation without image_id or category_id")?;
        held.entry(image).or_default().entry(category).or_default().push(annotation);
    }
    let mut samples = Samples::default();
    for picture in &file.images {
        let name = picture.file_name.as_deref().or_else(|| picture.coco_url.as_deref().and_then(last_two));
        let file_name = name.with_context(|| format!("image {} has no file_name", picture.id))?;
        for (category, targets) in held.remove(&picture.id).unwrap_or_default() {
            let name = names.get(&category).with_context(|| format!("there is no category {category}"))?;
            let shown = Shown { file_name, width: picture.width, height: picture.height };
            samples.sample(shown, &asked(name));
            targets.into_iter().for_each(|target| samples.target(target));
        }
    }
    Ok(samples)
}

/// `train2017/000000000139.jpg` of an address.
fn last_two(address: &str) -> Option<&str> {
    let start = address.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    address.get(start..)
}

fn asked(name: &str) -> Instructions {
    let words = |name: &str| name.replace('_', " ");
    match name.split_once(':') {
        None => Instructions { concept: vec![words(name)], ..Instructions::default() },
        Some((object, part)) => {
            let (object, part) = (words(object), words(part));
            Instructions {
                concept: vec![format!("{object} {part}")],
                simple_query: vec![format!("the {part} of the {object}")],
                ..Instructions::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_asked_with_their_objects() {
        assert_eq!(asked("traffic_light").concept, ["traffic light"]);
        let part = asked("mug:inner_body");
        assert_eq!(
            (&part.concept[0][..], &part.simple_query[0][..]),
            ("mug inner body", "the inner body of the mug")
        );
        assert_eq!(last_two("http://host/train2017/1.jpg"), Some("train2017/1.jpg"));
        assert_eq!(last_two("1.jpg"), Some("1.jpg"));
    }
}
