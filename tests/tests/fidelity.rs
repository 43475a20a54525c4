//! What bf16 and int8 cost us, held against what bf16 costs the published code (all against the published f32).
//!
//! `cargo test --release -p sam3i-tests --test fidelity -- --ignored --nocapture --test-threads 1`
//!
//! `SAM3I_FULL` may name the synthetic full-size model if it is there already; else it is made, which takes a minute.

use sam3i::engine::DType;
use sam3i::engine::weights::FileDType;
use sam3i::picture::DecodeOptions;
use sam3i::{Config, CpuOptions, Device, Instance, Model, Picture, ResizeMode, SegmentOptions};
use sam3i_tests::goldens::{TempFolder, goldens_dir};
use sam3i_tests::parity;
use sam3i_tests::recording::{RecordedCase, Recording};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Differences from the published f32, over the queries of a case. Extremes are printed; means are compared.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "printed")]
struct Cost {
    score_mean: f64,
    score_max: f64,
    /// Of boxes as fractions of the picture.
    box_mean: f64,
    box_max: f64,
    /// Of the recorded masks (the best).
    mask_iou_mean: f64,
    mask_iou_min: f64,
    /// Queries that change sides of the case's threshold.
    kept_changed: usize,
}

/// Bf16 is what `--dtype auto` takes where a processor has it, so it is held to the published code's own bf16: no worse over
/// the cases together. A case alone has twelve recorded masks of random weights, and another way of rounding moves their
/// mean by as much as the two codes differ (0.907 to 0.932 of one case, between two states of ours): it may be
/// two and a half times as far off.
#[test]
#[ignore = "the full-size model: minutes, 8 GiB of disk and memory; see docs/performance.md"]
fn bf16_costs_no_more_than_it_costs_the_published_code() {
    let costs = costs(DType::Bf16);
    assert_within(&costs, 2.5);
    let mean = |of: &dyn Fn(&Case) -> f64| costs.iter().map(of).sum::<f64>() / costs.len() as f64;
    for (what, ours, theirs) in [
        ("scores", mean(&|c| c.ours.score_mean), mean(&|c| c.theirs.score_mean)),
        ("boxes", mean(&|c| c.ours.box_mean), mean(&|c| c.theirs.box_mean)),
        ("masks", mean(&|c| 1.0 - c.ours.mask_iou_mean), mean(&|c| 1.0 - c.theirs.mask_iou_mean)),
    ] {
        println!("{what}, over the cases: {ours:.4}, published {theirs:.4}");
        assert!(ours <= theirs, "{what}: {ours} is worse than the published code's {theirs}");
    }
}

/// int8 is offered and never chosen by itself, so there is no bar of its own: this holds it to two and a half times what
/// bf16 costs the published code (measured: 0.6 to 2.1 times).
#[test]
#[ignore = "the full-size model: minutes, 8 GiB of disk and memory; see docs/performance.md"]
fn int8_costs_about_twice_what_bf16_costs_the_published_code() {
    assert_within(&costs(DType::Int8), 2.5);
}

/// A recorded case, and what a type costs us and the published code there.
struct Case {
    name: String,
    ours: Cost,
    theirs: Cost,
}

fn assert_within(cases: &[Case], times: f64) {
    for Case { name, ours, theirs } in cases {
        assert!(ours.score_mean <= times * theirs.score_mean, "{name}: scores");
        assert!(ours.box_mean <= times * theirs.box_mean, "{name}: boxes");
        assert!(1.0 - ours.mask_iou_mean <= times * (1.0 - theirs.mask_iou_mean), "{name}: masks");
    }
}

