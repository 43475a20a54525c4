//! Ctrl-C, and the system's wish that a process end (SIGTERM, SIGHUP): the first asks a run to end in good order, the second
//! ends it at once.

use anyhow::{Context, Result};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell calls a run that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// Set once and for the whole process, as the signal is.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C and the other signals from now on.
///
/// # Errors
/// When the system does not let it.
pub fn watch() -> Result<()> {
    let asked = || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
        crate::terminal::line("interrupted: ending in good order; Ctrl-C again ends at once");
    };
    keeping_nohup(|| ctrlc::set_handler(asked).context("Ctrl-C cannot be watched for"))
}

/// Whether a run is to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// What the model is to do before its next step, for its `_watched` calls: it stops within a picture.
pub fn flow() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Sets handlers, and leaves the hang-up signal ignored where it was: `nohup` asks for that, and a handler would undo it.
#[cfg(unix)]
fn keeping_nohup(set: impl FnOnce() -> Result<()>) -> Result<()> {
    const HANG_UP: i32 = 1;
    const IGNORE: usize = 1;
    unsafe extern "C" {
        fn signal(signal: i32, handler: usize) -> usize;
    }
    // SAFETY: ignoring a signal runs no code of ours; the number is POSIX's for SIGHUP, and 1 is SIG_IGN on every Unix.
    let before = unsafe { signal(HANG_UP, IGNORE) };
    set()?;
    if before == IGNORE {
        // SAFETY: as above.
        unsafe { signal(HANG_UP, IGNORE) };
    }
    Ok(())
}

#[cfg(not(unix))]
fn keeping_nohup(set: impl FnOnce() -> Result<()>) -> Result<()> {
    set()
}
