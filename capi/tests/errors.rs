//! What a host can do wrong, and what it may rely on: the functions of the C interface, called from Rust.
#![cfg(feature = "embedded-nano")]

mod common;

use common::*;
use sam3i::{ImageView, Picture};
use sam3i_capi::*;
use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

fn grey() -> Picture {
    Picture::new(40, 30, vec![128; 3600]).expect("a picture")
}

/// Everything that fails, with the words its sentence has to hold.
#[track_caller]
fn refused<T>(result: Result<T, sam3i_status>, status: sam3i_status, words: &str) {
    assert_eq!(result.err(), Some(status), "{}", last_error());
    let sentence = last_error();
    assert!(sentence.contains(words), "{sentence}");
}

#[test]
fn nothing_where_something_has_to_be_is_an_error() {
    let (device, picture) = (one_thread(), grey());
    let model = nano(&device);
    let image = encode(model.raw, &picture.view(), null()).expect("it encodes");
    let prompt = sentence(c"cat", SAM3I_LEVEL_CONCEPT);
    let found = segment(model.raw, image.raw, &prompt, null()).expect("it answers");

    refused(encode(null(), &picture.view(), null()), SAM3I_ERROR_ARGUMENT, "model is NULL");
    refused(segment(null(), image.raw, &prompt, null()), SAM3I_ERROR_ARGUMENT, "model is NULL");
    refused(segment(model.raw, null(), &prompt, null()), SAM3I_ERROR_ARGUMENT, "image is NULL");
    refused(segment(model.raw, image.raw, null(), null()), SAM3I_ERROR_ARGUMENT, "prompt is NULL");
    struct Case(&'static str, Box<dyn Fn() -> sam3i_status>, &'static str);
    let (m, i, f, d) = (model.raw, image.raw, found.raw, device.raw);
    // SAFETY (of each): handles that live, or null; no buffer is longer than it is said to be.
    #[allow(clippy::undocumented_unsafe_blocks, reason = "one note for the table")]
    let cases = [
        Case(
            "device_create",
            Box::new(|| unsafe { sam3i_device_create(null(), null_mut()) }),
            "device is NULL",
        ),
        Case(
            "device_memory",
            Box::new(|| unsafe { sam3i_device_memory(null(), null_mut(), null_mut()) }),
            "device is NULL",
        ),
        Case(
            "load",
            Box::new(move || unsafe { sam3i_model_load(null(), d, &mut nothing()) }),
            "path is NULL",
        ),
        Case(
            "load",
            Box::new(move || unsafe { sam3i_model_load(c"x".as_ptr(), d, null_mut()) }),
            "model is NULL",
        ),
        Case(
            "load",
            Box::new(move || unsafe { sam3i_model_load(c"".as_ptr(), d, &mut nothing()) }),
            "path is empty",
        ),
        Case(
            "load_embedded",
            Box::new(move || unsafe { sam3i_model_load_embedded(d, null_mut()) }),
            "model is NULL",
        ),
        Case(
            "encode",
            Box::new(move || unsafe { sam3i_image_encode(m, null(), 4, 4, 12, null(), &mut nothing()) }),
            "rgb is NULL",
        ),
        Case(
            "encode",
            Box::new(move || unsafe { sam3i_image_encode(m, [0; 3].as_ptr(), 1, 1, 3, null(), null_mut()) }),
            "image is NULL",
        ),
        Case(
            "segment",
            Box::new(move || unsafe { sam3i_segment(m, i, &sam3i_prompt::default(), null(), null_mut()) }),
            "segmentation is NULL",
        ),
        Case(
            "summary",
            Box::new(move || unsafe { sam3i_segmentation_summary(f, null_mut()) }),
            "summary is NULL",
        ),
        Case(
            "summary",
            Box::new(|| unsafe { sam3i_segmentation_summary(null(), null_mut()) }),
            "segmentation is NULL",
        ),
        Case(
            "mask",
            Box::new(|| unsafe { sam3i_segmentation_mask(null(), 0, 1, null_mut(), 0, 0) }),
            "segmentation is NULL",
        ),
    ];
    for Case(name, call, words) in cases {
        assert_eq!(call(), SAM3I_ERROR_ARGUMENT, "{name}");
        assert!(last_error().contains(words), "{name}: {}", last_error());
    }
    // SAFETY: null is allowed everywhere here.
    unsafe {
        assert!(sam3i_device_name(null()).is_null() && sam3i_model_description(null()).is_null());
        sam3i_device_trim(null());
        sam3i_device_free(null_mut());
        sam3i_model_free(null_mut());
        sam3i_image_free(null_mut());
        sam3i_segmentation_free(null_mut());
    }
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let options = sam3i_device_options::default();
    let bad = |options: sam3i_device_options, words| refused(device(&options), SAM3I_ERROR_ARGUMENT, words);
    bad(sam3i_device_options { kind: 3, ..options }, "kind is 3");
    bad(sam3i_device_options { dtype: -1, ..options }, "dtype is -1");
    bad(sam3i_device_options { threads: 1025, ..options }, "threads is 1025");
    bad(sam3i_device_options { size: 0, ..options }, "begin with SAM3I_DEVICE_OPTIONS_INIT");
    let reference = sam3i_device_options { kind: SAM3I_DEVICE_REFERENCE, ..options };
    bad(sam3i_device_options { dtype: SAM3I_DTYPE_BF16, ..reference }, "f32 only");
    assert!(device(&reference).is_ok());
    let half = sam3i_device_options { dtype: SAM3I_DTYPE_F16, ..options };
    refused(device(&half), SAM3I_ERROR_DEVICE, "no f16 products");

    let (device, picture) = (one_thread(), grey());
    let model = nano(&device);
    let encoding = sam3i_encode_options { resize: 9, ..Default::default() };
    refused(encode(model.raw, &picture.view(), &encoding), SAM3I_ERROR_ARGUMENT, "resize is 9");
    let image = encode(model.raw, &picture.view(), null()).expect("it encodes");
    let ask = |prompt: &sam3i_prompt, options: *const sam3i_segment_options, words| {
        refused(segment(model.raw, image.raw, prompt, options), SAM3I_ERROR_ARGUMENT, words);
    };
    let prompt = sentence(c"cat", SAM3I_LEVEL_SIMPLE);
    ask(&sam3i_prompt { level: 4, ..prompt }, null(), "level is 4");
    ask(&sam3i_prompt { size: 8, ..prompt }, null(), "begin with SAM3I_PROMPT_INIT");
    ask(&sam3i_prompt::default(), null(), "the prompt is empty");
    ask(&sam3i_prompt { text: c"a\xffb".as_ptr(), ..prompt }, null(), "text is not UTF-8 from byte 1 on");
    ask(&sam3i_prompt { box_count: 2, ..prompt }, null(), "boxes is NULL, but there are to be 2");
    let outside = sam3i_box { x0: 50.0, y0: 0.0, x1: 60.0, y1: 9.0, positive: 1 };
    ask(&sam3i_prompt { boxes: &outside, box_count: 1, ..prompt }, null(), "lies outside the picture");
    let strict =
        |threshold, mask_threshold| sam3i_segment_options { threshold, mask_threshold, ..Default::default() };
    ask(&prompt, &strict(f32::NAN, 0.5), "threshold is NaN");
    ask(&prompt, &strict(0.5, 1.5), "mask_threshold is 1.5");
}

