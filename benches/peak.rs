//! The most this machine does: multiply-adds in registers on all threads at once, and bytes through memory.

use crate::Work;
use sam3i_engine::{DType, Isa};
use sam3i_kernels::isa::{Avx512Bf16, Avx512Vnni};
use sam3i_kernels::peak::{bf16_products, copy, int8_products, multiply_adds};
use std::time::Duration;

/// Values of each of the two buffers that are streamed: far more than the caches hold.
const STREAM: usize = 16 << 20;
/// Rounds of a measurement of arithmetic.
const ROUNDS: usize = 1_000_000;
/// Runs the best of which counts.
const RUNS: usize = 7;

/// Per second, all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    flops: f64,
    bytes: f64,
}

impl Peak {
    /// Measures it on the threads of `pool`.
    #[must_use]
    pub fn measure(pool: &rayon::ThreadPool, isa: Isa, dtype: DType) -> Self {
        let products = || match (dtype, Avx512Bf16::detect(), Avx512Vnni::beside(isa)) {
            (DType::Bf16, Some(proof), _) => bf16_products(proof, ROUNDS),
            (DType::Int8, _, Some(proof)) => int8_products(proof, ROUNDS),
            _ => multiply_adds(isa, ROUNDS),
        };
        let flops = best_rate(|| pool.install(products));
        let (from, mut to) = (vec![1f32; STREAM], vec![0f32; STREAM]);
        let bytes = best_rate(|| pool.install(|| copy(&from, &mut to)));
        println!("machine {isa} {dtype}: {:.1} GFLOP/s, {:.1} GB/s of memory\n", flops / 1e9, bytes / 1e9);
        Self { flops, bytes }
    }

    /// What `work` in this time is of it, in words.
    #[must_use]
    pub fn share(&self, work: Work, time: Duration) -> String {
        let (done, most, unit) = match work {
            Work::Flops(flops) => (flops as f64, self.flops, "GFLOP/s"),
            Work::Bytes(bytes) => (bytes as f64, self.bytes, "GB/s"),
        };
        let rate = done / time.as_secs_f64();
        format!("{:.1} {unit}, {:.0} % of {:.1}", rate / 1e9, 100.0 * rate / most, most / 1e9)
    }
}

/// The best of some runs of something that says how much it did.
fn best_rate(mut run: impl FnMut() -> u64) -> f64 {
    let rate = |_| {
        let mut done = 0;
        let time = crate::timed(|| done = run());
        done as f64 / time.as_secs_f64()
    };
    (0..RUNS).map(rate).fold(0.0, f64::max)
}
