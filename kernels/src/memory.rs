//! Large buffers: on cache line boundaries, and in huge pages where the system has them to give.
//!
//! A vector that crosses a cache line costs two reads. 21 MB in pages of 4 KiB are five thousand page faults when they
//! are first written, and more pages than a core's address cache holds ever after.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// Values in one piece of memory; [`Buffer::zeroed`] puts the first of them on a cache line boundary.
#[derive(Clone, Debug, Default)]
pub struct Buffer<T> {
    store: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: bytemuck::Zeroable + Clone> Buffer<T> {
    /// `len` zeros, in huge pages as far as whole ones fit.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let spare = LINE / size_of::<T>().max(1);
        let store = vec![T::zeroed(); len + spare];
        let start = store.as_ptr().align_offset(LINE).min(spare);
        advise_huge_pages(&store);
        Self { store, start, len }
    }
}

impl<T> Buffer<T> {
    /// Values there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.store.len() - self.start
    }

    /// Makes it hold `len` values, at most its capacity; what they are is unspecified.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity());
        self.len = len;
    }
}

/// The values of a vector, where they are.
impl<T> From<Vec<T>> for Buffer<T> {
    fn from(store: Vec<T>) -> Self {
        let len = store.len();
        Self { store, start: 0, len }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.store[self.start..][..self.len]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.store[self.start..][..self.len]
    }
}

/// Asks the system to back the whole huge pages inside `memory` as such. It may not; nothing depends on it.
fn advise_huge_pages<T>(memory: &[T]) {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        /// Bytes of a huge page on x86-64 and on most aarch64 systems.
        const HUGE_PAGE: usize = 2 << 20;
        const MADV_HUGEPAGE: i32 = 14;
        unsafe extern "C" {
            fn madvise(start: *mut std::ffi::c_void, len: usize, advice: i32) -> i32;
        }
        let range = memory.as_ptr_range();
        let start = (range.start as usize).next_multiple_of(HUGE_PAGE);
        let end = range.end as usize / HUGE_PAGE * HUGE_PAGE;
        if start < end {
            // SAFETY: the range lies inside memory this process owns, and this advice changes no contents.
            unsafe { madvise(std::ptr::without_provenance_mut(start), end - start, MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    let _ = memory;
}

/// Asks for values that are to be read soon.
#[inline(always)]
pub(crate) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(LINE / size_of::<f32>()) {
        use std::arch::x86_64::*;
        // SAFETY: every x86-64 processor has the instruction, and it reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_buffer_is_aligned_and_zero() {
        for len in [0, 1, 1000, 3 << 20] {
            let buffer = Buffer::<f32>::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % LINE, 0);
            assert!(buffer.iter().all(|&v| v == 0.0) && buffer.capacity() >= len);
        }
    }

    #[test]
    fn a_vector_keeps_its_values() {
        let mut buffer = Buffer::from(vec![1, 2, 3]);
        buffer[0] = 4;
        buffer.set_len(2);
        assert_eq!((&buffer[..], buffer.capacity()), (&[4, 2][..], 3));
    }
}
