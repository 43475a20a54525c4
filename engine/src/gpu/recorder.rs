//! Dispatches on their way to the GPU: recorded into one compute pass, submitted a few dozen at a time.

use super::GpuCounts;
use super::health::Health;
use super::memory::Raw;
use super::pace::Pace;
use super::pipelines::Pipeline;
use super::timer::Timer;
use crate::Result;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Dispatches of a submission.
const MOST_DISPATCHES: usize = 64;
/// Bytes of uploads of a submission.
const MOST_UPLOADED: usize = 64 << 20;
/// A wait this long was one; else the GPU was done before, and nobody knows when.
const NOTICEABLE: Duration = Duration::from_micros(100);
/// Submissions the GPU may be behind.
const MOST_IN_FLIGHT: usize = 2;
/// Bytes of a dispatch's parameters in the arena: the largest alignment any device asks for.
pub(super) const SLOT: usize = 256;
/// Bind groups that are kept.
const MOST_BIND_GROUPS: usize = 8192;

type Key = (usize, Vec<u64>);

/// A submission that the GPU may not be done with.
struct Sent {
    index: wgpu::SubmissionIndex,
    work: u64,
    at: Instant,
}

/// What has been recorded and not yet submitted.
pub(super) struct Recorder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    health: Health,
    arena: wgpu::Buffer,
    params: Vec<u8>,
    open: Option<(wgpu::ComputePass<'static>, wgpu::CommandEncoder)>,
    /// Bytes that were uploaded since the last submission. The driver holds them twice until the next one is done.
    uploaded: usize,
    work: u64,
    in_flight: VecDeque<Sent>,
    pace: Pace,
    bind_groups: HashMap<Key, wgpu::BindGroup>,
    timer: Option<Timer>,
    /// Whether passes are timed, the open one too.
    timed: bool,
    counts: GpuCounts,
    /// Submissions after which the device is given up.
    last: u64,
}

