//! The time all threads of this process have spent on a processor: what an op costs, whoever else uses the machine.

use std::time::Duration;

/// Processor time of the process so far; nothing where the system is not asked (anything but 64-bit Linux).
#[must_use]
pub fn processor_time() -> Option<Duration> {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        #[repr(C)]
        struct TimeSpec {
            seconds: i64,
            nanoseconds: i64,
        }
        unsafe extern "C" {
            fn clock_gettime(clock: i32, time: *mut TimeSpec) -> i32;
        }
        const PROCESS_CPU: i32 = 2;
        let mut time = TimeSpec { seconds: 0, nanoseconds: 0 };
        // SAFETY: the call writes one such structure, which is what the pointer leads to.
        if unsafe { clock_gettime(PROCESS_CPU, &raw mut time) } != 0 {
            return None;
        }
        Some(Duration::new(time.seconds.unsigned_abs(), u32::try_from(time.nanoseconds).unwrap_or(0)))
    }
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    None
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_processor_time() {
        let before = processor_time().expect("Linux tells");
        let sum = (0..20_000_000u64).fold(0, |sum, i| std::hint::black_box(sum ^ i));
        std::hint::black_box(sum);
        assert!(processor_time().expect("Linux tells") > before);
    }
}
