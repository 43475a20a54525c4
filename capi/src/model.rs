//! Models.

use crate::arguments::{hand_out, string, take_back};
use crate::device::{or_default, sam3i_device};
use crate::status::{Failure, Outcome, guard, quietly, sam3i_status};
use sam3i::{Checkpoint, Device, Model};
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::sync::Arc;

/// A model on a device.
pub struct sam3i_model {
    /// Shared with nobody for long: pictures hold it weakly, to be told apart from those of other models.
    pub(crate) model: Arc<Model>,
    description: CString,
}

impl sam3i_model {
    fn load(checkpoint: Checkpoint, device: &Device) -> Outcome<Self> {
        let description = checkpoint.describe().join("\n").replace('\0', "\u{fffd}");
        let model = Arc::new(Model::from_checkpoint(checkpoint, device)?);
        Ok(Self { model, description: CString::new(description).unwrap_or_default() })
    }
}

/// A path as the system spells it: bytes on Unix, UTF-8 elsewhere.
fn path(text: &CStr) -> Outcome<PathBuf> {
    if text.is_empty() {
        return Err(Failure::argument("path is empty; name a file or a directory"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(std::ffi::OsStr::from_bytes(text.to_bytes()).into())
    }
    #[cfg(not(unix))]
    {
        Ok(crate::arguments::utf8(text, "path")?.into())
    }
}

/// Loads the model at a path; with a null device onto the CPU, with all its cores, in f32.
///
/// # Safety
/// `path` is null or ends in a zero; `device` is null or a handle that lives; `model` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_model_load(
    path: *const c_char,
    device: *const sam3i_device,
    model: *mut *mut sam3i_model,
) -> sam3i_status {
    let load = || {
        // SAFETY: by the caller's promise.
        let path = self::path(unsafe { string(path, "path") }?)?;
        let checkpoint = Checkpoint::open(&path)?;
        // SAFETY: by the caller's promise.
        sam3i_model::load(checkpoint, &unsafe { or_default(device) }?)
    };
    // SAFETY: by the caller's promise.
    guard(|| unsafe { hand_out(model, "model", load) })
}

/// Loads nano, the model inside the library.
///
/// # Safety
/// `device` is null or a handle that lives; `model` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_model_load_embedded(
    device: *const sam3i_device,
    model: *mut *mut sam3i_model,
) -> sam3i_status {
    // SAFETY: by the caller's promise.
    let load = || sam3i_model::load(nano()?, &unsafe { or_default(device) }?);
    // SAFETY: by the caller's promise.
    guard(|| unsafe { hand_out(model, "model", load) })
}

#[cfg(feature = "embedded-nano")]
fn nano() -> Outcome<Checkpoint> {
    Ok(Checkpoint::nano()?)
}

#[cfg(not(feature = "embedded-nano"))]
fn nano() -> Outcome<Checkpoint> {
    Err(Failure::model(
        "this build of the library has no model inside; build it with the feature embedded-nano, or load a file",
    ))
}

/// What a user should know about it, a sentence a line; null if it is null.
///
/// # Safety
/// `model` is null or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_model_description(model: *const sam3i_model) -> *const c_char {
    // SAFETY: by the caller's promise.
    unsafe { model.as_ref() }.map_or(std::ptr::null(), |handle| handle.description.as_ptr())
}

/// Frees a model and its memory.
///
/// # Safety
/// `model` is null, or a handle that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_model_free(model: *mut sam3i_model) {
    // SAFETY: by the caller's promise.
    quietly(|| unsafe { take_back(model) });
}
