//! What can go wrong with a weight file.

use super::FileDType;
use std::path::{Path, PathBuf};

/// An error about a weight file. Messages name the file and the tensor, and finish with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is something other than a weight file we read.
    #[error("{}: this is {what}, not a weight file; {advice}", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What its first bytes say it is.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The file breaks the rules of its own format.
    #[error("{}: damaged {container} file: {problem}; copy or download it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its format.
        container: &'static str,
        /// The first rule it breaks.
        problem: String,
    },
    /// The file is sound, but uses something we do not read.
    #[error("{}: {problem}; {advice}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// A tensor was asked for that the file does not have.
    #[error("{}: has no tensor `{name}`; `sam3i inspect` lists what it has", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The values of a tensor were asked for as f32, but they are not floating point numbers.
    #[error("{}: `{name}` holds {dtype}; only f64, f32, f16 and bf16 tensors are weights", path.display())]
    NotFloat {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What it holds.
        dtype: FileDType,
    },
    /// The values of a tensor were asked for as whole numbers of 8 bits, but they are not.
    #[error("{}: `{name}` holds {dtype}, not the rounded values of an int8 file; convert the model again", path.display())]
    NotInt8 {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What it holds.
        dtype: FileDType,
    },
    /// A part of a tensor was asked for that it does not have.
    #[error("{}: `{name}`: {problem}; ask for what its shape {shape:?} has", path.display())]
    OutOfShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What was asked for.
        problem: String,
    },
    /// A tensor to be written does not fit its declaration or its element type.
    #[error("{}: cannot write `{name}`: {problem}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What does not fit, and what to do.
        problem: String,
    },
}

impl WeightsError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// What a format's parser found wrong, before it is known which file it is in.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// A broken rule.
    Damaged(String),
    /// Something we do not read, and what to do about it.
    Unsupported(String, &'static str),
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self::Damaged(problem)
    }
}

impl From<&str> for Fault {
    fn from(problem: &str) -> Self {
        Self::Damaged(problem.to_owned())
    }
}

impl Fault {
    /// The same fault, in a file.
    pub(super) fn at(self, path: &Path, container: &'static str) -> WeightsError {
        let path = path.to_owned();
        match self {
            Self::Damaged(problem) => WeightsError::Damaged { path, container, problem },
            Self::Unsupported(problem, advice) => WeightsError::Unsupported { path, problem, advice },
        }
    }
}
