//! The GPU as a device: its memory, its queue, its errors. What its kernels compute is in tests/ops.rs.

use sam3i::picture::DecodeOptions;
use sam3i::{Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};
use sam3i_engine::gpu::{GpuChoice, GpuOptions};
use sam3i_engine::ops::attention::{AttentionOptions, attention};
use sam3i_engine::ops::elementwise::{add, scale_add};
use sam3i_engine::{DType, Device, Error, Tensor};
use sam3i_tests::cases::sequence;
use sam3i_tests::goldens::data;
use sam3i_tests::gpu;
use std::time::Duration;

/// A device of its own for one test; none if this machine has no GPU.
fn own(options: &GpuOptions) -> Option<Device> {
    gpu::start(options).pop()
}

fn segment_once(model: &Model) -> usize {
    let picture =
        Picture::open(&data("recorded/images/m0.png"), &DecodeOptions::default()).expect("a picture");
    let image = model.encode_image(&picture.view(), ResizeMode::Exact8).expect("it encodes");
    let options = SegmentOptions::default().threshold(0.1);
    model.segment(&image, &Prompt::text("person"), &options).expect("it answers").instances.len()
}

/// A device that computes nothing and checks everything, against WebGPU's default limits; on every machine.
fn noop(dtype: DType) -> Device {
    let options = GpuOptions::default().choice(GpuChoice::Noop).dtype(dtype);
    Device::gpu(&options).expect("it needs no adapter")
}

#[test]
fn a_whole_model_is_recorded_without_an_adapter() {
    for dtype in [DType::F32, DType::F16] {
        let device = noop(dtype);
        let model = Model::load(&data("micro.safetensors"), &device).expect("it loads");
        let picture = Picture::open(&data("recorded/images/m0.png"), &DecodeOptions::default());
        let picture = picture.expect("a picture");
        let image = model.encode_image(&picture.view(), ResizeMode::Exact8).expect("it encodes");
        let options = SegmentOptions::default().threshold(0.0).top_k(3);
        let prompts = [
            Prompt::text("person"),
            Prompt::text("the red one").level(Level::Simple).normalized_box([0.5, 0.5, 0.2, 0.2], true),
            Prompt::text("the one that is not red").level(Level::Complex),
            Prompt::examples().normalized_box([0.5, 0.5, 0.2, 0.2], true),
        ];
        for prompt in prompts {
            let answer = model.segment(&image, &prompt, &options).expect("it is recorded");
            assert_eq!(answer.instances.len(), 3, "zeros are as good as each other");
        }
        drop((image, model));
        device.finish().expect("no call was refused");
        assert_eq!(device.memory().live, 0);
    }
}

#[test]
fn a_call_that_wgpu_refuses_is_an_error_without_an_adapter_too() {
    let device = noop(DType::F32);
    // WebGPU's default is 128 MiB a binding.
    let large = Tensor::zeros(&device, &[33 << 20]).expect_err("132 MiB");
    assert!(large.to_string().contains("larger than the 128 MiB a kernel sees"), "{large}");
}

#[test]
fn memory_comes_back_when_a_model_goes() {
    for dtype in [DType::F32, DType::F16] {
        let Some(device) = own(&GpuOptions::default().dtype(dtype)) else { return };
        let model = Model::load(&data("micro.safetensors"), &device).expect("it loads");
        segment_once(&model);
        assert!(device.memory().live > 0);
        drop(model);
        assert_eq!(device.memory().live, 0, "{dtype}");
        device.trim();
        assert_eq!(device.memory().cached, 0, "{dtype}");
    }
}

#[test]
fn f16_weights_take_less_than_two_thirds_of_the_memory_of_f32_ones() {
    let live = |dtype| {
        let device = own(&GpuOptions::default().dtype(dtype))?;
        let weight = sam3i_engine::ops::matmul::Matrix::new(&device, 512, 512, vec![0.5; 512 * 512]);
        weight.expect("it fits");
        Some(device.memory().peak)
    };
    let (Some(whole), Some(half)) = (live(DType::F32), live(DType::F16)) else { return };
    assert!(3 * half < 2 * whole, "{half} of {whole}");
}

#[test]
fn matrix_units_that_an_adapter_names_compute_what_they_should() {
    let Some(device) = own(&GpuOptions::default().dtype(DType::F16)) else { return };
    let facts = device.gpu_facts().expect("a GPU");
    let named = !facts.matrices.is_empty() && facts.subgroups.is_some_and(|[least, most]| least == most);
    assert_eq!(device.has_matrix_units(), named, "{facts:?}");
}

