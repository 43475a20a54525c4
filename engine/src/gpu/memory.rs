//! GPU memory: buffers that go back to their pool on drop, a count of what is in use, and a bound.
//!
//! A buffer may be given out again as soon as it is dropped: the queue runs dispatches in the order they were recorded in,
//! so whoever writes it next does so after those who still read it.

use super::context::Inner;
use crate::memory::MemoryUse;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the pool keeps at most for reuse.
const LARGEST_CACHE: u64 = 1 << 30;
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

#[derive(Default)]
struct State {
    free: BTreeMap<u64, Vec<Raw>>,
    usage: MemoryUse,
    numbers: u64,
    /// Numbers of buffers that were given up, and that somebody may still hold on to.
    gone: Vec<u64>,
}

impl State {
    /// Gives kept buffers up, the largest first, until all memory together is at most so much, or none is left.
    fn shrink(&mut self, most: u64) {
        while (self.usage.live + self.usage.cached) as u64 > most {
            let Some(mut largest) = self.free.last_entry() else { return };
            let size = *largest.key();
            match largest.get_mut().pop() {
                Some(raw) => {
                    self.usage.cached -= size as usize;
                    self.gone.push(raw.number);
                }
                None => drop(largest.remove()),
            }
        }
    }
}

/// All memory of a device.
pub(super) struct Pool {
    state: Mutex<State>,
    budget: u64,
    most: u64,
}

impl Pool {
    /// `most` is the largest buffer the device has.
    pub fn new(budget: Option<u64>, most: u64) -> Self {
        Self { state: Mutex::default(), budget: budget.unwrap_or(u64::MAX), most }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn usage(&self) -> MemoryUse {
        self.state().usage
    }

    /// Forgets the kept buffers.
    pub fn trim(&self) {
        let mut state = self.state();
        state.free.clear();
        state.usage.cached = 0;
    }

    /// A buffer of at least so many bytes with unspecified contents.
    pub fn take(&self, device: &wgpu::Device, bytes: u64) -> Result<Raw> {
        let size = rounded(bytes);
        if let Some(raw) = self.reuse(size) {
            return Ok(raw);
        }
        self.create(device, size, false)
    }

    fn reuse(&self, size: u64) -> Option<Raw> {
        let mut state = self.state();
        let most = size + size / 4;
        let (&found, list) = state.free.range_mut(size..=most).find(|(_, list)| !list.is_empty())?;
        let raw = list.pop()?;
        state.usage.cached -= found as usize;
        count(&mut state.usage, found);
        Some(raw)
    }

    /// A fresh buffer with these bytes. It must be fresh: what is written to it is there before anything that has been
    /// recorded and not submitted, so an old one's readers would see it too early.
    pub fn upload(&self, device: &wgpu::Device, bytes: &[u8]) -> Result<Raw> {
        let raw = self.create(device, rounded(bytes.len() as u64), true)?;
        if !bytes.is_empty() {
            let range = 0..bytes.len().next_multiple_of(4) as u64;
            let mut view = raw.buffer.get_mapped_range_mut(range).map_err(|e| failed("upload", e))?;
            view.slice(..bytes.len()).copy_from_slice(bytes);
        }
        raw.buffer.unmap();
        Ok(raw)
    }

    fn create(&self, device: &wgpu::Device, size: u64, mapped: bool) -> Result<Raw> {
        self.make_room(size)?;
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: mapped,
        });
        let error = pollster::block_on(scope.pop());
        let mut state = self.state();
        if error.is_some() {
            let live = state.usage.live as u64;
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
    fn make_room(&self, size: u64) -> Result<()> {
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
        if state.usage.cached as u64 + size <= LARGEST_CACHE {
            state.usage.cached += size as usize;
            state.free.entry(size).or_default().push(raw);
        }
    }
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
