//! Where the recorded numbers are: a few files come with the source, the rest is a folder of its own.

use sam3i::Error;
use sam3i::checkpoint::WeightFile;
use sam3i_engine::weights::{TensorSpec, write_safetensors};
use std::path::{Path, PathBuf};

/// The folder of goldens: the one `SAM3I_GOLDENS` names, else `shared/goldens` beside the workspace.
///
/// Says so in one line when it is absent: what needs it is then skipped.
///
/// # Panics
/// If it is absent while `SAM3I_REQUIRE_GOLDENS` is set.
pub fn goldens_dir() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/goldens");
    let folder = PathBuf::from(std::env::var_os("SAM3I_GOLDENS").unwrap_or_else(|| beside.into()));
    if folder.join("README.md").is_file() {
        return Some(folder);
    }
    let problem =
        format!("no goldens in {}; set SAM3I_GOLDENS to the folder that has them", folder.display());
    assert!(std::env::var_os("SAM3I_REQUIRE_GOLDENS").is_none(), "{problem}");
    eprintln!("SKIPPED: {problem}");
    None
}

/// A file that comes with the source.
pub fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file)
}

/// One of the drawn scenes that nano knows.
pub fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(file)
}

/// An empty folder for a test's files, removed when it goes.
#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// Makes it. Names must differ between the tests of a binary.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sam3i-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Copies one of the drawn scenes into it.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn scene(&self, example_file: &str, name: &str) -> PathBuf {
        self.write(name, &std::fs::read(example(example_file)).expect("a scene"))
    }

    /// The names of the files below a directory of it, sorted, with slashes; none if it is not there.
    pub fn files(&self, dir: &str) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.0.join(dir), "", &mut names);
        names.sort();
        names
    }

    /// Writes a file into it, and makes the directories it is in.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

fn collect(dir: &Path, below: &str, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)
        } else {
            names.push(name)
        }
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // A leftover in the system's temporary folder is only untidy.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A copy of a file of floating point tensors, its values changed.
///
/// # Panics
/// If the one cannot be read or the other not be written.
pub fn rewritten(
    from: &Path,
    folder: &TempFolder,
    name: &str,
    mut change: impl FnMut(&str, &mut Vec<f32>),
) -> PathBuf {
    let file = WeightFile::open(from).expect("sound");
    let floats = file.entries().iter().filter(|entry| entry.dtype.is_float());
    let specs: Vec<_> =
        floats.map(|e| TensorSpec { name: e.name.clone(), dtype: e.dtype, shape: e.shape.clone() }).collect();
    let path = folder.path().join(name);
    write_safetensors::<Error>(&path, &specs, file.metadata(), |spec| {
        let mut values = file.read_f32(&spec.name)?;
        change(&spec.name, &mut values);
        Ok(values)
    })
    .expect("written");
    path
}
