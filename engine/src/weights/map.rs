//! The bytes of a weight file: mapped into memory, read-only, or part of the program.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// The bytes of a file, paged in as they are touched.
#[derive(Debug)]
pub(super) enum FileMap {
    /// A file on disk.
    Mapped(memmap2::Mmap),
    /// Bytes that are there as long as the program runs.
    Static(&'static [u8]),
}

impl FileMap {
    /// Maps the whole file.
    #[allow(unsafe_code)]
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let info = file.metadata()?;
        if info.is_dir() {
            return Err(std::io::Error::other("this is a directory; give the file in it"));
        }
        if info.len() == 0 {
            return Ok(Self::Static(&[]));
        }
        // SAFETY: the map is private to this type, read-only and handed out as shared slices only. Another process
        // that writes to the file while it is mapped could change those bytes under us: they are only ever copied
        // out as numbers or parsed once with every index checked, so the worst outcome is wrong numbers, and a file
        // cut short under us ends the process with a bus error. Weight files are written once; we accept that.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self::Mapped(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }

    /// Lets go of the pages of `range`: they no longer count as resident memory, and are read again when touched.
    /// Does nothing where the system has no such advice, and to bytes of the program.
    #[allow(unsafe_code)]
    pub(super) fn release(&self, range: Range<usize>) {
        let Self::Mapped(map) = self else { return };
        if range.is_empty() || range.end > map.len() {
            return;
        }
        #[cfg(unix)]
        {
            // SAFETY: `range` is within the map (checked above). The map is a shared, read-only view of a file, for
            // which "don't need" only drops pages: the next access brings the same bytes back from the file.
            let released = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
            };
            // Advice only: a system that refuses it keeps the pages, and nothing else changes.
            drop(released);
        }
    }
}
