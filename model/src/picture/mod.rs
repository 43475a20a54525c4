//! From a file to the pixels the ViT reads: decoded, resized, normalised.

#[cfg(feature = "decode")]
pub mod decode;
#[cfg(feature = "tiff")]
mod grey_float;
#[cfg(feature = "decode")]
mod sniff;

pub mod normalise;
pub mod resize;
pub mod view;

#[cfg(feature = "decode")]
pub use decode::{DecodeLimits, DecodeOptions};
pub use normalise::normalise;
pub use resize::{ResizeMode, resize};
pub use view::{ImageView, Picture};