impl Recorder {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, health: &Health, last: u64) -> Self {
        let arena = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (MOST_DISPATCHES * SLOT) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            device: device.clone(),
            queue: queue.clone(),
            health: health.clone(),
            arena,
            params: Vec::new(),
            open: None,
            uploaded: 0,
            work: 0,
            in_flight: VecDeque::new(),
            pace: Pace::default(),
            bind_groups: HashMap::new(),
            timer: Timer::new(device, queue),
            timed: false,
            counts: GpuCounts::default(),
            last,
        }
    }

    /// Times what is recorded from now on, or stops doing so. Nothing changes where the GPU does not tell its time.
    pub fn time(&mut self, timed: bool) -> Result<()> {
        let timed = timed && self.timer.is_some();
        if timed != self.timed && self.open.is_some() {
            self.submit()?;
        }
        self.timed = timed;
        Ok(())
    }

    /// What the GPU spent on timed passes that were submitted since this was last asked.
    pub fn take_time(&mut self) -> Option<Duration> {
        self.timer.as_mut()?.take()
    }

    /// Adds a dispatch. `buffers` are its operands and its result, in the order of their bindings.
    pub fn dispatch(
        &mut self,
        pipeline: &Pipeline,
        params: &[u8],
        buffers: &[&Raw],
        groups: [u32; 3],
        work: u64,
    ) -> Result<()> {
        debug_assert!(params.len() <= SLOT);
        if self.params.len() >= MOST_DISPATCHES * SLOT
            || (self.work > 0 && self.work + work > self.pace.most())
        {
            self.submit()?;
        }
        let bind_group = self.bind_group(pipeline, params.len(), buffers);
        let offset = self.params.len();
        self.params.extend_from_slice(params);
        self.params.resize(offset + SLOT, 0);
        self.work += work;
        let (pass, _) = self.open.get_or_insert_with(|| {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let timer = self.timer.as_ref().filter(|_| self.timed);
            let descriptor =
                wgpu::ComputePassDescriptor { label: None, timestamp_writes: timer.map(Timer::writes) };
            let pass = encoder.begin_compute_pass(&descriptor).forget_lifetime();
            (pass, encoder)
        });
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &bind_group, &[offset as u32]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        Ok(())
    }

    fn bind_group(&mut self, pipeline: &Pipeline, params: usize, buffers: &[&Raw]) -> wgpu::BindGroup {
        let key = (pipeline.number, buffers.iter().map(|raw| raw.number).collect::<Vec<_>>());
        if let Some(made) = self.bind_groups.get(&key) {
            return made.clone();
        }
        let parameters = wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.arena,
                offset: 0,
                size: wgpu::BufferSize::new(params as u64),
            }),
        };
        let operands = buffers.iter().enumerate().map(|(i, raw)| wgpu::BindGroupEntry {
            binding: i as u32 + 1,
            resource: raw.buffer.as_entire_binding(),
        });
        let made = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &[parameters].into_iter().chain(operands).collect::<Vec<_>>(),
        });
        if self.bind_groups.len() >= MOST_BIND_GROUPS {
            self.bind_groups.clear();
        }
        self.bind_groups.insert(key, made.clone());
        made
    }

    /// Counts an upload. Much of it is sent at once: what was uploaded is held a second time until it is.
    pub fn uploaded(&mut self, bytes: usize) -> Result<()> {
        self.uploaded += bytes;
        if self.uploaded >= MOST_UPLOADED { self.submit() } else { Ok(()) }
    }

    /// Forgets the bind groups of buffers with these numbers.
    pub fn forget(&mut self, gone: &[u64]) {
        self.bind_groups.retain(|(_, buffers), _| !buffers.iter().any(|number| gone.contains(number)));
    }

    /// Forgets the bind groups: they hold on to the memory of buffers that are gone.
    pub fn trim(&mut self) {
        self.bind_groups.clear();
    }

    /// What the GPU was asked so far.
    pub fn counts(&self) -> GpuCounts {
        self.counts
    }

    /// Sends what was recorded, and commands that copy so many bytes to where the host reads them; the submission, to wait for.
    pub fn read_with(
        &mut self,
        bytes: u64,
        copy: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        self.counts.reads += 1;
        self.counts.read_bytes += bytes;
        self.submit_with(copy)
    }

    /// Sends what was recorded, and waits if the GPU is too far behind.
    pub fn submit(&mut self) -> Result<()> {
        self.submit_with(|_| ()).map(|_| ())
    }

    /// The same, with further commands after what was recorded; the submission, to wait for.
    fn submit_with(&mut self, add: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<wgpu::SubmissionIndex> {
        let mut timer = self.timer.as_mut().filter(|_| self.timed && self.open.is_some());
        let mut encoder = match self.open.take() {
            Some((pass, mut encoder)) => {
                drop(pass); // ends it
                if let Some(timer) = &timer {
                    timer.resolve(&mut encoder);
                }
                encoder
            }
            None => self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()),
        };
        add(&mut encoder);
        if !self.params.is_empty() {
            self.queue.write_buffer(&self.arena, 0, &self.params);
        }
        self.params.clear();
        let work = std::mem::take(&mut self.work);
        self.uploaded = 0;
        if self.counts.submissions >= self.last {
            self.device.destroy();
        }
        self.counts.submissions += 1;
        let index = self.queue.submit([encoder.finish()]);
        self.in_flight.push_back(Sent { index: index.clone(), work, at: Instant::now() });
        if let Some(timer) = timer.as_mut() {
            let added = timer.add(&self.device, &index);
            self.health.check()?; // explains the other
            added?;
        }
        drop(self.device.poll(wgpu::PollType::Poll)); // lets news of a lost device arrive before its consequences
        while self.in_flight.len() > MOST_IN_FLIGHT {
            let Some(sent) = self.in_flight.pop_front() else { break };
            self.wait_for(sent)?;
        }
        self.health.check()?;
        Ok(index)
    }

    /// Sends what was recorded and waits until the GPU has done it all.
    pub fn finish(&mut self) -> Result<()> {
        if self.open.is_some() || self.uploaded > 0 {
            self.submit()?;
        }
        while let Some(sent) = self.in_flight.pop_front() {
            self.wait_for(sent)?;
        }
        self.health.check()
    }

    /// Waits for a submission, and learns from it where there was something to wait for.
    fn wait_for(&mut self, Sent { index, work, at }: Sent) -> Result<()> {
        let asked = Instant::now();
        let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: None };
        let waited = self.device.poll(wait);
        self.health.check()?;
        waited.map_err(|e| super::memory::failed("waiting for the GPU", e))?;
        if asked.elapsed() > NOTICEABLE {
            self.pace.learn(work, at, Instant::now());
        }
        Ok(())
    }
}