/// Runs every recorded case of the full model in a type, and prints what it costs.
fn costs(dtype: DType) -> Vec<Case> {
    let goldens = goldens_dir().expect("the recorded numbers");
    let text = std::fs::read_to_string(goldens.join("bf16_fidelity.json")).expect("the yardstick");
    let published: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).expect("the yardstick");
    let recording = Recording::read(&goldens, "full");
    let temp = TempFolder::new(&format!("fidelity-{dtype}"));
    let config: Config = serde_json::from_value(recording.manifest.config.clone()).expect("sizes");
    let weights = std::env::var_os("SAM3I_FULL").map(PathBuf::from).unwrap_or_else(|| {
        sam3i::synth::write_model(&config, temp.path(), FileDType::F32).expect("written");
        temp.path().to_owned()
    });
    let device = Device::cpu(&CpuOptions::default().dtype(dtype)).expect("a processor with such products");
    let model = Model::load(&weights, &device).expect("it loads");
    let path = goldens.join(&recording.manifest.images[0].file);
    let picture = Picture::open(&path, &DecodeOptions::default()).expect("a picture");
    let image = model.encode_image(&picture.view(), ResizeMode::Exact8).expect("it encodes");

    let size = [picture.width, picture.height];
    let compare = |case: &RecordedCase| {
        let all = SegmentOptions::default().threshold(0.0);
        let mut found = model.segment(&image, &parity::prompt(case), &all).expect("it runs").instances;
        found.sort_by_key(|i| i.query);
        let name = case.key.rsplit('/').next().expect("a name");
        let theirs: Cost = serde_json::from_value(published[name].clone()).expect("the case's cost");
        let ours = cost(&recording, case, &found, size);
        println!("{name}\n  ours      {ours:?}\n  published {theirs:?}");
        Case { name: name.to_owned(), ours, theirs }
    };
    recording.manifest.cases.iter().map(compare).collect()
}

fn cost(recording: &Recording, case: &RecordedCase, found: &[Instance], size: [usize; 2]) -> Cost {
    let recorded = |name: &str| &recording.tensors[&format!("{}/{name}", case.key)].values;
    let scores = recorded("out.scores");
    assert_eq!(found.len(), scores.len(), "every query answers at threshold 0");
    let score: Vec<f64> = found.iter().zip(scores).map(|(i, s)| (f64::from(i.score) - s).abs()).collect();

    let [width, height] = size.map(|n| n as f32);
    let boxes = found.iter().flat_map(|i| {
        let [x0, y0, x1, y1] = i.box_xyxy;
        [(x0 + x1) / 2.0 / width, (y0 + y1) / 2.0 / height, (x1 - x0) / width, (y1 - y0) / height]
    });
    let boxes: Vec<f64> =
        boxes.zip(recorded("out.pred_boxes")).map(|(x, y)| (f64::from(x) - y).abs()).collect();

    let threshold = f64::from(case.threshold);
    let sides =
        found.iter().zip(scores).filter(|(i, s)| (f64::from(i.score) > threshold) != (**s > threshold));
    let ious = mask_ious(recording, case, found);
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let most = |v: &[f64]| v.iter().copied().fold(0.0, f64::max);
    Cost {
        score_mean: mean(&score),
        score_max: most(&score),
        box_mean: mean(&boxes),
        box_max: most(&boxes),
        mask_iou_mean: mean(&ious),
        mask_iou_min: ious.iter().copied().fold(1.0, f64::min),
        kept_changed: sides.count(),
    }
}

/// Overlap of our masks with the recorded ones, for the queries whose masks were recorded.
fn mask_ious(recording: &Recording, case: &RecordedCase, found: &[Instance]) -> Vec<f64> {
    let recorded = |name: &str| &recording.tensors[&format!("{}/final.{name}", case.key)];
    let rows = &recorded("masks_packed_rows").values;
    let packed = &recorded("masks_packed").values;
    let bytes = packed.len() / rows.len();
    let kept = &recorded("keep_index").values;
    rows.iter()
        .zip(packed.chunks(bytes))
        .map(|(&row, packed)| {
            let ours = found[kept[row as usize] as usize].mask().expect("a mask").bits;
            let theirs = |i: usize| packed[i / 8] as u8 >> (7 - i % 8) & 1;
            let count = |f: &dyn Fn(u8, u8) -> bool| {
                ours.iter().enumerate().filter(|(i, bit)| f(**bit, theirs(*i))).count() as f64
            };
            let either = count(&|a, b| a | b != 0);
            if either == 0.0 { 1.0 } else { count(&|a, b| a & b != 0) / either }
        })
        .collect()
}
