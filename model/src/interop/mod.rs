//! Pictures and masks from and to the types of other crates, each behind a feature of that crate's name.

#[cfg(feature = "image")]
mod image;
#[cfg(feature = "ndarray")]
mod ndarray;
