//! From a sentence to token ids: cleaning, then CLIP's byte-level BPE.

pub mod clean;
mod html;
pub mod tokenizer;

pub use clean::clean;
pub use tokenizer::{Tokenizer, Tokens};
