//! The machine's own peaks, measured when they are asked for.

use sam3i_engine::{Backend, DType, Device, Isa, Result};
use sam3i_kernels::isa::{Avx512Bf16, Avx512Vnni};
use sam3i_kernels::peak;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a device can do at most.
pub struct Peak {
    /// Floating-point operations a second.
    pub flops: f64,
    device: Device,
    copies: RefCell<BTreeMap<usize, f64>>,
}

/// Rounds of a measurement of arithmetic: less than a millisecond, so that some run undisturbed.
const ROUNDS: usize = 200_000;
/// A copy is of a multiple of this many values.
const ROW: usize = 1024;

impl Peak {
    /// Measures a device. `None` for the reference, whose plain loops are held against nothing.
    ///
    /// # Errors
    /// Those of a GPU.
    pub fn measure(device: &Device) -> Result<Option<Self>> {
        let of = |flops| Some(Self { flops, device: device.clone(), copies: RefCell::default() });
        match device.backend() {
            Some(Backend::Cpu(isa)) => Ok(of(best(50, || device.run(|| arithmetic(device, isa))))),
            None => Ok(gpu_flops(device)?.and_then(of)),
            _ => Ok(None),
        }
    }

    /// Bytes a second, read and written, of a copy that touches so many: small ones stay in a cache.
    #[must_use]
    pub fn copied(&self, bytes: u64) -> f64 {
        let len = (bytes as usize / 8).next_multiple_of(ROW).max(ROW);
        *self.copies.borrow_mut().entry(len).or_insert_with(|| {
            if let Some(rate) = gpu_copies(&self.device, 8 * len as u64) {
                return rate;
            }
            let (x, mut out) = (vec![1.0; len], vec![0.0; len]);
            let tries = (100_000_000 / len).clamp(5, 50);
            best(tries, || self.device.run(|| peak::copy(&x, &mut out)))
        })
    }

    /// The part of what is possible that a run of this length reached: of the arithmetic, or of a copy of as many bytes,
    /// whichever would take longer.
    #[must_use]
    pub fn share(&self, flops: u64, bytes: u64, time: Duration) -> f64 {
        (flops as f64 / self.flops).max(bytes as f64 / self.copied(bytes)) / time.as_secs_f64()
    }
}

#[cfg(feature = "gpu")]
fn gpu_flops(device: &Device) -> Result<Option<f64>> {
    device.gpu_peak_flops()
}

#[cfg(not(feature = "gpu"))]
fn gpu_flops(_: &Device) -> Result<Option<f64>> {
    Ok(None)
}

/// `None` for a CPU. A GPU that cannot tell is taken to copy without limit, so that only arithmetic counts.
#[cfg(feature = "gpu")]
fn gpu_copies(device: &Device, bytes: u64) -> Option<f64> {
    device.gpu_copy_rate(bytes).unwrap_or(Some(f64::INFINITY))
}

#[cfg(not(feature = "gpu"))]
fn gpu_copies(_: &Device, _: u64) -> Option<f64> {
    None
}

/// The fastest products of a device; returns the operations done. In int8 without VNNI there is no instruction to measure: what
/// is done there is held against f32.
fn arithmetic(device: &Device, isa: Isa) -> u64 {
    match (device.dtype(), Avx512Bf16::detect(), Avx512Vnni::beside(isa)) {
        (DType::Bf16, Some(proof), _) => peak::bf16_products(proof, ROUNDS),
        (DType::Int8, _, Some(proof)) => peak::int8_products(proof, ROUNDS),
        _ => peak::multiply_adds(isa, ROUNDS),
    }
}

/// The highest rate of some runs of `work`, which says how much it did.
fn best(tries: usize, mut work: impl FnMut() -> u64) -> f64 {
    let mut rate = || {
        let start = Instant::now();
        let done = work();
        done as f64 / start.elapsed().as_secs_f64()
    };
    (0..tries).map(|_| rate()).fold(0.0, f64::max)
}
