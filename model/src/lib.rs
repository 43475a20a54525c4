//! SAM3-I in pure Rust: a picture and a sentence in; masks, boxes and scores out.

pub mod checkpoint;
pub mod config;
mod error;
pub mod mask;
pub mod picture;
pub mod synth;
mod tensor_list;
pub mod text;

pub use checkpoint::Checkpoint;
pub use config::Config;
pub use error::{Error, Result};
