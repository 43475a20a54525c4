//! Where the recorded numbers lie.

use std::path::{Path, PathBuf};

/// The folder of recorded numbers: `SAM3I_GOLDENS`, else `../shared/goldens` beside the workspace.
///
/// `None` (after one loud line) where there is none, so that a bare clone still tests everything else; with
/// `SAM3I_REQUIRE_GOLDENS` set that is a failure.
pub fn goldens_dir() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens");
    let dir = std::env::var_os("SAM3I_GOLDENS").map_or(beside, PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    let message = format!("no recorded numbers in {}; set SAM3I_GOLDENS", dir.display());
    assert!(std::env::var_os("SAM3I_REQUIRE_GOLDENS").is_none(), "{message}");
    eprintln!("SKIPPED: {message}");
    None
}

/// The small recorded files that are part of the repository.
pub fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}
