//! From a sentence to token ids: cleaning, then CLIP's byte-level BPE.

pub(crate) mod adapter;
mod bpe;
pub mod clean;
pub(crate) mod encoder;
mod html;
pub mod tokenizer;
mod words;

pub use clean::clean;
pub use tokenizer::{Tokenizer, Tokens};
