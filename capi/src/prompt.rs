//! Prompts, and asking them.

use crate::arguments::{Growing, hand_out, options, required, string, utf8, values};
use crate::image::sam3i_image;
use crate::model::sam3i_model;
use crate::segmentation::sam3i_segmentation;
use crate::status::{Failure, Outcome, guard, sam3i_status};
use crate::watch::{sam3i_watch, watcher};
use sam3i::{Level, Prompt, SegmentOptions};
use std::ffi::{c_char, c_void};
use std::ptr;

/// A noun phrase: every instance.
pub const SAM3I_LEVEL_CONCEPT: i32 = 0;
/// A phrase that refers.
pub const SAM3I_LEVEL_SIMPLE: i32 = 1;
/// An instruction that names no noun.
pub const SAM3I_LEVEL_COMPLEX: i32 = 2;

/// An example box, in pixels.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_box {
    /// Left edge.
    pub x0: f32,
    /// Upper edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Lower edge.
    pub y1: f32,
    /// Whether it shows what is meant (1) or what is not (0).
    pub positive: i32,
}

/// An example point, in pixels.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_point {
    /// Pixels from the left.
    pub x: f32,
    /// Pixels from above.
    pub y: f32,
    /// Whether it lies on what is meant (1) or on what is not (0).
    pub positive: i32,
}

/// What a picture is asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_prompt {
    /// `sizeof(sam3i_prompt)`.
    pub size: usize,
    /// The sentence; null if the examples say it all.
    pub text: *const c_char,
    /// Example boxes.
    pub boxes: *const sam3i_box,
    /// How many.
    pub box_count: usize,
    /// Example points.
    pub points: *const sam3i_point,
    /// How many.
    pub point_count: usize,
    /// One of `SAM3I_LEVEL_*`.
    pub level: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `#[repr(C)]`, a `usize` first, and nothing but numbers and pointers.
unsafe impl Growing for sam3i_prompt {
    const NAME: &'static str = "sam3i_prompt";
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl Default for sam3i_prompt {
    fn default() -> Self {
        Self {
            size: size_of::<Self>(),
            text: ptr::null(),
            boxes: ptr::null(),
            box_count: 0,
            points: ptr::null(),
            point_count: 0,
            level: SAM3I_LEVEL_SIMPLE,
            reserved: 0,
        }
    }
}

impl sam3i_prompt {
    /// # Safety
    /// Its pointers are null or lead to what the header says.
    unsafe fn to_prompt(self) -> Outcome<Prompt> {
        let level = level(self.level)?;
        let mut prompt = if self.text.is_null() {
            Prompt::examples()
        } else {
            // SAFETY: by the caller's promise.
            let text = unsafe { string(self.text, "text") }?;
            Prompt::text(utf8(text, "text")?).level(level)
        };
        // SAFETY: by the caller's promise.
        for &sam3i_box { x0, y0, x1, y1, positive } in unsafe { values(self.boxes, self.box_count, "boxes") }?
        {
            let xyxy = [x0, y0, x1, y1];
            prompt = if positive != 0 { prompt.include_box(xyxy) } else { prompt.exclude_box(xyxy) };
        }
        // SAFETY: by the caller's promise.
        for &sam3i_point { x, y, positive } in unsafe { values(self.points, self.point_count, "points") }? {
            prompt = prompt.point([x, y], positive != 0);
        }
        Ok(prompt)
    }
}

fn level(number: i32) -> Outcome<Level> {
    match number {
        SAM3I_LEVEL_CONCEPT => Ok(Level::Concept),
        SAM3I_LEVEL_SIMPLE => Ok(Level::Simple),
        SAM3I_LEVEL_COMPLEX => Ok(Level::Complex),
        other => Err(Failure::argument(format!("level is {other}, which is none; use a SAM3I_LEVEL_*"))),
    }
}

/// The number of a level.
pub(crate) fn level_number(level: Level) -> i32 {
    match level {
        Level::Concept => SAM3I_LEVEL_CONCEPT,
        Level::Simple => SAM3I_LEVEL_SIMPLE,
        Level::Complex => SAM3I_LEVEL_COMPLEX,
    }
}

/// What counts as an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_segment_options {
    /// `sizeof(sam3i_segment_options)`.
    pub size: usize,
    /// Finds with a score above this are kept.
    pub threshold: f32,
    /// Pixels with a probability above this belong to a mask.
    pub mask_threshold: f32,
    /// Keep at most so many; 0 for all.
    pub top_k: usize,
    /// Drop masks of fewer pixels.
    pub min_area: usize,
    /// Who is told of each step.
    pub watch: sam3i_watch,
    /// What `watch` is called with.
    pub watch_user: *mut c_void,
}

// SAFETY: `#[repr(C)]`, a `usize` first, then numbers, a pointer and a nullable function pointer.
unsafe impl Growing for sam3i_segment_options {
    const NAME: &'static str = "sam3i_segment_options";
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl Default for sam3i_segment_options {
    fn default() -> Self {
        let SegmentOptions { threshold, mask_threshold, min_area, .. } = SegmentOptions::default();
        Self {
            size: size_of::<Self>(),
            threshold,
            mask_threshold,
            top_k: 0,
            min_area,
            watch: None,
            watch_user: ptr::null_mut(),
        }
    }
}

impl sam3i_segment_options {
    fn to_options(self) -> Outcome<SegmentOptions> {
        for (name, value) in [("threshold", self.threshold), ("mask_threshold", self.mask_threshold)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Failure::argument(format!("{name} is {value}; it goes from 0 to 1")));
            }
        }
        let options = SegmentOptions::default()
            .threshold(self.threshold)
            .mask_threshold(self.mask_threshold)
            .min_area(self.min_area);
        Ok(if self.top_k > 0 { options.top_k(self.top_k) } else { options })
    }
}

/// Finds everything in a picture that a prompt means.
///
/// # Safety
/// `model` and `image` are null or handles that live; `prompt` and `options` are null or as the header says; `segmentation` is
/// null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_segment(
    model: *const sam3i_model,
    image: *const sam3i_image,
    prompt: *const sam3i_prompt,
    options: *const sam3i_segment_options,
    segmentation: *mut *mut sam3i_segmentation,
) -> sam3i_status {
    let segment = || {
        // SAFETY: by the caller's promise.
        let (model, image) = unsafe { (required(model, "model")?, required(image, "image")?) };
        if !image.is_of(&model.model) {
            return Err(Failure::argument("image was encoded by another model; encode it with this one"));
        }
        if prompt.is_null() {
            return Err(Failure::argument("prompt is NULL; it has to say what to look for"));
        }
        // SAFETY: by the caller's promise.
        let prompt = unsafe { self::options(prompt, sam3i_prompt::default())?.to_prompt()? };
        // SAFETY: by the caller's promise.
        let options = unsafe { self::options(options, sam3i_segment_options::default()) }?;
        // SAFETY: by the caller's promise.
        let watch = unsafe { watcher(options.watch, options.watch_user) };
        let (embedding, options) = (&image.embedding, options.to_options()?);
        let answer = model.model.segment_watched(embedding, &prompt, &options, watch)?;
        Ok(sam3i_segmentation::new(answer, embedding))
    };
    // SAFETY: by the caller's promise.
    guard(|| unsafe { hand_out(segmentation, "segmentation", segment) })
}
