//! SAM3-I in pure Rust: a picture and a sentence in; masks, boxes and scores out.
//!
//! A [`Model`] looks at a picture once ([`Model::encode_image`]) and then answers any number of prompts about it
//! ([`Model::segment`]). Models, pictures and answers can be shared by threads. The library prints nothing and keeps no state of its
//! own: a [`Device`] is a value the host makes, and what it holds goes when it is dropped.
//!
//! ```no_run
//! use sam3i::picture::DecodeOptions;
//! use sam3i::{CpuOptions, Device, Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};
//!
//! # fn main() -> sam3i::Result<()> {
//! let device = Device::cpu(&CpuOptions::default())?;
//! let model = Model::load("sam3i.safetensors".as_ref(), &device)?;
//! let picture = Picture::open("photo.jpg".as_ref(), &DecodeOptions::default())?;
//! let image = model.encode_image(&picture.view(), ResizeMode::default())?; // once
//! let prompt = Prompt::text("the mug left of the laptop").level(Level::Simple);
//! let answer = model.segment(&image, &prompt, &SegmentOptions::default().threshold(0.4))?;
//! for found in &answer.instances {
//!     let pieces = found.mask()?.to_polygons(1.0).len();
//!     println!("{:.2} at {:?}: {} pixels in {pieces} pieces", found.score, found.box_xyxy, found.area);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | to | see |
//! |---|---|
//! | bring pictures of your own | [`ImageView`]: borrowed RGB rows with a stride; `TryFrom` an `RgbImage` or an `ndarray` view |
//! | know what it takes | [`Checkpoint::memory_estimate`], [`Device::memory`] |
//! | show progress, or stop | [`Model::encode_image_watched`], [`Model::segment_watched`] |
//! | hand masks on | [`mask::Rle`] (COCO), [`Mask::to_polygons`], [`Mask::bounds`] |
//! | measure | [`metrics`]: gIoU, cIoU, P@0.5, AP |
//! | look inside | [`engine::trace`]: ops, stages, intermediate tensors |
//!
//! Features: `decode` (png, jpeg, webp and bmp files), `embedded-nano` (a miniature model, `Checkpoint::nano`), both on by
//! default; `tiff`, `gpu`, and `image` and `ndarray`, for pictures and masks in the types of those crates. Without them the
//! library brings 41 other crates, none of which compiles C.

// With a GPU, the compiler and rustdoc go deep into wgpu's types to see that a model may be shared between threads.
#![recursion_limit = "256"]

pub mod checkpoint;
pub mod config;
mod error;
mod grounding;
#[cfg(any(feature = "image", feature = "ndarray"))]
mod interop;
pub mod level;
pub mod mask;
mod memory;
pub mod metrics;
mod model;
mod neck;
mod nn;
mod parts;
pub mod picture;
pub mod prompt;
pub mod segmentation;
mod suppression;
pub mod synth;
mod tensor_list;
pub mod text;
pub mod tiling;
mod vit;
pub mod watch;
mod weights;

pub use checkpoint::Checkpoint;
pub use config::Config;
pub use error::{Error, Result};
pub use level::Level;
pub use mask::Mask;
pub use memory::MemoryEstimate;
pub use model::{ImageEmbedding, Model};
pub use parts::required_tensors;
pub use picture::{ImageView, Picture, ResizeMode};
pub use prompt::Prompt;
pub use sam3i_engine as engine;
pub use sam3i_engine::{CpuOptions, Device};
pub use segmentation::{Instance, MaskLogits, SegmentOptions, Segmentation};
pub use suppression::suppress;
pub use tiling::Tiling;
