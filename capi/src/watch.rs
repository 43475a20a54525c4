//! Being told of each step, and stopping.

use sam3i::watch::{Stage, Step};
use std::ffi::c_void;
use std::ops::ControlFlow;

/// Looking at the picture.
pub const SAM3I_STAGE_IMAGE: i32 = 0;
/// Reading the sentence.
pub const SAM3I_STAGE_TEXT: i32 = 1;
/// Looking for what it means.
pub const SAM3I_STAGE_GROUNDING: i32 = 2;
/// Making masks.
pub const SAM3I_STAGE_MASKS: i32 = 3;

/// Is called before each step with what came with it, the stage, and how many of how many steps are done; 0 goes on.
pub type sam3i_watch =
    Option<unsafe extern "C" fn(user: *mut c_void, stage: i32, done: usize, of: usize) -> i32>;

/// The library's watcher for one of C.
///
/// # Safety
/// `watch` is null, or can be called with `user` as long as the result is.
pub(crate) unsafe fn watcher(watch: sam3i_watch, user: *mut c_void) -> impl Fn(Step) -> ControlFlow<()> {
    move |step| {
        let Some(watch) = watch else { return ControlFlow::Continue(()) };
        // SAFETY: by the caller's promise.
        match unsafe { watch(user, number(step.stage), step.done, step.of) } {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

fn number(stage: Stage) -> i32 {
    match stage {
        Stage::Image => SAM3I_STAGE_IMAGE,
        Stage::Text => SAM3I_STAGE_TEXT,
        Stage::Grounding => SAM3I_STAGE_GROUNDING,
        Stage::Masks => SAM3I_STAGE_MASKS,
        stage => unreachable!("{stage:?} has no number in sam3i.h"),
    }
}