#[test]
fn pictures_without_pixels_or_with_too_many_are_refused() {
    let device = one_thread();
    let model = nano(&device);
    let rgb = [0; 12];
    for (width, height, stride, words) in [
        (0, 2, 6, "both sides must be at least 1"),
        (2, 0, 6, "both sides must be at least 1"),
        (2, 2, 5, "do not fit a stride of 5 bytes"),
        (usize::MAX / 2, 1, usize::MAX, "more than any memory holds"),
        (1, usize::MAX / 2, 4, "more than any memory holds"),
    ] {
        let mut image = null_mut();
        // SAFETY: each is refused before a pixel is read.
        let status =
            unsafe { sam3i_image_encode(model.raw, rgb.as_ptr(), width, height, stride, null(), &mut image) };
        assert_eq!((status, image.is_null()), (SAM3I_ERROR_ARGUMENT, true), "{width} x {height}");
        assert!(last_error().contains(words), "{}", last_error());
    }
}

#[test]
fn models_that_are_none_are_told_apart_from_devices_that_are_none() {
    let load = |path: &CStr| {
        Handle::new(sam3i_model_free, |out| {
            // SAFETY: a string, and a place for the handle.
            unsafe { sam3i_model_load(path.as_ptr(), null(), out) }
        })
    };
    refused(load(c"no/such/model.pt"), SAM3I_ERROR_MODEL, "no/such/model.pt: no model here");
    let source = CString::new(file!().replace("capi/", "")).expect("a path");
    refused(load(&source), SAM3I_ERROR_MODEL, "errors.rs");
    #[cfg(not(feature = "gpu"))]
    refused(
        device(&sam3i_device_options { kind: SAM3I_DEVICE_GPU, ..Default::default() }),
        SAM3I_ERROR_DEVICE,
        "no GPU device",
    );
}

