//! A call of an op at a shape of the published model, to be timed.

use sam3i_engine::{Device, Result, Tensor};
use std::time::{Duration, Instant};

/// A prepared call; every run computes the same.
pub type Run = Box<dyn Fn() -> Result<Tensor>>;

/// Puts a call's operands on a device.
type Prepare = Box<dyn Fn(&Device) -> Result<Run>>;

/// A call of an op, prepared on any device.
pub struct Job {
    /// What it is in the model, and its shapes.
    pub what: &'static str,
    /// Floating-point operations of a run, two a multiply-add.
    pub flops: u64,
    /// Bytes of operands and result, each counted once, as f32.
    pub bytes: u64,
    prepare: Prepare,
}

impl Job {
    /// A job that touches so many `f32` values.
    pub fn new(
        what: &'static str,
        flops: u64,
        elements: usize,
        prepare: impl Fn(&Device) -> Result<Run> + 'static,
    ) -> Self {
        Self { what, flops, bytes: 4 * elements as u64, prepare: Box::new(prepare) }
    }

    /// Puts its operands on a device.
    ///
    /// # Errors
    /// Those of the op.
    pub fn prepare(&self, device: &Device) -> Result<Run> {
        (self.prepare)(device)
    }
}

/// The shortest run of those that fit into `budget`: one that is not counted, then three or more. A run that takes longer
/// than the budget by itself is the only one. A GPU's are timed by its own clock, where it has one.
///
/// # Errors
/// Those of the op.
pub fn shortest(device: &Device, run: &Run, budget: Duration) -> Result<Duration> {
    let whole = || run().and_then(|_| device.finish());
    let start = Instant::now();
    whole()?;
    if start.elapsed() > budget {
        return Ok(start.elapsed());
    }
    let mut shortest = Duration::MAX;
    for counted in 0.. {
        if counted >= 3 && start.elapsed() > budget {
            break;
        }
        shortest = shortest.min(timed(device, whole)?);
    }
    Ok(shortest)
}

fn timed(device: &Device, whole: impl Fn() -> Result<()>) -> Result<Duration> {
    #[cfg(feature = "gpu")]
    if let Some(((), took)) = device.gpu_timed(&whole)? {
        return Ok(took);
    }
    #[cfg(not(feature = "gpu"))]
    let _ = device;
    let start = Instant::now();
    whole()?;
    Ok(start.elapsed())
}
