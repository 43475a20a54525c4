//! Host memory: buffers that go back to their device's pool on drop, and the count of what is in use.

use sam3i_kernels::memory::Buffer;
use std::sync::{Arc, Mutex, PoisonError};

/// How much tensor memory a device has handed out, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held by live tensors and packed weights now.
    pub live: usize,
    /// The largest `live` there has been.
    pub peak: usize,
    /// Kept for reuse, held by nothing.
    pub cached: usize,
    /// The largest `live` and `cached` together there have been: what was taken from the system.
    pub peak_held: usize,
}

impl MemoryUse {
    /// Notes the peaks after a change.
    pub(crate) fn note(&mut self) {
        self.peak = self.peak.max(self.live);
        self.peak_held = self.peak_held.max(self.live + self.cached);
    }
}

/// Buffers below this size are not worth keeping.
const SMALLEST_CACHED: usize = 64 * 1024;
/// What the pool keeps at most for reuse.
const LARGEST_CACHE: usize = 512 * 1024 * 1024;

#[derive(Default)]
struct State {
    free: Vec<Buffer<f32>>,
    usage: MemoryUse,
}

/// A device's pool of host buffers. Cheap to clone: all clones are the same pool.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<State>>);

impl Pool {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn usage(&self) -> MemoryUse {
        self.state().usage
    }

    /// Forgets the kept buffers.
    pub(crate) fn trim(&self) {
        let mut state = self.state();
        state.free = Vec::new();
        state.usage.cached = 0;
    }

    /// A buffer of `len` elements with unspecified contents.
    pub(crate) fn take(&self, len: usize) -> HostBuffer {
        let bytes = len * size_of::<f32>();
        let reused = {
            let mut state = self.state();
            state.usage.live += bytes;
            let reused = best_fit(&state.free, len).map(|i| state.free.swap_remove(i));
            state.usage.cached -= reused.as_ref().map_or(0, |buffer| buffer.capacity() * size_of::<f32>());
            state.usage.note();
            reused
        };
        let mut values = reused.unwrap_or_else(|| Buffer::zeroed(len));
        values.set_len(len);
        if cfg!(debug_assertions) {
            values.fill(f32::NAN); // shows a kernel that does not write its whole output
        }
        HostBuffer { values, bytes, pool: self.clone(), kept: true }
    }

    /// Counts `values` as handed out by this pool. They are not kept for reuse: what comes from outside keeps coming, and
    /// would fill the pool.
    pub(crate) fn adopt(&self, values: Vec<f32>) -> HostBuffer {
        let bytes = self.count(values.len() * size_of::<f32>());
        HostBuffer { values: values.into(), bytes, pool: self.clone(), kept: false }
    }

    /// Counts memory as handed out; pair with [`Pool::uncount`].
    fn count(&self, bytes: usize) -> usize {
        let mut state = self.state();
        state.usage.live += bytes;
        state.usage.note();
        bytes
    }

    fn uncount(&self, bytes: usize) {
        self.state().usage.live -= bytes;
    }

    fn give_back(&self, values: Buffer<f32>, bytes: usize) {
        let mut state = self.state();
        state.usage.live -= bytes;
        let size = values.capacity() * size_of::<f32>();
        if size >= SMALLEST_CACHED && state.usage.cached + size <= LARGEST_CACHE {
            state.usage.cached += size;
            state.usage.note();
            state.free.push(values);
        }
    }
}

/// The smallest free buffer that holds `len` elements without wasting more than a quarter of it.
fn best_fit(free: &[Buffer<f32>], len: usize) -> Option<usize> {
    free.iter()
        .enumerate()
        .filter(|(_, b)| b.capacity() >= len && b.capacity() <= len + len / 4 + 16)
        .min_by_key(|(_, b)| b.capacity())
        .map(|(i, _)| i)
}

/// `f32` values in host memory that return to their pool on drop.
pub(crate) struct HostBuffer {
    pub(crate) values: Buffer<f32>,
    bytes: usize,
    pool: Pool,
    /// Whether the pool keeps them for reuse.
    kept: bool,
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        if self.kept {
            self.pool.give_back(std::mem::take(&mut self.values), self.bytes);
        } else {
            self.pool.uncount(self.bytes);
        }
    }
}

/// Something in host memory that is no [`HostBuffer`] (half-precision bits, packed weights), counted while it lives.
pub(crate) struct Counted<T> {
    pub(crate) value: T,
    bytes: usize,
    pool: Pool,
}

impl<T> Counted<T> {
    pub(crate) fn new(value: T, bytes: usize, pool: &Pool) -> Self {
        Self { value, bytes: pool.count(bytes), pool: pool.clone() }
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.pool.uncount(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_and_given_back() {
        let pool = Pool::default();
        let a = pool.take(1 << 20);
        let b = pool.adopt(vec![0.0; 10]);
        assert_eq!(pool.usage().live, (4 << 20) + 40);
        drop((a, b));
        assert_eq!(pool.usage().live, 0);
        assert_eq!(pool.usage().peak, (4 << 20) + 40);
        assert!(pool.usage().cached >= 4 << 20);
        pool.trim();
        assert_eq!(pool.usage().cached, 0);
    }

    #[test]
    fn the_pool_does_not_grow_with_use() {
        let pool = Pool::default();
        let round = || {
            drop((pool.adopt(vec![0.0; 1 << 20]), pool.take(1 << 20)));
            // A buffer that served a smaller request serves the larger one again.
            drop(pool.take((1 << 20) - 1000));
            assert_eq!(pool.take(1 << 20).values.len(), 1 << 20);
        };
        round();
        let cached = pool.usage().cached;
        (0..10).for_each(|_| round());
        assert_eq!(pool.usage().cached, cached);
        assert!(cached <= 5 << 20, "{cached}");
    }

    #[test]
    fn a_freed_buffer_is_reused_for_the_same_size() {
        let pool = Pool::default();
        let address = pool.take(1 << 20).values.as_ptr();
        let again = pool.take(1 << 20);
        assert_eq!(again.values.as_ptr(), address);
        assert_eq!(pool.usage().cached, 0);
    }
}
