//! How long compute passes take on the GPU itself, where it tells.

use super::memory::failed;
use crate::Result;
use std::time::Duration;

/// Two ticks, begin and end.
const BYTES: u64 = 16;

/// Ticks of a pass: where they are written, and the sum of what they told.
pub(super) struct Timer {
    queries: wgpu::QuerySet,
    ticks: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Nanoseconds of a tick.
    period: f64,
    spent: Option<Duration>,
}

impl Timer {
    /// None where the GPU does not tell.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Self> {
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let buffer = |label, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        Some(Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("ticks"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            ticks: buffer("ticks", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer("ticks read back", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period: f64::from(queue.get_timestamp_period()),
            spent: None,
        })
    }

    /// What a pass that is to be timed writes.
    pub fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// Brings the ticks to where they can be read, after the pass.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2, &self.ticks, 0);
        encoder.copy_buffer_to_buffer(&self.ticks, 0, &self.staging, 0, BYTES);
    }

    /// Waits for a submission and adds what its pass took.
    pub fn add(&mut self, device: &wgpu::Device, submitted: &wgpu::SubmissionIndex) -> Result<()> {
        let (tell, told) = std::sync::mpsc::channel();
        self.staging.map_async(wgpu::MapMode::Read, .., move |result| {
            drop(tell.send(result)); // nobody listens only if we failed
        });
        let wait = wgpu::PollType::Wait { submission_index: Some(submitted.clone()), timeout: None };
        device.poll(wait).map_err(|e| failed("waiting for the GPU", e))?;
        told.recv().map_err(|e| failed("reading ticks", e))?.map_err(|e| failed("reading ticks", e))?;
        let ticks: Vec<u64> = {
            let view = self.staging.get_mapped_range(..).map_err(|e| failed("reading ticks", e))?;
            bytemuck::pod_collect_to_vec(&view[..])
        };
        self.staging.unmap();
        let nanoseconds = ticks[1].saturating_sub(ticks[0]) as f64 * self.period;
        *self.spent.get_or_insert_default() += Duration::from_nanos(nanoseconds as u64);
        Ok(())
    }

    /// What the passes took since this was last asked; none if none ran.
    pub fn take(&mut self) -> Option<Duration> {
        self.spent.take()
    }
}
