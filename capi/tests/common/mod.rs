//! What the tests share: handles that free themselves, and the last error.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use sam3i::picture::DecodeOptions;
use sam3i::{ImageView, Picture};
use sam3i_capi::*;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

/// This thread's last error.
pub fn last_error() -> String {
    // SAFETY: the string is this thread's, which does nothing else before it is copied.
    unsafe { CStr::from_ptr(sam3i_last_error()) }.to_str().expect("UTF-8").to_owned()
}

/// One of the drawn scenes that nano knows.
pub fn scene(name: &str) -> Picture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    Picture::open(&path, &DecodeOptions::default()).expect("a scene")
}

/// A handle, freed at the end.
pub struct Handle<T> {
    pub raw: *mut T,
    free: unsafe extern "C" fn(*mut T),
}

// SAFETY: by the header, handles may be used by several threads.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

impl<T> Handle<T> {
    /// Asks `make` for a handle.
    pub fn new(
        free: unsafe extern "C" fn(*mut T),
        make: impl FnOnce(*mut *mut T) -> sam3i_status,
    ) -> Result<Self, sam3i_status> {
        let mut raw = std::ptr::dangling_mut(); // must be null after a failure
        let status = make(&raw mut raw);
        if status == SAM3I_OK {
            return Ok(Self { raw, free });
        }
        assert!(raw.is_null(), "a failure leaves no handle");
        Err(status)
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle came from the library, and nobody uses it after this.
        unsafe { (self.free)(self.raw) };
    }
}

/// A device.
pub fn device(options: &sam3i_device_options) -> Result<Handle<sam3i_device>, sam3i_status> {
    // SAFETY: a whole struct, and a place for the handle.
    Handle::new(sam3i_device_free, |out| unsafe { sam3i_device_create(options, out) })
}

/// One thread of the CPU: what it computes does not depend on their number.
pub fn one_thread() -> Handle<sam3i_device> {
    device(&sam3i_device_options { threads: 1, ..Default::default() }).expect("starts")
}

/// nano, on a device.
pub fn nano(device: &Handle<sam3i_device>) -> Handle<sam3i_model> {
    // SAFETY: a handle that lives, and a place for another.
    let load = |out| unsafe { sam3i_model_load_embedded(device.raw, out) };
    Handle::new(sam3i_model_free, load).expect("loads")
}

/// A picture a model has looked at.
pub fn encode(
    model: *const sam3i_model,
    picture: &ImageView,
    options: *const sam3i_encode_options,
) -> Result<Handle<sam3i_image>, sam3i_status> {
    let (rgb, width, height) = (picture.row(0).as_ptr(), picture.width(), picture.height());
    let stride = if height > 1 { picture.row(1).as_ptr().addr() - rgb.addr() } else { 3 * width };
    Handle::new(sam3i_image_free, |out| {
        // SAFETY: the view has all these bytes, the handle lives, and the options are null or whole.
        unsafe { sam3i_image_encode(model, rgb, width, height, stride, options, out) }
    })
}

/// An answer.
pub fn segment(
    model: *const sam3i_model,
    image: *const sam3i_image,
    prompt: *const sam3i_prompt,
    options: *const sam3i_segment_options,
) -> Result<Handle<sam3i_segmentation>, sam3i_status> {
    Handle::new(sam3i_segmentation_free, |out| {
        // SAFETY: handles that live or null, structs that are whole or null.
        unsafe { sam3i_segment(model, image, prompt, options, out) }
    })
}

/// An answer as a whole.
pub fn summary(found: &Handle<sam3i_segmentation>) -> sam3i_summary {
    // SAFETY: numbers, which may all be zero.
    let mut summary: sam3i_summary = unsafe { std::mem::zeroed() };
    summary.size = size_of::<sam3i_summary>();
    // SAFETY: a handle that lives and a whole struct.
    assert_eq!(unsafe { sam3i_segmentation_summary(found.raw, &mut summary) }, SAM3I_OK);
    summary
}

/// An instance; nothing but its size before it is filled in.
pub fn instance(found: &Handle<sam3i_segmentation>, index: usize) -> Result<sam3i_instance, sam3i_status> {
    let mut one = sam3i_instance {
        size: size_of::<sam3i_instance>(),
        query: 0,
        area: 0,
        score: 0.0,
        x0: 0.0,
        y0: 0.0,
        x1: 0.0,
        y1: 0.0,
        reserved: 0,
        rle: null(),
        rle_length: 0,
    };
    // SAFETY: a handle that lives and a whole struct.
    match unsafe { sam3i_segmentation_instance(found.raw, index, &mut one) } {
        SAM3I_OK => Ok(one),
        status => Err(status),
    }
}

/// A prompt with a sentence.
pub fn sentence(text: &CStr, level: i32) -> sam3i_prompt {
    sam3i_prompt { text: text.as_ptr(), level, ..Default::default() }
}

/// Nothing, for functions that allow it.
pub fn nothing<T>() -> *mut T {
    null_mut()
}

/// An empty folder, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes it. Names must differ between the tests of a binary.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sam3i-capi-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover in the system's temporary folder is only untidy.
        drop(fs::remove_dir_all(&self.0));
    }
}