#[test]
fn a_budget_is_an_error_that_says_so_and_leaves_the_device_usable() {
    let Some(device) = own(&GpuOptions::default().budget(1 << 20)) else { return };
    let error = Tensor::zeros(&device, &[1 << 20]).expect_err("4 MiB of 1");
    assert!(matches!(error, Error::GpuMemory { .. }), "{error}");
    assert!(error.to_string().contains("the bound set for it is 1 MiB"), "{error}");
    let small = Tensor::zeros(&device, &[1 << 10]).expect("4 KiB of 1 MiB");
    assert_eq!(small.to_vec().expect("values"), vec![0.0; 1 << 10]);
}

#[test]
fn a_long_chain_of_dispatches_runs_in_order() {
    let Some(device) = own(&GpuOptions::default()) else { return };
    let mut x = Tensor::from_vec(&device, &[5], vec![0.0, 1.0, 2.0, 3.0, 4.0]).expect("5 values");
    for _ in 0..300 {
        // Each step's buffer is free for the next but one.
        x = scale_add(x, -1.0, 1.0).expect("runs");
    }
    assert_eq!(x.to_vec().expect("values"), [0.0, 1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn uploads_between_dispatches_do_not_reach_back() {
    let Some(device) = own(&GpuOptions::default()) else { return };
    let mut sums = Vec::new();
    for i in 0..100 {
        let one = Tensor::from_vec(&device, &[64], vec![i as f32; 64]).expect("64 values");
        let two = Tensor::from_vec(&device, &[64], vec![0.5; 64]).expect("64 values");
        sums.push(add(one, &two).expect("runs"));
    }
    for (i, sum) in sums.iter().enumerate() {
        assert_eq!(sum.to_vec().expect("values"), vec![i as f32 + 0.5; 64]);
    }
}

#[test]
fn threads_share_a_device() {
    const THREADS: u32 = 4;
    let Some(device) = own(&GpuOptions::default()) else { return };
    let (tell, told) = std::sync::mpsc::channel();
    for t in 0..THREADS {
        let (device, tell) = (device.clone(), tell.clone());
        std::thread::spawn(move || {
            for i in 0..400 {
                let values = sequence(1000, 1000 * t + i);
                let x = Tensor::from_vec(&device, &[1000], values.clone()).expect("1000 values");
                let y = scale_add(x, 2.0, 1.0).expect("runs").to_vec().expect("values");
                assert!(values.iter().zip(&y).all(|(x, y)| *y == x * 2.0 + 1.0));
            }
            tell.send(()).expect("somebody waits");
        });
    }
    drop(tell);
    // Threads that wait for news which another has taken wait for ever: that is to fail, not to hang.
    for _ in 0..THREADS {
        told.recv_timeout(Duration::from_secs(300)).expect("a thread failed, or waits for ever");
    }
}

#[test]
fn what_the_gpu_does_not_take_is_refused_in_words() {
    let Some(device) = own(&GpuOptions::default()) else { return };
    let wide = Tensor::zeros(&device, &[1, 2, 300]).expect("600 zeros");
    let error = attention(&wide, &wide, &wide, AttentionOptions::heads(1)).expect_err("a head of 300");
    assert!(error.to_string().contains("the GPU takes 256 at most"), "{error}");
    let error = Device::gpu(&GpuOptions::default().dtype(DType::Bf16)).expect_err("no bf16");
    assert!(error.to_string().contains("f32 or f16"), "{error}");
    let nowhere = GpuOptions::default().choice(GpuChoice::Name("no such card".to_owned()));
    let error = Device::gpu(&nowhere).expect_err("no such card");
    assert!(error.to_string().contains("does not have a GPU named"), "{error}");
}

#[test]
fn a_lost_device_is_an_error_that_names_what_was_asked_last() {
    let Some(device) = own(&GpuOptions::default()) else { return };
    let x = Tensor::zeros(&device, &[8]).expect("8 zeros");
    device.lose_gpu();
    let error = scale_add(x, 1.0, 1.0).and_then(|y| y.to_vec()).expect_err("the device is gone");
    assert!(matches!(&error, Error::GpuLost { last: "unary", .. }), "{error}");
}

#[test]
fn a_model_whose_gpu_was_lost_answers_again_once_restarted() {
    let Some(device) = own(&GpuOptions::default()) else { return };
    let model = Model::load(&data("micro.safetensors"), &device).expect("it loads");
    let found = segment_once(&model);
    device.lose_gpu();
    let picture =
        Picture::open(&data("recorded/images/m0.png"), &DecodeOptions::default()).expect("a picture");
    let lost = model.encode_image(&picture.view(), ResizeMode::Exact8);
    assert!(matches!(lost, Err(sam3i::Error::Engine(Error::GpuLost { .. }))), "the device is gone");
    assert_eq!(segment_once(&model.restarted().expect("it starts again")), found);
}
