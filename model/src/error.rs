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
    /// Whoever watched the work stopped it (see [`crate::Model::encode_image_watched`]).
    #[error("stopped")]
    Stopped,
    /// A prompt has neither words nor examples.
    #[error("the prompt is empty: write what to look for, or give an example box")]
    EmptyPrompt,
    /// An example box or point cannot be used.
    #[error("{example} {problem}")]
    BadExample {
        /// The example.
        example: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The checkpoint has no weights for point prompts.
    #[error(
        "this checkpoint cannot take point prompts (Hugging Face files lack their weights); use boxes, or the \
             original checkpoint"
    )]
    NoPointPrompts,
    /// A model was asked about a picture that another one has looked at.
    #[error("another model has looked at this picture: encode it with the one that is asked")]
    OtherModel,
    /// There is no model at a path.
    #[error("{}: no model here: {problem}", path.display())]
    NoModel {
        /// The path.
        path: PathBuf,
        /// What was looked for, and what to do.
        problem: String,
    },
    /// The tensors of a weight file are not those of a SAM3 model.
    #[error("{}: these are not the weights of a SAM3 model: {problem}", path.display())]
    NotSam3 {
        /// The file or directory.
        path: PathBuf,
        /// What it holds instead.
        problem: String,
    },
    /// Tensors are missing, unexpected or of the wrong shape.
    #[error("{}: the weights do not fit the model:{problem}\nCheck that this is the right, complete file and \
             that its config.json belongs to it; `sam3i inspect` shows what it has.", path.display())]
    Mismatch {
        /// The file or directory.
        path: PathBuf,
        /// All of them, by kind.
        problem: crate::checkpoint::Comparison,
    },
    /// A weight is infinite or not a number.
    #[error("{}: `{name}` holds {value} at element {index}; the file is damaged or its training diverged: use \
             another one", path.display())]
    NotFinite {
        /// The file or directory.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such element, in row-major order.
        index: usize,
        /// What it is.
        value: f32,
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
    /// A picture cannot be cut so.
    #[error(
        "tiles of {side} pixels that share {overlap}: the side must be at least 1, the overlap at most half of it"
    )]
    Tiling {
        /// The side of a tile.
        side: usize,
        /// What neighbours share.
        overlap: usize,
    },
    /// A run-length encoded mask is malformed.
    #[error("not a usable run-length encoded mask: {problem}")]
    Rle {
        /// What is wrong.
        problem: String,
    },
    /// An annotation or prediction file, or something in it, cannot be used.
    #[error("{origin}: {problem}")]
    Data {
        /// The file, annotation, image or record.
        origin: String,
        /// What is wrong.
        problem: String,
    },
}

impl From<sam3i_engine::weights::WeightsError> for Error {
    fn from(error: sam3i_engine::weights::WeightsError) -> Self {
        Self::Engine(error.into())
    }
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn picture(origin: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Picture { origin: origin.into(), problem: problem.into() }
    }

    pub(crate) fn data(origin: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Data { origin: origin.into(), problem: problem.into() }
    }

    pub(crate) fn rle(problem: impl Into<String>) -> Self {
        Self::Rle { problem: problem.into() }
    }
}