#[test]
fn a_model_loads_by_its_path_and_says_what_it_lacks() {
    let folder = Folder::new("load");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    for (from, to) in [("micro_base.pt", "micro_base.pt"), ("micro_config.json", "config.json")] {
        fs::copy(data.join(from), folder.0.join(to)).expect("copied");
    }
    let path = CString::new(folder.0.to_str().expect("UTF-8")).expect("a path");
    let device = one_thread();
    let model = Handle::new(sam3i_model_free, |out| {
        // SAFETY: a string, a handle that lives, a place for another.
        unsafe { sam3i_model_load(path.as_ptr(), device.raw, out) }
    });
    let Ok(model) = model else { panic!("{}", last_error()) };
    // SAFETY: the string lives as long as the model.
    let about = unsafe { CStr::from_ptr(sam3i_model_description(model.raw)) }.to_str().expect("UTF-8");
    assert!(about.contains("simple and complex run as concept") && !about.ends_with('\n'), "{about}");
    let image = encode(model.raw, &grey().view(), null()).expect("it encodes");
    let found = segment(model.raw, image.raw, &sentence(c"cat", SAM3I_LEVEL_CONCEPT), null());
    assert_eq!(summary(&found.expect("it answers")).width, 40);
}

#[test]
fn a_picture_of_another_model_is_refused_even_when_its_model_is_gone() {
    let (device, picture) = (one_thread(), grey());
    let (one, other) = (nano(&device), nano(&device));
    let image = encode(one.raw, &picture.view(), null()).expect("it encodes");
    let prompt = sentence(c"cat", SAM3I_LEVEL_CONCEPT);
    refused(segment(other.raw, image.raw, &prompt, null()), SAM3I_ERROR_ARGUMENT, "another model");
    drop(one);
    let third = nano(&device);
    refused(segment(third.raw, image.raw, &prompt, null()), SAM3I_ERROR_ARGUMENT, "another model");
}

/// Counts the calls, and stops at the one that `user` says.
unsafe extern "C" fn stop_at(user: *mut c_void, stage: i32, done: usize, of: usize) -> i32 {
    assert!((SAM3I_STAGE_IMAGE..=SAM3I_STAGE_MASKS).contains(&stage) && done < of);
    // SAFETY: `user` is a counter that outlives the call.
    let left = unsafe { &*user.cast::<AtomicUsize>() };
    i32::from(left.fetch_sub(1, Ordering::Relaxed) == 0)
}

#[test]
fn a_watcher_stops_the_work_and_the_model_goes_on() {
    let (device, picture) = (one_thread(), grey());
    let model = nano(&device);
    let left = AtomicUsize::new(1);
    let user = (&raw const left).cast_mut().cast();
    let watched = sam3i_encode_options { watch: Some(stop_at), watch_user: user, ..Default::default() };
    refused(encode(model.raw, &picture.view(), &watched), SAM3I_ERROR_STOPPED, "stopped");
    left.store(usize::MAX / 2, Ordering::Relaxed);
    let image = encode(model.raw, &picture.view(), &watched).expect("it encodes");
    assert!(left.load(Ordering::Relaxed) < usize::MAX / 2, "it was told of steps");

    let prompt = sentence(c"cat", SAM3I_LEVEL_SIMPLE);
    left.store(2, Ordering::Relaxed);
    let watched = sam3i_segment_options { watch: Some(stop_at), watch_user: user, ..Default::default() };
    refused(segment(model.raw, image.raw, &prompt, &watched), SAM3I_ERROR_STOPPED, "stopped");
    left.store(usize::MAX / 2, Ordering::Relaxed);
    assert!(segment(model.raw, image.raw, &prompt, &watched).is_ok());
}

