//! GPU memory: buffers that go back to their pool on drop, a count of what is in use, and a bound.
//!
//! A buffer may be given out again as soon as it is dropped: the queue runs dispatches in the order they were recorded in,
//! so whoever writes it next does so after those who still read it.

use super::GpuOptions;
use super::context::Inner;
use crate::memory::MemoryUse;
use crate::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the pool keeps at most for reuse.
const LARGEST_CACHE: u64 = 1 << 30;
/// Buffers that are kept for reuse at most: small ones, such as those of uploads, would pile up.
const MOST_KEPT: usize = 2048;
/// Sizes are rounded up to this, the largest alignment any device asks for.
const GRAIN: u64 = 256;

/// A buffer with its number, which nothing else ever gets.
pub(super) struct Raw {
    pub number: u64,
    pub buffer: wgpu::Buffer,
}

/// Memory on the GPU. It returns to its pool on drop.
pub(crate) struct Buffer {
    raw: Option<Raw>,
    gpu: Arc<Inner>,
}

impl Buffer {
    pub(super) fn new(raw: Raw, gpu: Arc<Inner>) -> Self {
        Self { raw: Some(raw), gpu }
    }

    pub(super) fn raw(&self) -> &Raw {
        self.raw.as_ref().expect("present until dropped")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.gpu.pool.give_back(raw);
        }
    }
}

/// A buffer that is kept for reuse, and when it was given back.
struct Kept {
    raw: Raw,
    since: u64,
}

#[derive(Default)]
struct State {
    /// By size; of one size the one that was given back first comes first.
    free: BTreeMap<u64, VecDeque<Kept>>,
    kept: usize,
    usage: MemoryUse,
    /// Counts buffers that were given back.
    clock: u64,
    numbers: u64,
    /// Numbers of buffers that were given up, and that somebody may still hold on to.
    gone: Vec<u64>,
}

impl State {
    /// Gives the buffer up that was kept the longest; whether there was one.
    fn give_up_one(&mut self) -> bool {
        let oldest =
            self.free.iter().min_by_key(|(_, list)| list.front().map_or(u64::MAX, |kept| kept.since));
        let Some(size) = oldest.map(|(&size, _)| size) else { return false };
        self.unkeep(size, VecDeque::pop_front).map(|raw| self.gone.push(raw.number)).is_some()
    }

    /// Takes a kept buffer of exactly this size off the list.
    fn unkeep(&mut self, size: u64, which: fn(&mut VecDeque<Kept>) -> Option<Kept>) -> Option<Raw> {
        let list = self.free.get_mut(&size)?;
        let kept = which(list)?;
        if list.is_empty() {
            self.free.remove(&size);
        }
        self.kept -= 1;
        self.usage.cached -= size as usize;
        Some(kept.raw)
    }

    /// Gives kept buffers up, those that were not used for the longest time first, until all memory together is at most so
    /// much, or none is left.
    fn shrink(&mut self, most: u64) {
        while (self.usage.live + self.usage.cached) as u64 > most && self.give_up_one() {}
    }
}

/// All memory of a device.
pub(super) struct Pool {
    state: Mutex<State>,
    budget: u64,
    /// The largest buffer the device has, and the largest that a kernel sees.
    most: u64,
    most_binding: u64,
    /// Where the device pretends to have no more, for tests.
    pretended: AtomicU64,
}

impl Pool {
    pub fn new(options: &GpuOptions, limits: &wgpu::Limits) -> Self {
        Self {
            state: Mutex::default(),
            budget: options.budget.unwrap_or(u64::MAX),
            most: limits.max_buffer_size,
            most_binding: limits.max_storage_buffer_binding_size,
            pretended: AtomicU64::new(u64::MAX),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the device pretend to have no more memory than this.
    pub fn pretend(&self, bytes: u64) {
        self.pretended.store(bytes, Ordering::Relaxed);
    }

    pub fn usage(&self) -> MemoryUse {
        self.state().usage
    }

    /// Gives up all that is kept for reuse.
    pub fn trim(&self) {
        let mut state = self.state();
        while state.give_up_one() {}
    }

    /// A kept buffer of at least so many bytes, with unspecified contents. What a kernel could see stays so.
    pub fn reuse(&self, bytes: u64) -> Option<Raw> {
        let size = rounded(bytes);
        let roomy = size + size / 4;
        let most = if size <= self.most_binding { roomy.min(self.most_binding) } else { roomy };
        let mut state = self.state();
        let (&found, _) = state.free.range(size..=most).next()?;
        let raw = state.unkeep(found, VecDeque::pop_back)?;
        count(&mut state.usage, found);
        Some(raw)
    }

    /// A new buffer, after [`Self::make_room`].
    pub fn create(&self, device: &wgpu::Device, bytes: u64, mapped: bool) -> Result<Raw> {
        let size = rounded(bytes);
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: mapped,
        });
        let error = pollster::block_on(scope.pop());
        let mut state = self.state();
        let live = state.usage.live as u64;
        if error.is_some()
            || (live + state.usage.cached as u64).saturating_add(size)
                > self.pretended.load(Ordering::Relaxed)
        {
            return Err(Error::GpuMemory { wanted: size, live, bound: "the device has no more".to_owned() });
        }
        count(&mut state.usage, size);
        state.numbers += 1;
        Ok(Raw { number: state.numbers, buffer })
    }

    /// Numbers of buffers that were given up since this was last asked.
    pub fn gone(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().gone)
    }

    /// Fails if so many bytes more would be too many, even without what is kept for reuse; that is given up where the memory
    /// in all would grow, so that only what is live makes it grow.
    pub fn make_room(&self, bytes: u64) -> Result<()> {
        let size = rounded(bytes);
        let mut state = self.state();
        let live = state.usage.live as u64;
        let too_large = size > self.most;
        if too_large || live.saturating_add(size) > self.budget {
            let bound = if too_large {
                format!("the device's largest buffer has {} MiB", self.most >> 20)
            } else {
                format!("the bound set for it is {} MiB", self.budget >> 20)
            };
            return Err(Error::GpuMemory { wanted: size, live, bound });
        }
        let most = self.budget.min(state.usage.peak_held as u64);
        state.shrink(most.saturating_sub(size));
        Ok(())
    }

    fn give_back(&self, raw: Raw) {
        let mut state = self.state();
        let size = raw.buffer.size();
        state.usage.live -= size as usize;
        state.usage.cached += size as usize;
        state.clock += 1;
        state.kept += 1;
        let since = state.clock;
        state.free.entry(size).or_default().push_back(Kept { raw, since });
        while (state.usage.cached as u64 > LARGEST_CACHE || state.kept > MOST_KEPT) && state.give_up_one() {}
    }
}

/// Writes to a buffer that was made mapped.
pub(super) fn fill(buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() {
        let range = 0..bytes.len().next_multiple_of(4) as u64;
        let mut view = buffer.get_mapped_range_mut(range).map_err(|e| failed("upload", e))?;
        view.slice(..bytes.len()).copy_from_slice(bytes);
    }
    buffer.unmap();
    Ok(())
}

fn rounded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(GRAIN)
}

fn count(usage: &mut MemoryUse, size: u64) {
    usage.live += size as usize;
    usage.note();
}

/// An error of wgpu about memory.
pub(super) fn failed(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Gpu { what: what.to_owned(), reason: reason.to_string() }
}
