//! Pictures.

use crate::arguments::{Growing, hand_out, options, required, take_back, values};
use crate::model::sam3i_model;
use crate::status::{Failure, Outcome, guard, quietly, sam3i_status};
use crate::watch::{sam3i_watch, watcher};
use sam3i::{ImageEmbedding, ImageView, Model, ResizeMode};
use std::ffi::c_void;
use std::sync::{Arc, Weak};

/// The reference's interactive path on a CPU.
pub const SAM3I_RESIZE_EXACT8: i32 = 0;
/// The reference's batch script.
pub const SAM3I_RESIZE_PILLOW: i32 = 1;
/// The reference's interactive path on a GPU.
pub const SAM3I_RESIZE_FLOAT: i32 = 2;

/// How a picture is to be looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_encode_options {
    /// `sizeof(sam3i_encode_options)`.
    pub size: usize,
    /// Who is told of each step.
    pub watch: sam3i_watch,
    /// What `watch` is called with.
    pub watch_user: *mut c_void,
    /// One of `SAM3I_RESIZE_*`.
    pub resize: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `#[repr(C)]`, a `usize` first, then numbers, a pointer and a nullable function pointer.
unsafe impl Growing for sam3i_encode_options {
    const NAME: &'static str = "sam3i_encode_options";
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl Default for sam3i_encode_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>(),
            watch: None,
            watch_user: std::ptr::null_mut(),
            resize: SAM3I_RESIZE_EXACT8,
            reserved: 0,
        }
    }
}

impl sam3i_encode_options {
    fn mode(&self) -> Outcome<ResizeMode> {
        match self.resize {
            SAM3I_RESIZE_EXACT8 => Ok(ResizeMode::Exact8),
            SAM3I_RESIZE_PILLOW => Ok(ResizeMode::Pillow),
            SAM3I_RESIZE_FLOAT => Ok(ResizeMode::Float),
            other => Err(Failure::argument(format!("resize is {other}; use a SAM3I_RESIZE_*"))),
        }
    }
}

/// A picture a model has looked at.
pub struct sam3i_image {
    pub(crate) embedding: ImageEmbedding,
    /// Does not keep the model's memory, but its address: no other model can have it.
    model: Weak<Model>,
}

impl sam3i_image {
    /// Whether this model encoded it.
    pub(crate) fn is_of(&self, model: &Arc<Model>) -> bool {
        std::ptr::eq(self.model.as_ptr(), Arc::as_ptr(model))
    }
}

/// The picture at `rgb`.
///
/// # Safety
/// `rgb` is null, or rows of `3 * width` bytes begin there, `stride` apart, and nobody writes to them as long as the result is used.
unsafe fn picture<'a>(rgb: *const u8, width: usize, height: usize, stride: usize) -> Outcome<ImageView<'a>> {
    let row = width.checked_mul(3);
    let above = height.saturating_sub(1).checked_mul(stride);
    let Some(bytes) = row.zip(above).and_then(|(row, above)| above.checked_add(row)) else {
        return Err(Failure::argument(format!(
            "{width} x {height} pixels, {stride} bytes a row, are more than any memory holds"
        )));
    };
    // A picture without pixels, and rows that do not fit the stride, are refused in the library's words.
    let bytes = if width == 0 || height == 0 { 0 } else { bytes };
    // SAFETY: that many bytes are there, by the caller's promise.
    Ok(ImageView::new(unsafe { values(rgb, bytes, "rgb") }?, width, height, stride)?)
}

/// Looks at a picture: needed once for any number of prompts.
///
/// # Safety
/// `model` is null or a handle that lives; `rgb` is null, or rows of `3 * width` bytes begin there, `stride` apart, and nobody
/// writes to them meanwhile; `options` is null or as the header says; `image` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_image_encode(
    model: *const sam3i_model,
    rgb: *const u8,
    width: usize,
    height: usize,
    stride: usize,
    options: *const sam3i_encode_options,
    image: *mut *mut sam3i_image,
) -> sam3i_status {
    let encode = || {
        // SAFETY: by the caller's promise.
        let model = &unsafe { required(model, "model") }?.model;
        // SAFETY: by the caller's promise.
        let options = unsafe { self::options(options, sam3i_encode_options::default()) }?;
        let mode = options.mode()?;
        // SAFETY: by the caller's promise.
        let picture = unsafe { picture(rgb, width, height, stride) }?;
        // SAFETY: by the caller's promise.
        let watch = unsafe { watcher(options.watch, options.watch_user) };
        let embedding = model.encode_image_watched(&picture, mode, watch)?;
        Ok(sam3i_image { embedding, model: Arc::downgrade(model) })
    };
    // SAFETY: by the caller's promise.
    guard(|| unsafe { hand_out(image, "image", encode) })
}

/// Frees a picture and its memory.
///
/// # Safety
/// `image` is null, or a handle that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_image_free(image: *mut sam3i_image) {
    // SAFETY: by the caller's promise.
    quietly(|| unsafe { take_back(image) });
}
