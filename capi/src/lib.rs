//! sam3i for hosts in C, and in whatever can call C: the crate `sam3i` behind opaque handles, numbers and sentences.
//!
//! `include/sam3i.h` is written by hand and is where the interface is described; the functions here have its names and
//! parameters, and a test holds the two against each other. They do nothing themselves: each reads its arguments (`arguments`),
//! calls the library inside a `guard` that no panic leaves (`status`), and hands out what came of it.
//!
//! Adding to it: a member at the end of a struct, whose zero means what was done before, with its default in the header's
//! `*_INIT`; or a function. Anything else changes [`SAM3I_ABI_VERSION`].

#![allow(non_camel_case_types, reason = "types have the names they have in C")]

mod arguments;
mod device;
mod image;
mod model;
mod prompt;
mod segmentation;
mod status;
mod watch;

pub use device::*;
pub use image::*;
pub use model::*;
pub use prompt::*;
pub use segmentation::*;
pub use status::{
    SAM3I_ERROR_ARGUMENT, SAM3I_ERROR_BUFFER, SAM3I_ERROR_DEVICE, SAM3I_ERROR_INTERNAL, SAM3I_ERROR_MODEL,
    SAM3I_ERROR_STOPPED, SAM3I_OK, sam3i_last_error, sam3i_status,
};
pub use watch::*;

use std::ffi::{CStr, c_char};

/// The version of this interface. It changes when programs have to be compiled anew.
pub const SAM3I_ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version holds no zero bytes"),
};

/// The [`SAM3I_ABI_VERSION`] the library was built with.
#[unsafe(no_mangle)]
pub extern "C" fn sam3i_abi_version() -> u32 {
    SAM3I_ABI_VERSION
}

/// The version of sam3i, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn sam3i_version() -> *const c_char {
    VERSION.as_ptr()
}
