//! Every recorded tensor of the published model against ours, stage by stage, on every host device.
//!
//! Tolerances are those of the goldens' README. docs/parity.md tells how to use this to find a difference.

use sam3i::Device;
use sam3i_engine::gpu::GpuOptions;
use sam3i_tests::agreement::{FULL, SMALL, Setup};
use sam3i_tests::goldens::{TempFolder, data, goldens_dir};
use sam3i_tests::{gpu, parity};

#[test]
fn micro_agrees_with_the_recording_that_comes_with_the_source() {
    for (device, bounds) in parity::devices() {
        Setup::new(&data("recorded"), "micro", &data("micro.safetensors"), &device, bounds).check();
    }
}

#[test]
fn micro_agrees_on_every_instruction_set() {
    for isa in sam3i_engine::Isa::available() {
        let device = Device::cpu(&sam3i::CpuOptions::default().isa(isa).threads(3)).expect("threads start");
        Setup::new(&data("recorded"), "micro", &data("micro.safetensors"), &device, SMALL).check();
    }
}

#[test]
fn micro_agrees_in_every_container_and_precision() {
    let Some(goldens) = goldens_dir() else { return };
    let device = Device::cpu(&sam3i::CpuOptions::default()).expect("threads start");
    for name in ["micro", "micro_base", "micro_f16", "micro_bf16"] {
        for container in ["pt", "safetensors"] {
            let file = goldens.join(format!("ckpt/{name}.{container}"));
            let mut setup = Setup::new(&goldens, name, &file, &device, SMALL);
            setup.weights = goldens.join(format!("ckpt/{}.safetensors", name.replace("_base", "")));
            setup.check();
        }
    }
}

#[test]
fn tiny_a_agrees() {
    let Some(goldens) = goldens_dir() else { return };
    let temp = TempFolder::new("tiny_a");
    for (device, bounds) in parity::devices() {
        Setup::synthetic(&goldens, "tiny_a", &device, bounds, &temp).check();
    }
}

#[test]
fn tiny_b_agrees() {
    let Some(goldens) = goldens_dir() else { return };
    let temp = TempFolder::new("tiny_b");
    for (device, bounds) in parity::devices() {
        Setup::synthetic(&goldens, "tiny_b", &device, bounds, &temp).check();
    }
}

/// 1.15 G parameters at 1008 pixels: `cargo test --release -p sam3i-tests --test parity -- --ignored full`.
#[test]
#[ignore = "needs 9 GiB of memory and minutes; see docs/parity.md"]
fn full_size_agrees() {
    let goldens = goldens_dir().expect("the recorded numbers");
    let temp = TempFolder::new("full");
    let device = Device::cpu(&sam3i::CpuOptions::default()).expect("threads start");
    Setup::full(&goldens, &device, FULL, &temp).check();
}

/// The same on the GPU, one concept prompt, with the memory it takes: `SAM3I_SHOW_PARITY=1 cargo test --release -p sam3i-tests
/// --test parity -- --ignored --nocapture full_size_agrees_on_the_gpu`. In software (lavapipe, 2 cores) it takes over an hour.
#[test]
#[ignore = "needs 12 GiB of memory and a GPU, or an hour; see docs/gpu.md"]
fn full_size_agrees_on_the_gpu() {
    let goldens = goldens_dir().expect("the recorded numbers");
    let temp = TempFolder::new("full-gpu");
    let device = gpu::start(&GpuOptions::default()).pop().expect("a GPU");
    let setup = Setup::full(&goldens, &device, FULL, &temp);
    println!("loaded: {:?}", device.memory());
    setup.check_cases(|key| key == "f0/concept");
    println!("done: {:?}", device.memory());
    drop(setup);
    assert_eq!(device.memory().live, 0, "all memory comes back");
}
