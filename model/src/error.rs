//! What can go wrong in the model crate.

use std::path::{Path, PathBuf};

/// The model crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the model crate. Messages say what happened and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused an op.
    #[error(transparent)]
    Engine(#[from] sam3i_engine::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The sizes of a model do not fit together.
    #[error("{origin}: not a usable model configuration: {problem}")]
    Config {
        /// Where they came from: a `config.json` or a checkpoint.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// The tokenizer cannot have these sizes.
    #[error("not a usable tokenizer: {problem}")]
    Tokenizer {
        /// What is wrong.
        problem: String,
    },
    /// A picture could not be read, or its bytes do not fit its size.
    #[error("{origin}: {problem}")]
    Picture {
        /// The file, or where the bytes came from.
        origin: String,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// A run-length encoded mask is malformed.
    #[error("not a usable run-length encoded mask: {problem}")]
    Rle {
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn picture(origin: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Picture { origin: origin.into(), problem: problem.into() }
    }

    pub(crate) fn rle(problem: impl Into<String>) -> Self {
        Self::Rle { problem: problem.into() }
    }
}
