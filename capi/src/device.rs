//! Devices.

use crate::arguments::{Growing, hand_out, options, required, take_back};
use crate::status::{Failure, Outcome, guard, quietly, sam3i_status};
use sam3i::engine::DType;
use sam3i::{CpuOptions, Device};
use std::ffi::{CString, c_char};

/// The CPU.
pub const SAM3I_DEVICE_CPU: i32 = 0;
/// A GPU.
pub const SAM3I_DEVICE_GPU: i32 = 1;
/// Plain loops on one thread.
pub const SAM3I_DEVICE_REFERENCE: i32 = 2;

/// Single precision.
pub const SAM3I_DTYPE_F32: i32 = 0;
/// Half precision, for weights on a GPU.
pub const SAM3I_DTYPE_F16: i32 = 1;
/// bfloat16, for products on a CPU.
pub const SAM3I_DTYPE_BF16: i32 = 2;
/// 8 bits, for linear layers on a CPU.
pub const SAM3I_DTYPE_INT8: i32 = 3;

/// As many as the command takes.
const MOST_THREADS: u32 = 1024;

/// How a device is to run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sam3i_device_options {
    /// `sizeof(sam3i_device_options)`.
    pub size: usize,
    /// One of `SAM3I_DEVICE_*`.
    pub kind: i32,
    /// One of `SAM3I_DTYPE_*`.
    pub dtype: i32,
    /// CPU: threads to use; 0 for one a core.
    pub threads: u32,
    /// GPU: which one; -1 for the best.
    pub gpu_number: i32,
    /// GPU: most bytes of its memory to take; 0 for no bound.
    pub gpu_memory: u64,
}

// SAFETY: `#[repr(C)]`, a `usize` first, and nothing but numbers.
unsafe impl Growing for sam3i_device_options {
    const NAME: &'static str = "sam3i_device_options";
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl Default for sam3i_device_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>(),
            kind: SAM3I_DEVICE_CPU,
            dtype: SAM3I_DTYPE_F32,
            threads: 0,
            gpu_number: -1,
            gpu_memory: 0,
        }
    }
}

/// What computes.
pub struct sam3i_device {
    pub(crate) device: Device,
    name: CString,
}

impl sam3i_device_options {
    fn start(&self) -> Outcome<Device> {
        match self.kind {
            SAM3I_DEVICE_CPU => self.cpu(),
            SAM3I_DEVICE_GPU => self.gpu(),
            SAM3I_DEVICE_REFERENCE if self.dtype()? == DType::F32 => Ok(Device::reference()),
            SAM3I_DEVICE_REFERENCE => Err(Failure::argument(
                "the reference device computes in f32 only; set dtype to SAM3I_DTYPE_F32",
            )),
            kind => {
                Err(Failure::argument(format!("kind is {kind}, which is no device; use a SAM3I_DEVICE_*")))
            }
        }
    }

    fn dtype(&self) -> Outcome<DType> {
        match self.dtype {
            SAM3I_DTYPE_F32 => Ok(DType::F32),
            SAM3I_DTYPE_F16 => Ok(DType::F16),
            SAM3I_DTYPE_BF16 => Ok(DType::Bf16),
            SAM3I_DTYPE_INT8 => Ok(DType::Int8),
            other => {
                Err(Failure::argument(format!("dtype is {other}, which is no type; use a SAM3I_DTYPE_*")))
            }
        }
    }

    fn cpu(&self) -> Outcome<Device> {
        let options = CpuOptions::default().dtype(self.dtype()?);
        match self.threads {
            0 => Ok(Device::cpu(&options)?),
            threads @ 1..=MOST_THREADS => Ok(Device::cpu(&options.threads(threads as usize))?),
            threads => Err(Failure::argument(format!("threads is {threads}; use 0 to {MOST_THREADS}"))),
        }
    }

    #[cfg(feature = "gpu")]
    fn gpu(&self) -> Outcome<Device> {
        use sam3i::engine::gpu::{GpuChoice, GpuOptions};
        let choice = match (self.gpu_number, usize::try_from(self.gpu_number)) {
            (_, Ok(number)) => GpuChoice::Number(number),
            (-1, _) => GpuChoice::Best,
            (number, _) => {
                return Err(Failure::argument(format!(
                    "gpu_number is {number}; use -1 or a number from 0 on"
                )));
            }
        };
        let options = GpuOptions::default().choice(choice).dtype(self.dtype()?);
        let options = if self.gpu_memory > 0 { options.budget(self.gpu_memory) } else { options };
        Ok(Device::gpu(&options)?)
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu(&self) -> Outcome<Device> {
        Err(Failure::device(
            "this build of the library has no GPU device; build it with the feature gpu, or use SAM3I_DEVICE_CPU",
        ))
    }
}

/// The device of a handle, or the default one if it is null.
///
/// # Safety
/// `device` is null or a handle that lives.
pub(crate) unsafe fn or_default(device: *const sam3i_device) -> Outcome<Device> {
    // SAFETY: by the caller's promise.
    match unsafe { device.as_ref() } {
        Some(handle) => Ok(handle.device.clone()),
        None => sam3i_device_options::default().start(),
    }
}

/// Starts a device; with null options the CPU, with all its cores, in f32.
///
/// # Safety
/// `options` is null or as the header says; `device` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_device_create(
    options: *const sam3i_device_options,
    device: *mut *mut sam3i_device,
) -> sam3i_status {
    let start = || {
        // SAFETY: by the caller's promise.
        let options = unsafe { self::options(options, sam3i_device_options::default()) }?;
        let device = options.start()?;
        let name = CString::new(device.to_string()).unwrap_or_default();
        Ok(sam3i_device { device, name })
    };
    // SAFETY: by the caller's promise.
    guard(|| unsafe { hand_out(device, "device", start) })
}

/// What it is, for people; null if it is null.
///
/// # Safety
/// `device` is null or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_device_name(device: *const sam3i_device) -> *const c_char {
    // SAFETY: by the caller's promise.
    unsafe { device.as_ref() }.map_or(std::ptr::null(), |handle| handle.name.as_ptr())
}

/// The memory that tensors take on it, now and at most, in bytes.
///
/// # Safety
/// `device` is null or a handle that lives; `live` and `peak` are null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_device_memory(
    device: *const sam3i_device,
    live: *mut u64,
    peak: *mut u64,
) -> sam3i_status {
    guard(|| {
        // SAFETY: by the caller's promise.
        let memory = unsafe { required(device, "device") }?.device.memory();
        for (to, bytes) in [(live, memory.live), (peak, memory.peak)] {
            if !to.is_null() {
                // SAFETY: not null; the rest is the caller's promise.
                unsafe { to.write(bytes as u64) };
            }
        }
        Ok(())
    })
}

/// Gives memory that is kept for reuse back to the system.
///
/// # Safety
/// `device` is null or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_device_trim(device: *const sam3i_device) {
    quietly(|| {
        // SAFETY: by the caller's promise.
        if let Some(handle) = unsafe { device.as_ref() } {
            handle.device.trim();
        }
    });
}

/// Gives the device up.
///
/// # Safety
/// `device` is null, or a handle that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam3i_device_free(device: *mut sam3i_device) {
    // SAFETY: by the caller's promise.
    quietly(|| unsafe { take_back(device) });
}
