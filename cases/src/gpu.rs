//! The GPU that tests run on.
//!
//! The best adapter there is, software such as lavapipe too; `SAM3I_TEST_GPU` takes another by its name. Without one, what
//! needs it is skipped with a line that says so, unless `SAM3I_REQUIRE_GPU` is set: then it fails.

#[cfg(feature = "gpu")]
use sam3i_engine::Error;
#[cfg(feature = "gpu")]
use sam3i_engine::gpu::{GpuBounds, GpuChoice, GpuOptions, TunedForms};
use sam3i_engine::{DType, Device};
#[cfg(feature = "gpu")]
use std::sync::OnceLock;

/// Turns a missing GPU into a failure.
pub const REQUIRE_VARIABLE: &str = "SAM3I_REQUIRE_GPU";

/// The GPU with f32 weights; none if this machine has none.
///
/// # Panics
/// If it is absent while `SAM3I_REQUIRE_GPU` is set, or does not start.
#[cfg(feature = "gpu")]
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| start(&GpuOptions::default()))
}

/// The GPU with f16 weights, likewise.
///
/// # Panics
/// As [`devices`].
#[cfg(feature = "gpu")]
pub fn f16_devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| start(&GpuOptions::default().dtype(DType::F16)))
}

/// Forms of ops that the GPU would not choose by itself, so that each form runs somewhere: a device each, with weights in f32 and
/// in f16. One of them is asked for next to nothing at a time, so that what is cut into bands for large operands is cut for
/// small ones.
///
/// # Panics
/// As [`devices`].
#[cfg(feature = "gpu")]
pub fn other_forms(dtype: DType) -> &'static [Device] {
    static DEVICES: [OnceLock<Vec<Device>>; 2] = [const { OnceLock::new() }; 2];
    DEVICES[usize::from(dtype == DType::F16)].get_or_init(|| {
        let options = GpuOptions::default().dtype(dtype);
        let larger = options.clone().form("product", "tiled_128").form("conv", "tiled_128");
        let norms = ["layer_norm", "group_norm", "softmax"];
        let larger = norms.into_iter().fold(larger, |options, op| options.form(op, "portable"));
        let bounds = GpuBounds { work: 1, groups: 3, ..GpuBounds::default() };
        let banded = options.clone().form("attention", "shared").form("product", "matrices_2").bounds(bounds);
        let mut others = start(&larger.form("attention", "short"));
        others.extend(start(&banded));
        if dtype == DType::F16 {
            let has_matrices = others.iter().any(Device::has_matrix_units);
            others.extend(in_f16(has_matrices).into_iter().flat_map(|forms| {
                let with = |options: GpuOptions, (op, form): (&str, &str)| options.form(op, form);
                start(&forms.into_iter().fold(options.clone(), with))
            }));
        }
        others
    })
}

/// Forms that compute in f16, a device's choice each; those on matrix units where there are any.
#[cfg(feature = "gpu")]
fn in_f16(on_matrix_units: bool) -> Vec<[(&'static str, &'static str); 3]> {
    let forms = |product, conv, attention| [("product", product), ("conv", conv), ("attention", attention)];
    let mut all = vec![forms("halves_64", "halves_64", "halves"), forms("halves_128", "halves_128", "whole")];
    if on_matrix_units {
        all.push(forms("matrices_2", "staged_2", "matrices_64"));
        all.push(forms("matrices_4", "staged_4", "matrices_128"));
        all.push(forms("staged_2", "tiled_64", "matrices_64"));
        all.push(forms("staged_4", "tiled_64", "matrices_128"));
    }
    all
}

/// The GPU that tests run on, with these options otherwise. What was measured on this machine changes nothing.
///
/// # Panics
/// As [`devices`].
#[cfg(feature = "gpu")]
pub fn start(options: &GpuOptions) -> Vec<Device> {
    let choice = std::env::var("SAM3I_TEST_GPU").map_or(GpuChoice::Best, GpuChoice::Name);
    match Device::gpu(&options.clone().choice(choice).tuned(TunedForms::Ignored)) {
        Ok(device) => vec![device],
        Err(error @ Error::NoGpu { .. }) => {
            assert!(std::env::var_os(REQUIRE_VARIABLE).is_none(), "{error}");
            eprintln!("SKIPPED on the GPU: {error}");
            Vec::new()
        }
        Err(error) => panic!("{error}"),
    }
}

/// None: the feature `gpu` is off.
#[cfg(not(feature = "gpu"))]
#[must_use]
pub fn devices() -> &'static [Device] {
    &[]
}

/// None: the feature `gpu` is off.
#[cfg(not(feature = "gpu"))]
#[must_use]
pub fn other_forms(_: DType) -> &'static [Device] {
    &[]
}

/// None: the feature `gpu` is off.
#[cfg(not(feature = "gpu"))]
#[must_use]
pub fn f16_devices() -> &'static [Device] {
    &[]
}
