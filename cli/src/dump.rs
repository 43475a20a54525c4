//! `--dump-tensors`: what the model computes on its way, under the names of docs/parity.md.
//!
//! A file a picture: `image/NAME` for what comes of the picture, `p0/NAME` and so on for each prompt. Values wait in a
//! temporary file, for a safetensors file begins with a list of all it holds.

use crate::output::{Temporary, create_temporary};
use crate::profile::Profile;
use anyhow::{Context, Result};
use sam3i::checkpoint::FileDType;
use sam3i::engine::Tensor;
use sam3i::engine::trace::{self, Observer, OpRecord};
use sam3i::engine::weights::{TensorSpec, write_safetensors};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The file of the picture whose results are called `name`.
pub fn path(dir: &Path, name: &Path) -> PathBuf {
    let mut file = name.as_os_str().to_owned();
    file.push(".safetensors");
    dir.join(file)
}

/// Where the tensors of a picture go.
#[derive(Clone)]
pub struct Dump(Arc<Collector>);

struct Collector {
    path: PathBuf,
    state: Mutex<State>,
    /// Who else watches.
    profile: Option<Arc<Profile>>,
}

struct State {
    /// `image` or the prompt.
    part: String,
    tensors: Vec<TensorSpec>,
    values: BufWriter<File>,
    /// Goes when this is dropped.
    _temporary: Temporary,
    problem: Option<anyhow::Error>,
}

impl Observer for Collector {
    fn op(&self, record: OpRecord) {
        if let Some(profile) = &self.profile {
            profile.op(record);
        }
    }

    fn tensor(&self, name: &str, tensor: &Tensor) {
        let mut state = self.state();
        if let Err(problem) = state.add(name, tensor) {
            state.problem.get_or_insert(problem);
        }
    }

    fn wants_tensors(&self) -> bool {
        true
    }
}

impl Collector {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let name = format!("{}/{name}", self.part);
        for value in tensor.to_vec()? {
            self.values.write_all(&value.to_le_bytes())?;
        }
        self.tensors.push(TensorSpec { name, dtype: FileDType::F32, shape: tensor.shape().to_vec() });
        Ok(())
    }
}

impl Dump {
    /// Begins the file of a picture; `profile` goes on watching.
    ///
    /// # Errors
    /// When no file can be made beside it.
    pub fn begin(path: &Path, profile: Option<Arc<Profile>>) -> Result<Self> {
        let dir = path.parent().context("the path names no directory")?;
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let (temporary, file) = create_temporary(path).with_context(|| path.display().to_string())?;
        let state = State {
            part: String::new(),
            tensors: Vec::new(),
            values: BufWriter::new(file),
            _temporary: temporary,
            problem: None,
        };
        Ok(Self(Arc::new(Collector { path: path.to_owned(), state: Mutex::new(state), profile })))
    }

    /// Runs `f` and keeps the tensors it offers, with `part/` before their names.
    pub fn watch<R>(&self, part: &str, f: impl FnOnce() -> R) -> R {
        part.clone_into(&mut self.0.state().part);
        trace::observe(self.0.clone(), f)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When a tensor could not be kept, or the file cannot be written.
    pub fn finish(&self) -> Result<()> {
        let path = &self.0.path;
        let State { tensors, values, problem, .. } = &mut *self.0.state();
        let cannot = || format!("{} could not be written", path.display());
        if let Some(problem) = problem.take() {
            return Err(problem).with_context(cannot);
        }
        values.flush().with_context(cannot)?;
        let mut stored = values.get_ref();
        stored.seek(SeekFrom::Start(0)).with_context(cannot)?;
        let about = BTreeMap::from([("format".to_owned(), "sam3i --dump-tensors".to_owned())]);
        write_safetensors::<anyhow::Error>(path, tensors, &about, |tensor| {
            let mut bytes = vec![0; 4 * tensor.shape.iter().product::<usize>()];
            stored.read_exact(&mut bytes)?;
            let words = bytes.as_chunks().0;
            Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
        })
        .with_context(cannot)
    }
}

/// Runs `f`, watched by a dump if there is one.
pub fn watched<R>(dump: Option<&Dump>, part: &str, f: impl FnOnce() -> R) -> R {
    match dump {
        Some(dump) => dump.watch(part, f),
        None => f(),
    }
}