#[test]
fn options_do_what_they_do_in_rust() {
    let (device, picture) = (one_thread(), scene("dogs.png"));
    let model = nano(&device);
    let image = encode(model.raw, &picture.view(), null()).expect("it encodes");
    let all = sam3i_segment_options { threshold: 0.0, top_k: 5, ..Default::default() };
    let prompt = sentence(c"dog", SAM3I_LEVEL_COMPLEX);
    let found = segment(model.raw, image.raw, &prompt, &all).expect("it answers");
    let facts = summary(&found);
    assert_eq!((facts.count, facts.level, facts.truncated), (5, SAM3I_LEVEL_COMPLEX, 0));
    assert_eq!((facts.width, facts.height, facts.tokens), (picture.width, picture.height, 3));
    assert!((0.0..=1.0).contains(&facts.presence));
    refused(instance(&found, 5), SAM3I_ERROR_ARGUMENT, "index is 5, but 5 were found");

    // Examples without a sentence run at the concept level; boxes of both kinds, and points, go along.
    let boxes = [
        sam3i_box { x0: 5.0, y0: 5.0, x1: 60.0, y1: 60.0, positive: 1 },
        sam3i_box { x0: 70.0, y0: 70.0, x1: 90.0, y1: 90.0, positive: 0 },
    ];
    let points = [sam3i_point { x: 20.0, y: 30.0, positive: 1 }];
    let (b, p) = (boxes.as_ptr(), points.as_ptr());
    let prompt = sam3i_prompt {
        boxes: b,
        box_count: 2,
        points: p,
        point_count: 1,
        level: SAM3I_LEVEL_COMPLEX,
        ..Default::default()
    };
    let found = segment(model.raw, image.raw, &prompt, &all).expect("it answers");
    assert_eq!(summary(&found).level, SAM3I_LEVEL_CONCEPT);

    let rust_device = sam3i::Device::cpu(&sam3i::CpuOptions::default().threads(1)).expect("starts");
    let nano = sam3i::Checkpoint::nano().expect("nano");
    let in_rust = sam3i::Model::from_checkpoint(nano, &rust_device).expect("loads");
    let embedding = in_rust.encode_image(&picture.view(), sam3i::ResizeMode::default()).expect("it encodes");
    let prompt = sam3i::Prompt::examples()
        .include_box([5.0, 5.0, 60.0, 60.0])
        .exclude_box([70.0, 70.0, 90.0, 90.0])
        .point([20.0, 30.0], true);
    let options = sam3i::SegmentOptions::default().threshold(0.0).top_k(5);
    let expected = in_rust.segment(&embedding, &prompt, &options).expect("it answers");
    for (index, one) in expected.instances.iter().enumerate() {
        let same = instance(&found, index).expect("it is there");
        assert_eq!((same.query, same.area), (one.query, one.area));
        assert_eq!(same.score.to_bits(), one.score.to_bits());
        // SAFETY: the string lives as long as the answer.
        let code = unsafe { CStr::from_ptr(same.rle) };
        assert_eq!((code.to_str(), same.rle_length), (Ok(&*one.rle.counts), one.rle.counts.len()));
    }
}

