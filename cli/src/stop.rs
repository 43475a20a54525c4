//! Ctrl-C: the first asks a run to end in good order, the second ends it at once.

use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell calls a run that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// Set once and for the whole process, as the signal is.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C from now on.
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
    ctrlc::set_handler(asked).context("Ctrl-C cannot be watched for")
}

/// Whether a run is to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
