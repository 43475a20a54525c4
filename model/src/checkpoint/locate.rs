//! From the path a user gives to the files of a model.

use crate::{Config, Error, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of a model.
#[derive(Debug, PartialEq)]
pub(super) struct Files {
    /// The weight files: one, or the shards.
    pub(super) weights: Vec<PathBuf>,
    /// What `config.json` beside them says; `None` if there is none, or Hugging Face's.
    pub(super) config: Option<Config>,
}

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Finds the files of the model at `path`: a directory, a weight file, or the index of shards.
pub(super) fn locate(path: &Path) -> Result<Files> {
    let info = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => no_model(path, "there is no such file or directory; check the path"),
        _ => Error::io(path, e),
    })?;
    let weights = if info.is_dir() {
        in_directory(path)?
    } else if path.to_string_lossy().ends_with(".index.json") {
        shards(path)?
    } else {
        vec![path.to_owned()]
    };
    let directory = weights.first().and_then(|file| file.parent()).unwrap_or(Path::new(""));
    let config = config_in(directory)?;
    Ok(Files { weights, config })
}

fn no_model(path: &Path, problem: impl Into<String>) -> Error {
    Error::NoModel { path: path.to_owned(), problem: problem.into() }
}

fn in_directory(directory: &Path) -> Result<Vec<PathBuf>> {
    if directory.join(WEIGHTS).is_file() {
        return Ok(vec![directory.join(WEIGHTS)]);
    }
    if directory.join(INDEX).is_file() {
        return shards(&directory.join(INDEX));
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|e| Error::io(directory, e))? {
        let path = entry.map_err(|e| Error::io(directory, e))?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if ["safetensors", "pt", "pth", "bin"].contains(&extension) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    match found.len() {
        1 => Ok(found),
        0 => Err(no_model(
            directory,
            format!(
                "looked for {WEIGHTS}, {INDEX} and a single .safetensors, .pt, .pth or .bin file; give the path of the model"
            ),
        )),
        _ => {
            let names: Vec<_> = found.iter().filter_map(|p| p.file_name()?.to_str()).collect();
            Err(no_model(
                directory,
                format!("it has several weight files ({}); name one of them", names.join(", ")),
            ))
        }
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards an index names, which must be files beside it.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string(index).map_err(|e| Error::io(index, e))?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|e| no_model(index, format!("it is not an index of shards: {e}")))?;
    let names: BTreeSet<_> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(no_model(index, "it names no weight files"));
    }
    let directory = index.parent().unwrap_or(Path::new(""));
    let shard = |name: &String| {
        let plain = Path::new(name).file_name().is_some_and(|file| file == name.as_str());
        let path = directory.join(name);
        match plain && path.is_file() {
            true => Ok(path),
            false => Err(no_model(
                index,
                format!("it names the shard `{name}`, which is not beside it; fetch all shards"),
            )),
        }
    };
    names.iter().map(shard).collect()
}

/// Reads `config.json` in a directory. One of Hugging Face's has other keys and is passed over.
fn config_in(directory: &Path) -> Result<Option<Config>> {
    let path = directory.join("config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let theirs = serde_json::from_str::<serde_json::Value>(&text)
        .is_ok_and(|value| value.get("model_type").is_some() || value.get("architectures").is_some());
    if theirs {
        return Ok(None);
    }
    let config = Config::from_json(&text);
    config.map(Some).map_err(|problem| Error::Config { origin: path.display().to_string(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of empty files, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("sam3i-locate-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("made");
            for (file, text) in files {
                std::fs::write(path.join(file), text).expect("written");
            }
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_directory_is_searched_in_a_known_order() {
        let index = r#"{"weight_map":{"a":"s-2.safetensors","b":"s-1.safetensors"}}"#;
        let outside = r#"{"weight_map":{"a":"../model.safetensors"}}"#;
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Result<&'a [&'a str], &'a str>);
        let cases: &[Case<'_>] = &[
            ("plain", &[("model.safetensors", ""), ("other.pt", "")], Ok(&["model.safetensors"])),
            ("single", &[("sam3.pt", ""), ("merges.txt", "")], Ok(&["sam3.pt"])),
            ("two", &[("a.pt", ""), ("b.safetensors", "")], Err("a.pt, b.safetensors")),
            ("none", &[("merges.txt", "")], Err("looked for model.safetensors")),
            (
                "shards",
                &[("model.safetensors.index.json", index), ("s-1.safetensors", ""), ("s-2.safetensors", "")],
                Ok(&["s-1.safetensors", "s-2.safetensors"]),
            ),
            (
                "lost",
                &[("model.safetensors.index.json", index), ("s-1.safetensors", "")],
                Err("s-2.safetensors"),
            ),
            ("outside", &[("model.safetensors.index.json", outside)], Err("not beside it")),
            ("garbled", &[("model.safetensors.index.json", "[]")], Err("not an index")),
            ("theirs", &[("sam3.pt", ""), ("config.json", r#"{"model_type":"sam3"}"#)], Ok(&["sam3.pt"])),
            ("bad", &[("sam3.pt", ""), ("config.json", "{}")], Err("config.json: not a usable")),
        ];
        for (name, files, expected) in cases {
            let folder = Folder::new(name, files);
            match (locate(&folder.0), expected) {
                (Ok(found), Ok(names)) => {
                    let names: Vec<_> = names.iter().map(|n| folder.0.join(n)).collect();
                    assert_eq!(found, Files { weights: names, config: None }, "{name}");
                }
                (Err(e), Err(part)) => assert!(e.to_string().contains(part), "{name}: {e}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_missing_path_is_no_model() {
        assert!(matches!(locate(Path::new("/no/such/model")), Err(Error::NoModel { .. })));
    }
}
