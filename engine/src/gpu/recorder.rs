//! Dispatches on their way to the GPU: recorded into one compute pass, submitted a few dozen at a time.

use super::health::Health;
use super::memory::Raw;
use super::pipelines::Pipeline;
use super::timer::Timer;
use crate::Result;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Dispatches of a submission.
const MOST_DISPATCHES: usize = 64;
/// Flops of a submission, so that a slow GPU answers before its driver loses patience.
const MOST_WORK: u64 = 200_000_000_000;
/// Submissions the GPU may be behind.
const MOST_IN_FLIGHT: usize = 2;
/// Bytes of a dispatch's parameters in the arena: the largest alignment any device asks for.
pub(super) const SLOT: usize = 256;
/// Bind groups that are kept.
const MOST_BIND_GROUPS: usize = 8192;

type Key = (usize, Vec<u64>);

/// What has been recorded and not yet submitted.
pub(super) struct Recorder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    health: Health,
    arena: wgpu::Buffer,
    params: Vec<u8>,
    open: Option<(wgpu::ComputePass<'static>, wgpu::CommandEncoder)>,
    work: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    bind_groups: HashMap<Key, wgpu::BindGroup>,
    timer: Option<Timer>,
    /// Whether passes are timed, the open one too.
    timed: bool,
}

impl Recorder {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, health: &Health) -> Self {
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
            work: 0,
            in_flight: VecDeque::new(),
            bind_groups: HashMap::new(),
            timer: Timer::new(device, queue),
            timed: false,
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
        if self.params.len() >= MOST_DISPATCHES * SLOT || (self.work > 0 && self.work + work > MOST_WORK) {
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

    /// Forgets the bind groups of buffers with these numbers.
    pub fn forget(&mut self, gone: &[u64]) {
        self.bind_groups.retain(|(_, buffers), _| !buffers.iter().any(|number| gone.contains(number)));
    }

    /// Forgets the bind groups: they hold on to the memory of buffers that are gone.
    pub fn trim(&mut self) {
        self.bind_groups.clear();
    }

    /// Sends what was recorded, and waits if the GPU is too far behind.
    pub fn submit(&mut self) -> Result<()> {
        self.submit_with(|_| ()).map(|_| ())
    }

    /// The same, with further commands after what was recorded; the submission, to wait for.
    pub fn submit_with(
        &mut self,
        add: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
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
        self.work = 0;
        let index = self.queue.submit([encoder.finish()]);
        self.in_flight.push_back(index.clone());
        if let Some(timer) = timer.as_mut() {
            let added = timer.add(&self.device, &index);
            self.health.check()?; // explains the other
            added?;
        }
        drop(self.device.poll(wgpu::PollType::Poll)); // lets news of a lost device arrive before its consequences
        while self.in_flight.len() > MOST_IN_FLIGHT {
            let index = self.in_flight.pop_front();
            self.wait(index)?;
        }
        self.health.check()?;
        Ok(index)
    }

    /// Sends what was recorded and waits until the GPU has done it all.
    pub fn finish(&mut self) -> Result<()> {
        if self.open.is_some() {
            self.submit()?;
        }
        let last = self.in_flight.pop_back();
        self.in_flight.clear();
        if last.is_some() {
            self.wait(last)?;
        }
        self.health.check()
    }

    fn wait(&self, index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index: index, timeout: None });
        self.health.check()?;
        waited.map_err(|e| super::memory::failed("waiting for the GPU", e)).map(|_| ())
    }
}
