//! SAM3-I in pure Rust: a picture and a sentence in; masks, boxes and scores out.

pub mod checkpoint;
pub mod config;
mod error;
mod grounding;
pub mod level;
pub mod mask;
pub mod metrics;
mod model;
mod neck;
mod nn;
pub mod picture;
pub mod prompt;
pub mod segmentation;
mod suppression;
pub mod synth;
mod tensor_list;
pub mod text;
pub mod tiling;
mod vit;
mod weights;

pub use checkpoint::Checkpoint;
pub use config::Config;
pub use error::{Error, Result};
pub use level::Level;
pub use mask::Mask;
pub use model::{ImageEmbedding, Model, required_tensors};
pub use picture::{ImageView, Picture, ResizeMode};
pub use prompt::Prompt;
pub use sam3i_engine as engine;
pub use sam3i_engine::{CpuOptions, Device};
pub use segmentation::{Instance, MaskLogits, SegmentOptions, Segmentation};
pub use suppression::suppress;
pub use tiling::Tiling;
