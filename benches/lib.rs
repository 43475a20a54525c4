//! What the benches share: one criterion bench a case, and after it a line that says how far it is from the most this
//! machine can do, measured at the start of the same run.
//!
//! Names are `op/shape/type/device`. `SAM3I_THREADS` sets the threads, `SAM3I_ISA` the instruction set (every one if unset),
//! `SAM3I_BENCH_DTYPE` the type (every one if unset). `SAM3I_BENCH_CLOCK=processor` counts processor time instead of time:
//! for one thread on a machine that others use too.

mod peak;

use criterion::{Criterion, Throughput};
pub use peak::Peak;
use sam3i_engine::{CpuOptions, DType, Device, Isa, Tensor, processor_time};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// A thread pool with every core of the machine, or as many threads as `SAM3I_THREADS` says.
///
/// # Panics
/// If the pool cannot be started.
#[must_use]
pub fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads()).build().expect("threads start")
}

fn threads() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    std::env::var("SAM3I_THREADS").ok().and_then(|v| v.parse().ok()).unwrap_or(all)
}

/// `len` values in [-1, 1) from a linear congruential sequence.
#[must_use]
pub fn sequence(len: usize) -> Vec<f32> {
    let mut state = 12345u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// How long `f` takes, by the clock that was asked for.
pub(crate) fn timed(f: impl FnOnce()) -> Duration {
    let by_processor = std::env::var("SAM3I_BENCH_CLOCK").is_ok_and(|v| v == "processor");
    let (start, spent) = (Instant::now(), processor_time().filter(|_| by_processor));
    f();
    match (spent, processor_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before) / u32::try_from(threads()).unwrap_or(1),
        _ => start.elapsed(),
    }
}

/// What an op does, in the unit that limits it.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Floating-point operations, two a multiply-add.
    Flops(u64),
    /// Bytes read and written.
    Bytes(u64),
}

/// A device, its name in the benches, and what it can do.
pub struct Bench {
    /// Where the ops run.
    pub device: Device,
    /// The type of its products.
    pub dtype: DType,
    isa: Isa,
    peak: Peak,
}

impl Bench {
    /// The devices to measure: each instruction set in f32, and bf16 where the processor has it.
    ///
    /// # Panics
    /// If a device cannot be started.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::of_types(&[DType::F32, DType::Bf16])
    }

    /// Those, and each instruction set in int8, for linear layers: the other ops have no form of their own there.
    ///
    /// # Panics
    /// If a device cannot be started.
    #[must_use]
    pub fn all_and_int8() -> Vec<Self> {
        Self::of_types(&[DType::F32, DType::Bf16, DType::Int8])
    }

    fn of_types(types: &[DType]) -> Vec<Self> {
        let wanted = |variable: &str, name: String| std::env::var(variable).is_ok_and(|v| v != name);
        let mut benches = Vec::new();
        for isa in Isa::available().into_iter().rev() {
            for &dtype in types {
                let left_out = dtype == DType::Bf16 && !Device::has_bf16(isa)
                    || wanted("SAM3I_ISA", isa.to_string())
                    || wanted("SAM3I_BENCH_DTYPE", dtype.to_string());
                if left_out {
                    continue;
                }
                let options = CpuOptions::default().isa(isa).dtype(dtype).threads(threads());
                let device = Device::cpu(&options).expect("the processor has this");
                benches.push(Self { device, dtype, isa, peak: Peak::measure(&pool(), isa, dtype) });
            }
        }
        benches
    }

    /// A tensor of values in [-1, 1).
    ///
    /// # Panics
    /// Never: the length is the shape's.
    #[must_use]
    pub fn tensor(&self, shape: &[usize]) -> Tensor {
        let values = sequence(shape.iter().product());
        Tensor::from_vec(&self.device, shape, values).expect("the length is the shape's")
    }

    /// Measures `f` under `op/shape/type/device` and prints its part of the machine's peak.
    pub fn run<R>(&self, c: &mut Criterion, op: &str, shape: &str, work: Work, mut f: impl FnMut() -> R) {
        let name = format!("{shape}/{}/{}", self.dtype, self.isa);
        let best = Cell::new(Duration::MAX);
        let mut group = c.benchmark_group(op);
        group.sample_size(10).warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_secs(1));
        group.throughput(match work {
            Work::Flops(flops) => Throughput::Elements(flops),
            Work::Bytes(bytes) => Throughput::Bytes(bytes),
        });
        group.bench_function(&name, |b| {
            b.iter_custom(|times| {
                let spent = timed(|| {
                    for _ in 0..times {
                        std::hint::black_box(f());
                    }
                });
                best.set(best.get().min(spent / u32::try_from(times).unwrap_or(u32::MAX)));
                spent
            });
        });
        group.finish();
        if best.get() < Duration::MAX {
            println!("peak  {op}/{name}: {}\n", self.peak.share(work, best.get()));
        }
    }
}
