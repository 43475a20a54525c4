//! Answers.

use crate::arguments::{Growing, fill, required, take_back};
use crate::prompt::level_number;
use crate::status::{Failure, Outcome, guard, quietly, sam3i_status};
use sam3i::{ImageEmbedding, Instance, Segmentation};
use std::ffi::{CString, c_char};

/// An answer as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_summary {
    /// `sizeof(sam3i_summary)`.
    pub size: usize,
    /// Instances.
    pub count: usize,
    /// Pixels across the picture and its masks.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Tokens of the sentence, before any cut.
    pub tokens: usize,
    /// How sure the model is that the picture shows anything that is meant, 0 to 1.
    pub presence: f32,
    /// The level it ran at.
    pub level: i32,
    /// Whether the sentence was cut.
    pub truncated: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `#[repr(C)]`, a `usize` first, and nothing but numbers.
unsafe impl Growing for sam3i_summary {
    const NAME: &'static str = "sam3i_summary";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// One thing that was found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_instance {
    /// `sizeof(sam3i_instance)`.
    pub size: usize,
    /// The query that found it.
    pub query: usize,
    /// Pixels of its mask.
    pub area: usize,
    /// How well it matches, 0 to 1.
    pub score: f32,
    /// Left edge of its box, in pixels.
    pub x0: f32,
    /// Upper edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Lower edge.
    pub y1: f32,
    /// 0.
    pub reserved: i32,
    /// Its mask in COCO's compressed run-length code.
    pub rle: *const c_char,
    /// Bytes of `rle`.
    pub rle_length: usize,
}

// SAFETY: `#[repr(C)]`, a `usize` first, and nothing but numbers and a pointer.
unsafe impl Growing for sam3i_instance {
    const NAME: &'static str = "sam3i_instance";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// The answer to a prompt.
pub struct sam3i_segmentation {
    answer: Segmentation,
    /// The masks' run-length codes, as C reads them.
    codes: Vec<CString>,
    width: usize,
    height: usize,
}

impl sam3i_segmentation {
    pub(crate) fn new(answer: Segmentation, image: &ImageEmbedding) -> Self {
        let code = |one: &Instance| CString::new(&*one.rle.counts).expect("its characters begin at 48");
        let codes = answer.instances.iter().map(code).collect();
        Self { answer, codes, width: image.width(), height: image.height() }
    }

    fn find(&self, index: usize) -> Outcome<(&Instance, &CString)> {
        let found = self.answer.instances.get(index).zip(self.codes.get(index));
        found.ok_or_else(|| {
            let count = self.codes.len();
            Failure::argument(format!("index is {index}, but {count} were found, counted from 0"))
        })
    }
}

/// Tells of an answer as a whole.
///
/// # Safety
/// `segmentation` is null or a handle that lives; `summary` is null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_segmentation_summary(
    segmentation: *const sam3i_segmentation,
    summary: *mut sam3i_summary,
) -> sam3i_status {
    guard(|| {
        // SAFETY: by the caller's promise.
        let found = unsafe { required(segmentation, "segmentation") }?;
        let value = sam3i_summary {
            size: size_of::<sam3i_summary>(),
            count: found.codes.len(),
            width: found.width,
            height: found.height,
            tokens: found.answer.tokens,
            presence: found.answer.presence,
            level: level_number(found.answer.level),
            truncated: found.answer.truncated.into(),
            reserved: 0,
        };
        // SAFETY: by the caller's promise.
        unsafe { fill(summary, value, "summary") }
    })
}

/// Tells of an instance, best first.
///
/// # Safety
/// `segmentation` is null or a handle that lives; `instance` is null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_segmentation_instance(
    segmentation: *const sam3i_segmentation,
    index: usize,
    instance: *mut sam3i_instance,
) -> sam3i_status {
    guard(|| {
        // SAFETY: by the caller's promise.
        let (one, code) = unsafe { required(segmentation, "segmentation") }?.find(index)?;
        let [x0, y0, x1, y1] = one.box_xyxy;
        let value = sam3i_instance {
            size: size_of::<sam3i_instance>(),
            query: one.query,
            area: one.area,
            score: one.score,
            x0,
            y0,
            x1,
            y1,
            reserved: 0,
            rle: code.as_ptr(),
            rle_length: code.count_bytes(),
        };
        // SAFETY: by the caller's promise.
        unsafe { fill(instance, value, "instance") }
    })
}

/// Writes the mask of an instance, a byte a pixel, row `y` to `buffer + y * stride`.
///
/// # Safety
/// `segmentation` is null or a handle that lives; `buffer` is null, or `buffer_size` bytes can be written there, which
/// nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_segmentation_mask(
    segmentation: *const sam3i_segmentation,
    index: usize,
    value: u8,
    buffer: *mut u8,
    buffer_size: usize,
    stride: usize,
) -> sam3i_status {
    guard(|| {
        // SAFETY: by the caller's promise.
        let found = unsafe { required(segmentation, "segmentation") }?;
        let (one, _) = found.find(index)?;
        if value == 0 {
            return Err(Failure::argument("value is 0, which is what pixels outside get; use 1 to 255"));
        }
        if buffer.is_null() {
            return Err(Failure::argument("buffer is NULL; it has to lead somewhere"));
        }
        let (width, height) = (found.width, found.height);
        if stride < width {
            return Err(Failure::buffer(format!(
                "rows of {width} pixels do not fit a stride of {stride} bytes"
            )));
        }
        let needed = stride.checked_mul(height - 1).and_then(|bytes| bytes.checked_add(width));
        if needed.is_none_or(|needed| needed > buffer_size) {
            return Err(Failure::buffer(format!(
                "{buffer_size} bytes are too few for a mask of {width} x {height} pixels, {stride} bytes a row"
            )));
        }
        let mut mask = one.mask()?;
        mask.bits.iter_mut().for_each(|bit| *bit *= value);
        for (y, row) in mask.bits.chunks_exact(width).enumerate() {
            // SAFETY: `needed` bytes are there, by the caller's promise, and the last row ends with the last of them.
            unsafe { buffer.add(y * stride).copy_from_nonoverlapping(row.as_ptr(), width) };
        }
        Ok(())
    })
}

/// Frees an answer, and the strings that were asked of it.
///
/// # Safety
/// `segmentation` is null, or a handle that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_segmentation_free(segmentation: *mut sam3i_segmentation) {
    // SAFETY: by the caller's promise.
    quietly(|| unsafe { take_back(segmentation) });
}
