//! One list of cases per op: it drives the property tests on every device, `sam3i kernels check` and `sam3i kernels bench`.
//!
//! A file per op holds its cases, their tolerance beside its reason, and its calls in the published model; [`list`] names
//! them all.

pub mod attention;
pub mod checking;
pub mod compare;
pub mod concat;
pub mod conv;
pub mod copy;
pub mod elementwise;
pub mod embedding;
pub mod form;
pub mod gpu;
pub mod grid_sample;
pub mod group_norm;
pub mod job;
pub mod layer_norm;
pub mod list;
pub mod matmul;
pub mod mean_rows;
pub mod pass;
pub mod peak;
pub mod pool;
pub mod resize;
pub mod roi_align;
pub mod rope;
pub mod sine;
pub mod softmax;
pub mod variant;
pub mod window;

use crate::compare::{Tolerance, assert_close};
use proptest::prelude::*;
use sam3i_engine::{CpuOptions, DType, Device, Error, Isa, Result, Tensor};
use std::fmt::Debug;
use std::sync::OnceLock;

/// One call of an op: its operands and parameters.
pub trait Case: Debug {
    /// How far a fast kernel may be from the reference; the reason stands beside it.
    const TOLERANCE: Tolerance;

    /// How far a GPU may be, where that is further; the reason stands beside it.
    fn gpu_tolerance(&self) -> Tolerance {
        Self::TOLERANCE
    }

    /// Puts the operands on `device` and runs the op there.
    ///
    /// # Errors
    /// Those of the op.
    fn run(&self, device: &Device) -> Result<Tensor>;
}

/// The CPU device in every form this machine has: each instruction set, on one thread and on three.
pub fn cpu_devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let forms = Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]);
        forms
            .map(|(isa, threads)| {
                Device::cpu(&CpuOptions::default().isa(isa).threads(threads)).expect("threads start")
            })
            .collect()
    })
}

/// Runs a case on every device, in every form, and on the reference, and compares; the shape-only device must know the shape too.
pub fn check<C: Case>(case: &C) {
    check_cpu(case);
    check_gpu(case, gpu::devices(), C::gpu_tolerance);
    check_gpu(case, gpu::other_forms(DType::F32), C::gpu_tolerance);
}

/// The same without the GPU.
pub fn check_cpu<C: Case>(case: &C) {
    let expected = case.run(&Device::reference()).expect("the reference runs");
    for device in cpu_devices() {
        let actual = case.run(device).expect("the device runs");
        assert_close(format_args!("{case:?} on {device}"), &actual, &expected, C::TOLERANCE);
    }
    match case.run(&Device::shapes_only()) {
        Ok(shape) => assert_eq!(shape.shape(), expected.shape(), "{case:?} on the shape-only device"),
        Err(error) => assert!(matches!(error, Error::NoValues { .. }), "{case:?}: {error}"),
    }
}

/// Runs a case on these GPUs and on the reference, with the same tame operands, and compares.
fn check_gpu<C: Case>(case: &C, devices: &[Device], tolerance: impl Fn(&C) -> Tolerance) {
    if devices.is_empty() {
        return;
    }
    form::tamely(|| {
        let expected = case.run(&Device::reference()).expect("the reference runs");
        for device in devices {
            let actual = case.run(device).unwrap_or_else(|e| panic!("{case:?} on {device}: {e}"));
            assert_close(format_args!("{case:?} on {device}"), &actual, &expected, tolerance(case));
        }
    });
}

/// A case of an op whose weights a GPU may keep in f16.
pub trait F16Case: Case {
    /// How far a result from weights rounded to f16 may be from the reference; the reason stands beside it.
    fn f16_tolerance(&self) -> Tolerance;
}

/// Runs a case with f16 weights on the GPUs, and compares.
pub fn check_f16<C: F16Case>(case: &C) {
    check_gpu(case, gpu::f16_devices(), C::f16_tolerance);
    check_gpu(case, gpu::other_forms(DType::F16), C::f16_tolerance);
}

/// A case of an op that also computes in bf16.
pub trait Bf16Case: Case {
    /// How far a result from operands rounded to bf16 may be from the reference; the reason stands beside it.
    fn bf16_tolerance(&self) -> Tolerance;
}

/// How far a sum of `k` products may be off whose operands, of up to 4, are rounded to bf16. Rounding one moves it by up
/// to 2^-7, and so a product by up to 1/16: no sum can be off by more than `k` times that. A product of values spread over
/// [-4, 4] is off by about 0.012 (one standard deviation), a sum by sqrt(k) times that; six deviations, and one product at
/// its worst, for the tail of a few products is longer than that of many. It is 1 % of the result's own spread, so a pair
/// in the wrong place shows.
#[must_use]
pub fn rounded_products(k: usize) -> Tolerance {
    let (worst, k) = (1.0 / 16.0, k as f32);
    Tolerance { absolute: (worst * k).min(0.012 * 6.0 * k.sqrt() + worst), relative: 1e-3 }
}

/// The CPU device in bf16, on one thread and on three; none where the processor has no such products.
pub fn bf16_devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        if !Device::has_bf16(Isa::detect()) {
            eprintln!("SKIPPED: this processor has no bf16 products");
            return Vec::new();
        }
        let options = |threads| CpuOptions::default().dtype(DType::Bf16).threads(threads);
        [1, 3].map(|threads| Device::cpu(&options(threads)).expect("threads start")).into()
    })
}

/// The CPU device in int8 in every form this machine has: each instruction set, on one thread and on three.
pub fn int8_devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let options = |isa, threads| CpuOptions::default().isa(isa).dtype(DType::Int8).threads(threads);
        let forms = Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]);
        forms.map(|(isa, threads)| Device::cpu(&options(isa, threads)).expect("threads start")).collect()
    })
}

/// Runs a case in bf16 and on the reference, and compares.
pub fn check_bf16<C: Bf16Case>(case: &C) {
    let expected = case.run(&Device::reference()).expect("the reference runs");
    for device in bf16_devices() {
        let actual = case.run(device).expect("the device runs");
        assert_close(format_args!("{case:?} in bf16"), &actual, &expected, case.bf16_tolerance());
    }
}

/// Asserts that a case is refused on every device, with a message that contains `words`.
pub fn check_refused<C: Case>(case: &C, words: &str) {
    let others = [&Device::reference(), &Device::shapes_only()];
    for device in cpu_devices().iter().chain(others).chain(gpu::devices()) {
        let message = case.run(device).expect_err("the op refuses this").to_string();
        assert!(message.contains(words), "{message}");
    }
}

/// `len` ordinary values, in [-4, 4].
pub fn values(len: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-4.0f32..4.0, len)
}

/// `len` values among which zeros, denormals, huge numbers and infinities turn up.
pub fn extreme_values(len: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        8 => -4.0f32..4.0,
        1 => prop::sample::select(vec![0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, f32::NEG_INFINITY]),
    ];
    prop::collection::vec(value, len)
}

/// Cheap, fixed operands for benches and large cases: a linear congruential sequence in [-1, 1).
#[must_use]
pub fn sequence(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
