//! Data sets and metrics against what the reference's scripts and pycocotools gave.

use proptest::prelude::*;
use sam3i::mask::{Mask, Rle};
use sam3i::metrics::polygon::{polygon_to_runs, polygons_to_runs};
use sam3i::metrics::predictions::{self, Prediction, Record, Score};
use sam3i::metrics::queries::{Query, Select, queries};
use sam3i::metrics::runs::Join;
use sam3i::metrics::{Annotations, Evaluation, Mode, NoTarget, Runs, evaluate};
use sam3i::{Level, Result};
use sam3i_tests::goldens::data;
use serde_json::{Value, json};
use std::path::PathBuf;

fn json_of(file: &str) -> Value {
    let text = std::fs::read_to_string(data(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn annotations(value: &Value) -> Annotations {
    Annotations::from_json(value.to_string().as_bytes()).expect("an annotation file")
}

fn records(value: &Value) -> Vec<Record> {
    predictions::from_json(value.to_string().as_bytes()).expect("a prediction file")
}

/// Folders `case*` of the recorded evaluations.
fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data("eval")).expect("recorded evaluations");
    let folders = entries.map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<_> = folders.filter(|path| path.join("gt.json").is_file()).collect();
    cases.sort();
    assert_eq!(cases.len(), 8);
    cases
}

fn close(ours: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: no number"));
    assert!((ours - expected).abs() <= 1e-12 * expected.abs(), "{what}: {ours}, not {expected}");
}

#[test]
fn every_recorded_evaluation_has_its_report_and_its_doubles() {
    for case in cases() {
        let name = case.display();
        let truth = Annotations::read(&case.join("gt.json")).expect("annotations");
        let records = predictions::read(&case.join("pred.json")).expect("predictions");
        let expected: Value =
            serde_json::from_slice(&std::fs::read(case.join("expected.json")).expect("read")).expect("JSON");
        let mode: Mode = expected["mode"].as_str().expect("a mode").parse().expect("a mode");
        let ours = evaluate(&truth, &records, mode, NoTarget::Zero).expect("evaluated");
        let lines: Vec<Value> = ours.report().lines().map(Value::from).collect();
        assert_eq!(Value::from(lines), expected["report"], "{name}");

        let doubles = &expected["unrounded"];
        close(ours.giou, &doubles["giou"], "gIoU");
        let ious = doubles.get("ious").or(doubles.get("image_ious")).expect("IoUs");
        assert_eq!(ours.samples.len(), ious.as_array().expect("a list").len(), "{name}");
        ours.samples.iter().enumerate().for_each(|(i, sample)| close(sample.iou, &ious[i], "IoU"));
        match mode {
            Mode::OneToOne => one_to_one_doubles(&ours, doubles),
            Mode::MultiInst => {
                close(ours.p_50, &doubles["p_50"], "P@0.5");
                let hits = &doubles["image_p50s"];
                ours.samples.iter().enumerate().for_each(|(i, sample)| close(sample.hit, &hits[i], "hit"));
            }
        }
    }
}

fn one_to_one_doubles(ours: &Evaluation, doubles: &Value) {
    close(ours.p_50, &doubles["p_05"], "P@0.5");
    close(ours.miou.expect("1to1"), &doubles["miou"], "mIoU");
    assert_eq!(ours.miou, ours.ciou);
    close(ours.ap.expect("1to1"), &doubles["ap_coco"], "AP");
    close(ours.ap_50.expect("1to1"), &doubles["ap_50"], "AP50");
    let pixels = ours.pixels.expect("1to1");
    close(pixels.intersection as f64, &doubles["intersection_sum"], "intersection");
    close(pixels.union as f64, &doubles["union_sum"], "union");
}

#[test]
fn queries_are_the_references() {
    let file = annotations(&json_of("eval/inference_json/annotations.json"));
    let expected = json_of("eval/inference_json/expected_queries.json");
    let by_levels: [(&str, &[Level]); 4] = [
        ("simple", &[Level::Simple]),
        ("complex", &[Level::Complex]),
        ("concept", &[Level::Concept]),
        ("concept+simple+complex", &[Level::Complex, Level::Concept, Level::Simple]),
    ];
    for (key, levels) in by_levels {
        let asked = queries(&file, &Select::levels(levels)).expect("queries");
        let mut theirs = expected[key].clone();
        for query in theirs.as_array_mut().expect("a list") {
            let fields = query.as_object_mut().expect("a query");
            fields.retain(|name, _| name != "width" && name != "height");
            fields.insert("predictions".to_owned(), json!([]));
        }
        let ours: Vec<Record> = asked.into_iter().map(|query: Query| query.answered(vec![])).collect();
        assert_eq!(serde_json::to_value(&ours).expect("plain data"), theirs, "{key}");
    }
}

#[test]
fn parts_merge_as_the_references() {
    let expected = json_of("eval/inference_json/expected_merge.json");
    let mut merged = records(&json_of("eval/inference_json/merge_input.json"));
    predictions::sort(&mut merged);
    assert_eq!(serde_json::to_value(&merged).expect("plain data"), expected["keep_all"]);
    predictions::keep_top1(&mut merged);
    assert_eq!(serde_json::to_value(&merged).expect("plain data"), expected["keep_top1"]);
}

#[test]
fn polygons_are_pycocotools() {
    for case in json_of("eval/rle/polygons.json")["polygons"].as_array().expect("a list") {
        let size = |key: &str| case[key].as_u64().expect("a size") as usize;
        let (height, width) = (size("height"), size("width"));
        let polygons: Vec<Vec<f64>> = serde_json::from_value(case["polygons"].clone()).expect("polygons");
        for (xy, counts) in polygons.iter().zip(case["per_polygon_counts"].as_array().expect("a list")) {
            let runs = polygon_to_runs(xy, height, width).expect("a polygon");
            assert_eq!(runs.to_rle().expect("small").counts, *counts, "{}", case["name"]);
        }
        let all = polygons_to_runs(&polygons, height, width).expect("polygons");
        assert_eq!(all.to_rle().expect("small").counts, case["merged_counts"], "{}", case["name"]);
        assert_eq!(all.area(), case["area"].as_u64().expect("pixels"), "{}", case["name"]);
        assert_eq!(xywh(&all), case["bbox_xywh"], "{}", case["name"]);
    }
}

fn xywh(runs: &Runs) -> Value {
    let bounds = runs.bounds();
    json!([bounds.x as f64, bounds.y as f64, bounds.width as f64, bounds.height as f64])
}

#[test]
fn pairs_of_masks_are_pycocotools() {
    let recorded = json_of("eval/rle/masks.json");
    let read = |value: &Value| -> (String, Runs) {
        let rle: Rle =
            serde_json::from_value(json!({"size": value["size"], "counts": value["counts"]})).expect("RLE");
        (value["name"].as_str().expect("a name").to_owned(), Runs::from_rle(&rle).expect("a mask"))
    };
    let masks: std::collections::HashMap<String, Runs> =
        recorded["masks"].as_array().expect("a list").iter().map(read).collect();
    for case in recorded["masks"].as_array().expect("a list") {
        let runs = &masks[case["name"].as_str().expect("a name")];
        assert_eq!(
            (runs.area(), xywh(runs)),
            (case["area"].as_u64().expect("pixels"), case["bbox_xywh"].clone())
        );
    }
    let pairs = recorded["pairs"].as_array().expect("a list");
    assert!(!pairs.is_empty());
    for pair in pairs {
        let [a, b] = ["dt", "gt"].map(|key| &masks[pair[key].as_str().expect("a name")]);
        close(a.coco_iou(b, false), &pair["iou"], "IoU");
        close(a.coco_iou(b, true), &pair["iou_gt_crowd"], "crowd IoU");
        for (how, key) in [(Join::Union, "union_counts"), (Join::Intersection, "intersection_counts")] {
            let joined = a.join(b, how).expect("one size").to_rle().expect("small");
            assert_eq!(joined.counts, pair[key], "{key}");
        }
    }
}

/// A row of spec section 6.5: what is changed in the recorded case 1 or 4, and what comes of it in each mode.
struct BadInput {
    what: &'static str,
    change: fn(&mut Value, &mut Value),
    one_to_one: Result<(), &'static str>,
    multi_inst: Result<(), &'static str>,
}

#[test]
fn inputs_the_reference_fails_on_are_accepted_or_named() {
    let cases = [
        BadInput {
            what: "polygon ground truth",
            change: |truth, _| truth["annotations"][0]["segmentation"] = json!([[0, 0, 3, 0, 3, 2]]),
            one_to_one: Ok(()),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "listed run lengths",
            change: |truth, _| truth["annotations"][0]["segmentation"]["counts"] = json!([10, 20, 18]),
            one_to_one: Ok(()),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "ground truth without mask",
            change: |truth, _| truth["annotations"][0]["segmentation"] = Value::Null,
            one_to_one: Err("annotation 1: has no mask"),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "another size",
            change: |_, pred| {
                pred[0]["predictions"] = json!([{"rle": {"size": [4, 5], "counts": "d0"}, "score": 1}])
            },
            one_to_one: Err("record 1 (annotation 1): its masks are 5 x 4"),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "a null mask after another",
            change: |_, pred| {
                pred[0]["predictions"].as_array_mut().expect("a list").push(json!({"rle": null}))
            },
            one_to_one: Ok(()),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "area and iscrowd missing",
            change: |truth, _| {
                let fields = truth["annotations"][0].as_object_mut().expect("an annotation");
                fields.retain(|key, _| key != "area" && key != "iscrowd");
            },
            one_to_one: Ok(()),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "unknown image",
            change: |_, pred| pred[0]["image_id"] = json!(9999),
            one_to_one: Err("record 1: names image 9999"),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "no annotation id",
            change: |_, pred| drop(pred[0].as_object_mut().expect("a record").remove("annotation_id")),
            one_to_one: Err("record 1: has no `annotation_id`"),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "no image id",
            change: |_, pred| drop(pred[0].as_object_mut().expect("a record").remove("image_id")),
            one_to_one: Err("has no `image_id`"),
            multi_inst: Err("has no `image_id`"),
        },
        BadInput {
            what: "null score",
            change: |_, pred| pred[0]["predictions"][0]["score"] = Value::Null,
            one_to_one: Err("record 1 (annotation 1): has a score that is null"),
            multi_inst: Ok(()),
        },
        BadInput {
            what: "malformed run lengths",
            change: |_, pred| pred[0]["predictions"][0]["rle"]["counts"] = json!("d"),
            one_to_one: Err("record 1 (annotation 1): not a usable run-length encoded mask"),
            multi_inst: Err("record 1 (annotation 1): not a usable run-length encoded mask"),
        },
        BadInput {
            what: "malformed ground truth",
            change: |truth, _| truth["annotations"][0]["segmentation"]["counts"] = json!("~"),
            one_to_one: Err("annotation 1: not a usable run-length encoded mask"),
            multi_inst: Err("annotation 1: not a usable run-length encoded mask"),
        },
    ];
    for case in cases {
        let (mut truth, mut pred) =
            (json_of("eval/case1_1to1_basic/gt.json"), json_of("eval/case1_1to1_basic/pred.json"));
        (case.change)(&mut truth, &mut pred);
        let (truth, pred) = (annotations(&truth), records(&pred));
        for (mode, expected) in [(Mode::OneToOne, case.one_to_one), (Mode::MultiInst, case.multi_inst)] {
            let result = evaluate(&truth, &pred, mode, NoTarget::Zero).map_err(|e| e.to_string());
            match (result, expected) {
                (Ok(_), Ok(())) => {}
                (Err(message), Err(words)) if message.contains(words) => {}
                (result, _) => panic!("{}, {mode}: {expected:?}, but {result:?}", case.what),
            }
        }
    }
}

#[test]
fn abstaining_is_rewarded_only_where_it_was_asked_for() {
    let image = |id: i64| json!({"id": id, "height": 2, "width": 2});
    let empty = json!({"size": [2, 2], "counts": ""});
    let truth = annotations(&json!({
        "images": [image(1), image(2), image(3), image(4)],
        "annotations": [
            {"id": 1, "image_id": 1, "segmentation": empty}, {"id": 2, "image_id": 2, "segmentation": empty},
            {"id": 4, "image_id": 4, "segmentation": {"size": [2, 2], "counts": "04"}},
        ],
    }));
    let some = json!([{"rle": {"size": [2, 2], "counts": "04"}, "score": 0.9}]);
    let record = |id: i64, found: &Value| json!({"annotation_id": id, "image_id": id, "predictions": found});
    let pred = records(&json!([record(1, &json!([])), record(2, &some), record(4, &some)]));
    // Image 3 was never asked.
    let run = |mode, no_target| evaluate(&truth, &pred, mode, no_target).expect("evaluated");
    let ious = |run: &Evaluation| run.samples.iter().map(|sample| sample.iou).collect::<Vec<_>>();
    assert_eq!(ious(&run(Mode::MultiInst, NoTarget::Zero)), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(ious(&run(Mode::OneToOne, NoTarget::Zero)), [0.0, 0.0, 1.0]);
    let abstain = run(Mode::MultiInst, NoTarget::Abstain);
    assert_eq!(ious(&abstain), [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(
        (abstain.unanswered, abstain.abstention.n_acc(), abstain.abstention.t_acc()),
        (1, 50.0, 100.0)
    );
    assert!(abstain.report().contains("N-acc (no target, silent)      | 50.00"));
    assert_eq!(ious(&run(Mode::OneToOne, NoTarget::Abstain)), [1.0, 0.0, 1.0]);
}

/// Two masks of one size.
fn two_masks() -> impl Strategy<Value = (Mask, Mask)> {
    (1usize..12, 1usize..12).prop_flat_map(|(width, height)| {
        let bits = || proptest::collection::vec(0u8..2, width * height);
        (bits(), bits()).prop_map(move |(a, b)| {
            let mask = |bits| Mask::new(width, height, bits).expect("its size");
            (mask(a), mask(b))
        })
    })
}

/// Masks of 6 x 4 pixels, or none.
fn found() -> impl Strategy<Value = Vec<Prediction>> {
    let bits = proptest::collection::vec(0u8..2, 24);
    let one = (bits, 0.0..1.0f64).prop_map(|(bits, score)| {
        let rle = Mask::new(6, 4, bits).expect("its size").to_rle().expect("small");
        Prediction { rle: rle.into(), score: Score::Value(score) }
    });
    proptest::collection::vec(one, 0..3)
}

proptest! {
    #[test]
    fn runs_are_joined_and_compared_as_pixels((a, b) in two_masks()) {
        let joined = |f: fn(u8, u8) -> u8| {
            let bits = a.bits.iter().zip(&b.bits).map(|(&a, &b)| f(a, b)).collect();
            Mask::new(a.width, a.height, bits).expect("its size")
        };
        let (union, intersection) = (joined(|a, b| a | b), joined(|a, b| a & b));
        let (ours, theirs) = (Runs::from_mask(&a).expect("small"), Runs::from_mask(&b).expect("small"));
        for (how, mask) in [(Join::Union, &union), (Join::Intersection, &intersection)] {
            prop_assert_eq!(ours.join(&theirs, how).expect("one size"), Runs::from_mask(mask).expect("small"));
        }
        let overlap = ours.overlap(&theirs).expect("one size");
        prop_assert_eq!(overlap.union as usize, union.area());
        prop_assert_eq!(overlap.intersection as usize, intersection.area());
        prop_assert_eq!(ours.area() as usize, a.area());
        prop_assert!(ours.join(&ours, Join::Union).expect("one size") == ours);
    }

    #[test]
    fn polygons_never_fail_within_reason(
        xy in proptest::collection::vec(-50.0..80.0f64, 6..30), height in 0usize..40, width in 0usize..40,
    ) {
        let xy = &xy[..xy.len() / 2 * 2];
        let runs = polygon_to_runs(xy, height, width).expect("a polygon");
        prop_assert_eq!(runs.lengths().iter().map(|&run| run as usize).sum::<usize>(), height * width);
    }

    #[test]
    fn metrics_stay_between_0_and_100_and_perfect_predictions_are_perfect(
        targets in proptest::collection::vec(proptest::collection::vec(0u8..2, 24), 1..6),
        answers in proptest::collection::vec(found(), 1..8),
    ) {
        let rles: Vec<Rle> = targets
            .into_iter()
            .map(|bits| Mask::new(6, 4, bits).expect("its size").to_rle().expect("small"))
            .collect();
        let images: Vec<Value> = (0..rles.len()).map(|id| json!({"id": id, "height": 4, "width": 6})).collect();
        let targets: Vec<Value> = rles.iter().enumerate()
            .map(|(id, rle)| json!({"id": id + 1, "image_id": id, "segmentation": rle}))
            .collect();
        let truth = annotations(&json!({"images": images, "annotations": targets}));
        let record = |id: usize, predictions| Record {
            annotation_id: Some((id as i64 + 1).into()),
            image_id: Some((id as i64).into()),
            predictions,
            ..Record::default()
        };
        let any: Vec<_> =
            answers.into_iter().enumerate().map(|(i, found)| record(i % rles.len(), found)).collect();
        let exact = |rle: &Rle| vec![Prediction { rle: rle.clone().into(), score: Score::Value(0.9) }];
        let perfect: Vec<_> = rles.iter().enumerate().map(|(id, rle)| record(id, exact(rle))).collect();
        for mode in [Mode::OneToOne, Mode::MultiInst] {
            for no_target in [NoTarget::Zero, NoTarget::Abstain] {
                let run = evaluate(&truth, &any, mode, no_target).expect("evaluated");
                for value in [Some(run.giou), Some(run.p_50), run.ciou, run.ap, run.ap_50].into_iter().flatten() {
                    prop_assert!((0.0..=100.0).contains(&value), "{value}");
                }
            }
            let run = evaluate(&truth, &perfect, mode, NoTarget::Abstain).expect("evaluated");
            prop_assert_eq!((run.giou, run.p_50), (100.0, 100.0));
        }
    }

    #[test]
    fn no_file_makes_the_readers_panic(text in r#"[\[\]{}:,"0-9a-z_ .-]{0,60}"#) {
        drop(Annotations::from_json(text.as_bytes()));
        drop(predictions::from_json(text.as_bytes()));
    }
}
