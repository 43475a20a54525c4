//! The forms in which this machine can run an op.

use sam3i_engine::{Backend, CpuOptions, DType, Device, Isa, Result};
#[cfg(feature = "gpu")]
use sam3i_engine::{Error, gpu::GpuOptions};
use std::collections::BTreeMap;

/// A device that runs one form of every op.
pub struct Variant {
    /// Its name: `reference`, `cpu-avx2`, `cpu-bf16`.
    pub name: String,
    /// The device.
    pub device: Device,
}

/// Every host variant this machine has, the reference first; CPU variants with so many threads (one a core if `None`).
///
/// # Errors
/// [`sam3i_engine::Error::Threads`] if threads cannot be started.
pub fn variants(threads: Option<usize>) -> Result<Vec<Variant>> {
    let mut found = vec![Variant { name: "reference".to_owned(), device: Device::reference() }];
    let options = match threads {
        Some(threads) => CpuOptions::default().threads(threads),
        None => CpuOptions::default(),
    };
    for isa in Isa::available() {
        let device = Device::cpu(&options.clone().isa(isa))?;
        found.push(Variant { name: format!("cpu-{isa}"), device });
    }
    if Device::has_bf16(Isa::detect()) {
        let device = Device::cpu(&options.clone().dtype(DType::Bf16))?;
        found.push(Variant { name: "cpu-bf16".to_owned(), device });
    }
    let device = Device::cpu(&options.dtype(DType::Int8))?;
    found.push(Variant { name: "cpu-int8".to_owned(), device });
    Ok(found)
}

/// The GPU's variants, with f32 and with f16 weights, their names with this ending, running these WGSL texts in place of our kernels
/// of that name; none if this machine or this build has no GPU.
///
/// # Errors
/// [`sam3i_engine::Error::Gpu`] if it does not start, [`sam3i_engine::Error::GpuOption`] if no kernel has such a name.
#[cfg(feature = "gpu")]
pub fn gpu_variants(overrides: &BTreeMap<String, String>, ending: &str) -> Result<Vec<Variant>> {
    let mut found = Vec::new();
    for (name, dtype) in [("gpu", DType::F32), ("gpu-f16", DType::F16)] {
        let mut options = GpuOptions::default().dtype(dtype);
        options.overrides.clone_from(overrides);
        match Device::gpu(&options) {
            Ok(device) => found.push(Variant { name: format!("{name}{ending}"), device }),
            Err(Error::NoGpu { .. }) => return Ok(found),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// None: this build has no GPU device.
///
/// # Errors
/// Never.
#[cfg(not(feature = "gpu"))]
pub fn gpu_variants(_: &BTreeMap<String, String>, _: &str) -> Result<Vec<Variant>> {
    Ok(Vec::new())
}

/// How the CPU kernel of an op is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuForm {
    /// One form for every processor: it moves values, or its arithmetic is in f64.
    Single,
    /// Compiled or written for each instruction set.
    PerSet,
    /// That, and with products in bf16.
    PerSetAndBf16,
    /// That, and with products in int8.
    PerSetBf16AndInt8,
}

impl CpuForm {
    /// The kernel a device takes.
    #[must_use]
    pub fn on(self, device: &Device) -> String {
        match (device.backend(), self) {
            (Some(Backend::Cpu(_)), Self::Single) => "cpu".to_owned(),
            (Some(Backend::Cpu(isa)), form) if form.has_int8() && device.dtype() == DType::Int8 => {
                format!("cpu-{isa}, int8 products")
            }
            (Some(Backend::Cpu(isa)), form) if form.has_products() && rounds_to_bf16(device, isa) => {
                format!("cpu-{isa}, bf16 products")
            }
            (Some(Backend::Cpu(isa)), _) => format!("cpu-{isa}"),
            _ => device.name().to_owned(),
        }
    }

    /// Whether it has products whose operands or weights may be rounded.
    #[must_use]
    pub fn has_products(self) -> bool {
        matches!(self, Self::PerSetAndBf16 | Self::PerSetBf16AndInt8)
    }

    /// Whether it has products whose operands may be rounded to 8 bits.
    #[must_use]
    pub fn has_int8(self) -> bool {
        self == Self::PerSetBf16AndInt8
    }

    /// All its forms on the processor this was compiled for.
    #[must_use]
    pub fn all(self) -> &'static str {
        match self {
            Self::Single => "cpu",
            Self::PerSet => "cpu: portable, avx2, avx512",
            Self::PerSetAndBf16 => "cpu: portable, avx2, avx512, bf16",
            Self::PerSetBf16AndInt8 => "cpu: portable, avx2, avx512, bf16, int8",
        }
    }
}

/// Whether a CPU device computes products in bf16 that are not in int8.
fn rounds_to_bf16(device: &Device, isa: Isa) -> bool {
    match device.dtype() {
        DType::Bf16 => true,
        DType::Int8 => Device::has_bf16(isa),
        _ => false,
    }
}
