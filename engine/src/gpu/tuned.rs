//! What was measured on this machine: which form of a call is the fastest. One JSON file an adapter.
//!
//! A file that is damaged, or was written for another adapter, another driver or other kernels, is passed over with one line.

use super::AdapterFacts;
use crate::{Error, Result};
use sam3i_kernels::gpu::texts_number;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

/// The version of the file's layout.
const VERSION: u32 = 1;

/// Where measurements are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunedForms {
    /// In the user's cache directory.
    #[default]
    Users,
    /// In this file.
    File(PathBuf),
    /// Nowhere: none are used.
    Ignored,
}

/// A call's fastest form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its name.
    pub form: String,
    /// Milliseconds of each form that was measured.
    pub ms: BTreeMap<String, f64>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    adapter: String,
    interface: String,
    driver: String,
    /// [`texts_number`], in hexadecimal.
    kernels: String,
    forms: BTreeMap<String, Entry>,
}

/// Measurements of a machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tuned(BTreeMap<String, Entry>);

impl Tuned {
    /// The fastest form of a call.
    pub fn form(&self, call: &str) -> Option<&str> {
        self.0.get(call).map(|entry| entry.form.as_str())
    }

    /// Takes newer measurements over.
    pub fn extend(&mut self, newer: BTreeMap<String, Entry>) {
        self.0.extend(newer);
    }
}

/// The user's cache directory, as the system has it.
fn cache_dir() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_system = || {
        if cfg!(windows) {
            set("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            set("HOME").map(|home| home.join("Library/Caches"))
        } else {
            set("HOME").map(|home| home.join(".cache"))
        }
    };
    set("XDG_CACHE_HOME").or_else(of_system).map(|cache| cache.join("sam3i"))
}

/// The file of an adapter; `None` where there is no place for one.
fn path(place: &TunedForms, facts: &AdapterFacts) -> Option<PathBuf> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    match place {
        TunedForms::Users => {
            let name: String =
                facts.name.chars().chain(['-']).chain(facts.interface.chars()).map(plain).collect();
            cache_dir().map(|cache| cache.join(format!("gpu-{name}.json")))
        }
        TunedForms::File(path) => Some(path.clone()),
        TunedForms::Ignored => None,
    }
}

/// What was measured on this adapter; nothing, and a line that says why, if its file is not to be used.
pub(super) fn read(place: &TunedForms, facts: &AdapterFacts) -> Tuned {
    let Some(path) = path(place, facts) else { return Tuned::default() };
    match opened(&path, facts) {
        Ok(tuned) => tuned,
        Err(reason) => {
            tracing::warn!("{}: {reason}; not used (`sam3i bench --tune` writes it anew)", path.display());
            Tuned::default()
        }
    }
}

fn opened(path: &Path, facts: &AdapterFacts) -> Result<Tuned, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tuned::default()),
        Err(error) => return Err(error.to_string()),
    };
    let version =
        serde_json::from_slice(&text).ok().and_then(|value: serde_json::Value| value["version"].as_u64());
    match version {
        Some(version) if version != u64::from(VERSION) => {
            return Err(format!("it has version {version}, not {VERSION}"));
        }
        _ => {}
    }
    let file: File = serde_json::from_slice(&text).map_err(|error| format!("it is damaged ({error})"))?;
    let expected = File::new(facts, BTreeMap::new());
    for (what, theirs, ours) in [
        ("adapter", &file.adapter, &expected.adapter),
        ("interface", &file.interface, &expected.interface),
        ("driver", &file.driver, &expected.driver),
    ] {
        if theirs != ours {
            return Err(format!("it was measured with another {what} ({theirs}, now {ours})"));
        }
    }
    if file.kernels != expected.kernels {
        return Err("it was measured with other kernels".to_owned());
    }
    Ok(Tuned(file.forms))
}

impl File {
    fn new(facts: &AdapterFacts, forms: BTreeMap<String, Entry>) -> Self {
        Self {
            version: VERSION,
            adapter: facts.name.clone(),
            interface: facts.interface.clone(),
            driver: facts.driver.clone(),
            kernels: format!("{:016x}", texts_number()),
            forms,
        }
    }
}

/// Writes the measurements of an adapter, all or nothing; the file.
///
/// # Errors
/// [`Error::GpuOption`] if there is no place for it or it cannot be written.
pub(super) fn write(place: &TunedForms, facts: &AdapterFacts, tuned: Tuned) -> Result<PathBuf> {
    let failed = |what: String, reason: String| Error::GpuOption { what, reason };
    let path = path(place, facts).ok_or_else(|| {
        failed(
            "storing what was measured".to_owned(),
            "no cache directory is known; set XDG_CACHE_HOME".to_owned(),
        )
    })?;
    let wrong =
        |error: &dyn std::fmt::Display| failed(format!("writing {}", path.display()), error.to_string());
    let text = serde_json::to_vec_pretty(&File::new(facts, tuned.0)).map_err(|e| wrong(&e))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
    }
    let unfinished = path.with_extension(format!("{}.part", process::id()));
    let written = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &path));
    written.map_err(|e| {
        drop(fs::remove_file(&unfinished)); // it may not even be there
        wrong(&e)
    })?;
    Ok(path)
}
