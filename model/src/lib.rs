//! SAM3-I in pure Rust: a picture and a sentence in; masks, boxes and scores out.

pub mod config;
mod error;
pub mod mask;
pub mod picture;
pub mod text;

pub use config::Config;
pub use error::{Error, Result};