#[test]
fn masks_are_written_within_their_rows() {
    let (device, picture) = (one_thread(), scene("dogs.png"));
    let model = nano(&device);
    // Rows with a gap between them: the same picture, so the same masks.
    let (width, height) = (picture.width, picture.height);
    let stride = 3 * width + 5;
    let mut rows = vec![77; stride * height];
    for (to, from) in rows.chunks_exact_mut(stride).zip(picture.rgb.chunks_exact(3 * width)) {
        to[..3 * width].copy_from_slice(from);
    }
    let view = ImageView::new(&rows, width, height, stride).expect("a picture");
    let image = encode(model.raw, &view, null()).expect("it encodes");
    let prompt = sentence(c"dog", SAM3I_LEVEL_CONCEPT);
    let found = segment(model.raw, image.raw, &prompt, null()).expect("it answers");
    assert!(summary(&found).count > 0);
    let write = |buffer: &mut [u8], value, stride| {
        // SAFETY: the buffer is as long as is said.
        unsafe { sam3i_segmentation_mask(found.raw, 0, value, buffer.as_mut_ptr(), buffer.len(), stride) }
    };
    let needed = (width + 3) * (height - 1) + width;
    let mut buffer = vec![9; needed];
    assert_eq!(write(&mut buffer, 255, width + 3), SAM3I_OK);
    let set = buffer.iter().filter(|&&byte| byte == 255).count();
    assert_eq!(set, instance(&found, 0).expect("it is there").area);
    for row in buffer.chunks(width + 3) {
        assert!(row[..width].iter().all(|&byte| byte == 0 || byte == 255));
        assert!(row[width..].iter().all(|&byte| byte == 9), "the gap is left alone");
    }
    let untouched = vec![9; needed - 1];
    let mut short = untouched.clone();
    assert_eq!(write(&mut short, 1, width + 3), SAM3I_ERROR_BUFFER);
    assert_eq!(write(&mut short, 1, width - 1), SAM3I_ERROR_BUFFER);
    assert_eq!(write(&mut short, 1, usize::MAX), SAM3I_ERROR_BUFFER);
    assert_eq!(write(&mut short, 0, width), SAM3I_ERROR_ARGUMENT);
    assert_eq!(short, untouched);
}

#[test]
fn handles_are_shared_by_threads_and_errors_are_not() {
    let (device, picture) = (one_thread(), grey());
    let model = nano(&device);
    let image = encode(model.raw, &picture.view(), null()).expect("it encodes");
    let before = last_error();
    std::thread::scope(|threads| {
        for level in [SAM3I_LEVEL_CONCEPT, SAM3I_LEVEL_SIMPLE, SAM3I_LEVEL_COMPLEX, 17] {
            let (model, image) = (&model, &image);
            threads.spawn(move || {
                assert_eq!(last_error(), "");
                let prompt = sentence(c"cat", level);
                let answer = segment(model.raw, image.raw, &prompt, null());
                assert_eq!(answer.is_ok(), level != 17, "{}", last_error());
                assert_eq!(last_error().contains("level is 17"), level == 17);
            });
        }
    });
    assert_eq!(last_error(), before);
}

#[test]
fn what_is_freed_gives_its_memory_back_whatever_the_order() {
    let device = one_thread();
    let live = || {
        let mut live = u64::MAX;
        // SAFETY: a handle that lives, and a place for a number.
        assert_eq!(unsafe { sam3i_device_memory(device.raw, &mut live, null_mut()) }, SAM3I_OK);
        live
    };
    let model = nano(&device);
    let image = encode(model.raw, &grey().view(), null()).expect("it encodes");
    let with_both = live();
    drop(model);
    let with_image = live();
    assert!(0 < with_image && with_image < with_both, "{with_image} of {with_both}");
    drop(image);
    assert_eq!(live(), 0);

    // A model keeps its device, an answer needs neither.
    let model = nano(&device);
    drop(device);
    let picture = scene("dogs.png");
    let image = encode(model.raw, &picture.view(), null()).expect("it encodes");
    let found =
        segment(model.raw, image.raw, &sentence(c"dog", SAM3I_LEVEL_CONCEPT), null()).expect("answers");
    drop((image, model));
    assert!(instance(&found, 0).expect("it is there").area > 0);
}

#[test]
fn versions_are_told() {
    assert_eq!(sam3i_abi_version(), SAM3I_ABI_VERSION);
    // SAFETY: the string lives as long as the library.
    let version = unsafe { CStr::from_ptr(sam3i_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}
