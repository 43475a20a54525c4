//! A call of an op at a shape of the published model, to be timed.

#[cfg(feature = "gpu")]
use sam3i_engine::gpu::Site;
use sam3i_engine::{Device, Result, Tensor, processor_time};
use sam3i_kernels::{attention, conv};
use std::time::{Duration, Instant};

/// A prepared call; every run computes the same.
pub type Run = Box<dyn Fn() -> Result<Tensor>>;

/// Puts a call's operands on a device.
type Prepare = Box<dyn Fn(&Device) -> Result<Run>>;

/// The sizes of a call, as far as a GPU chooses among its op's forms by them. Rows and columns are `m` and `n`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // by the names they have in the ops' contracts
pub enum Sizes {
    /// A product with a weight.
    Weighted { m: usize, n: usize, k: usize },
    /// A product of two activations.
    Activations { m: usize, n: usize, k: usize },
    /// A convolution.
    Conv(conv::Shape),
    /// Attention.
    Attention(attention::Shape),
    /// Layer norm of rows.
    LayerNorm { rows: usize, channels: usize },
    /// Group norm of a map.
    GroupNorm { pixels: usize, channels: usize, groups: usize },
    /// Softmax of rows.
    Softmax { rows: usize, columns: usize },
}

#[cfg(feature = "gpu")]
impl Sizes {
    /// The call on a GPU whose weights are f16 or f32.
    #[must_use]
    pub fn site(self, half: bool) -> Site {
        match self {
            Self::Weighted { m, n, k } => Site::Product { m, n, k, half },
            Self::Activations { m, n, k } => Site::Product { m, n, k, half: false },
            // A 1 x 1 convolution is a product.
            Self::Conv(shape @ conv::Shape { kernel: 1, stride: 1, padding: 0, .. }) => {
                let m = shape.height * shape.width;
                Site::Product { m, n: shape.out_channels, k: shape.channels, half }
            }
            Self::Conv(shape) => Site::Conv { shape, half },
            Self::Attention(shape) => Site::Attention { shape, half },
            Self::LayerNorm { rows, channels } => Site::LayerNorm { rows, channels },
            Self::GroupNorm { pixels, channels, groups } => Site::GroupNorm { pixels, channels, groups },
            Self::Softmax { rows, columns } => Site::Softmax { rows, columns },
        }
    }
}

/// A call of an op, prepared on any device.
pub struct Job {
    /// What it is in the model, and its shapes.
    pub what: &'static str,
    /// Floating-point operations of a run, two a multiply-add.
    pub flops: u64,
    /// Bytes of operands and result, each counted once, as f32.
    pub bytes: u64,
    /// Its sizes, where its op has several forms on a GPU.
    pub sizes: Option<Sizes>,
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
        Self { what, flops, bytes: 4 * elements as u64, sizes: None, prepare: Box::new(prepare) }
    }

    /// The job with the sizes by which a GPU chooses its form.
    #[must_use]
    pub fn of_sizes(mut self, sizes: Sizes) -> Self {
        self.sizes = Some(sizes);
        self
    }

    /// Puts its operands on a device.
    ///
    /// # Errors
    /// Those of the op.
    pub fn prepare(&self, device: &Device) -> Result<Run> {
        (self.prepare)(device)
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Of the clock: on a GPU its own, where it has one.
    pub time: Duration,
    /// Of all threads of the process together, where the system tells; `None` for a GPU. Whatever else runs on the machine counts little.
    pub processor: Option<Duration>,
}

impl Taken {
    fn shorter(self, other: Self) -> Self {
        let processor = [self.processor, other.processor].into_iter().flatten().min();
        Self { time: self.time.min(other.time), processor }
    }
}

/// The shortest run of each of several calls that are to be compared: they take turns, so that whatever else the machine does hurts all
/// alike. Of those runs that fit into `budget` (for each call): one that is not counted, then three or more. A run that takes longer than
/// the budget by itself is the only one. A GPU's first run, in which kernels are compiled, never counts.
///
/// # Errors
/// Those of the op.
pub fn shortest_in_turns(calls: &[(&Device, &Run)], budget: Duration) -> Result<Vec<Taken>> {
    let mut shortest: Vec<Option<Taken>> = vec![None; calls.len()];
    let mut goes_on = vec![true; calls.len()];
    for (i, (device, run)) in calls.iter().enumerate() {
        let first = timed(device, run)?;
        // On a busy machine a run is not long because the clock says so.
        if device.name() != "gpu" && first.processor.unwrap_or(first.time) > budget {
            (shortest[i], goes_on[i]) = (Some(first), false);
        }
    }
    let start = Instant::now();
    for counted in 0.. {
        if (counted >= 3 && start.elapsed() > budget * calls.len() as u32) || !goes_on.contains(&true) {
            break;
        }
        for (i, (device, run)) in calls.iter().enumerate() {
            if goes_on[i] {
                let taken = timed(device, run)?;
                shortest[i] = Some(shortest[i].map_or(taken, |known| known.shorter(taken)));
                goes_on[i] = counted > 0 || taken.processor.unwrap_or(taken.time) <= budget;
            }
        }
    }
    Ok(shortest.into_iter().map(|taken| taken.expect("each ran once")).collect())
}

fn timed(device: &Device, run: &Run) -> Result<Taken> {
    let whole = || run().and_then(|_| device.finish());
    #[cfg(feature = "gpu")]
    if let Some(((), time)) = device.gpu_timed(whole)? {
        return Ok(Taken { time, processor: None });
    }
    let (start, before) = (Instant::now(), processor_time());
    whole()?;
    let time = start.elapsed();
    let processor = processor_time().zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(Taken { time, processor })
}
