//! Benchmarks in their published layouts become annotation files. The files here are made up after the layouts' descriptions.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sam3i(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sam3i"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("import-{name}"));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("made");
    folder
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, bytes).expect("written");
}

/// The annotation file that an import makes; `eval` must read it.
fn imported(folder: &Path, args: &[&str]) -> Value {
    let output = sam3i(folder, &[&["import"], args, &["-o", "ann.json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    write(folder, "pred.json", "[]");
    let read = sam3i(folder, &["eval", "--gt", "ann.json", "--pred", "pred.json", "--mode", "multi-inst"]);
    assert_eq!(read.status.code(), Some(0), "{}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&fs::read(folder.join("ann.json")).expect("read")).expect("JSON")
}

fn refused(folder: &Path, args: &[&str]) -> String {
    let output = sam3i(folder, &[&["import"], args, &["-o", "no.json"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(!folder.join("no.json").exists());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn square() -> Value {
    json!([[10, 10, 30, 10, 30, 30, 10, 30]])
}

#[test]
fn refcoco_gives_a_sample_a_sentence() {
    let folder = folder("refcoco");
    let annotation = |id: i64| json!({"id": id, "image_id": 7, "category_id": 18, "iscrowd": 0, "area": 400.5, "bbox": [10, 10, 20, 20], "segmentation": square()});
    let instances = json!({
        "images": [{"id": 7, "file_name": "COCO_train2014_000000000007.jpg", "width": 80, "height": 60}],
        "annotations": [annotation(100), annotation(0)],
        "categories": [{"id": 18, "name": "dog"}],
    });
    let reference = |ann_id: Value, split: &str, texts: &[&str]| {
        let sentences: Vec<Value> =
            texts.iter().map(|text| json!({"sent": text, "raw": text, "tokens": []})).collect();
        json!({"ref_id": 1, "ann_id": ann_id, "image_id": 7, "file_name": "x_1.jpg", "category_id": 18, "split": split, "sentences": sentences, "sent_ids": [1]})
    };
    let references = json!([
        reference(json!(100), "val", &["left dog", "the dog on the left"]),
        reference(json!(100), "train", &["not this one"]),
        reference(json!([100, 0]), "val", &["both dogs"]),
        reference(json!([-1]), "val", &["the cat"]),
    ]);
    write(&folder, "instances.json", instances.to_string());
    write(&folder, "refs.json", references.to_string());
    let line = ["refcoco", "--refs", "refs.json", "--instances", "instances.json", "--split"];
    let made = imported(&folder, &[&line[..], &["val"]].concat());
    let texts: Vec<&Value> = made["images"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["text_inst_input"]["simple_query"])
        .collect();
    assert_eq!(
        texts,
        [&json!(["left dog"]), &json!(["the dog on the left"]), &json!(["both dogs"]), &json!(["the cat"])]
    );
    let owners: Vec<&Value> =
        made["annotations"].as_array().expect("a list").iter().map(|one| &one["image_id"]).collect();
    assert_eq!(owners, [1, 2, 3, 3]);
    let first = json!({"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 400.5, "bbox": [10, 10, 20, 20], "segmentation": square()});
    assert_eq!(made["annotations"][0], first);
    assert!(refused(&folder, &[&line[..], &["testA"]].concat()).contains("right split"));
    write(&folder, "refs.json", json!([reference(json!(5), "val", &["x"])]).to_string());
    assert!(refused(&folder, &[&line[..], &["val"]].concat()).contains("instances.json has no annotation 5"));
}

#[test]
fn reasonseg_gives_a_sample_an_instruction() {
    let folder = folder("reasonseg");
    image::RgbImage::new(80, 60).save(folder.join("b.jpg.png")).expect("saved");
    for name in ["a", "b"] {
        write(&folder, &format!("val/{name}.jpg"), fs::read(folder.join("b.jpg.png")).expect("a picture"));
    }
    let shape = |label: &str, points: Value| json!({"label": label, "points": points, "shape_type": "polygon", "group_id": null});
    let a = json!({"shapes": [shape("target", json!([[10, 10], [30, 10], [30, 30], [10, 30]])), shape("flag", json!([[0, 0]]))],
        "text": ["what guards the house?", "the animal that barks"], "is_sentence": true});
    let b = json!({"shapes": [], "text": ["the broken part"], "is_sentence": false});
    write(&folder, "val/a.json", a.to_string());
    write(&folder, "val/b.json", b.to_string());
    write(&folder, "val/c.json", b.to_string());
    let made = imported(&folder, &["reasonseg", "val"]);
    let asked: Vec<&Value> =
        made["images"].as_array().expect("a list").iter().map(|one| &one["text_inst_input"]).collect();
    assert_eq!(
        asked[1],
        &json!({"concept": [], "simple_query": [], "complex_query": ["the animal that barks"]})
    );
    assert_eq!(asked[2], &json!({"concept": [], "simple_query": ["the broken part"], "complex_query": []}));
    assert_eq!((asked.len(), made["annotations"].as_array().expect("a list").len()), (3, 2));
    assert_eq!((&made["annotations"][1]["area"], &made["images"][0]["width"]), (&json!(400), &json!(80)));
    write(&folder, "val/a.json", "{\"text\": []}");
    assert!(refused(&folder, &["reasonseg", "val"]).contains("a.json: missing field `shapes`"));
}

#[test]
fn instructpart_gives_a_sample_a_part() {
    let folder = folder("instructpart");
    let mut mask = image::GrayImage::new(80, 60);
    (10..20).for_each(|x| mask.put_pixel(x, 5, image::Luma([255])));
    mask.save(folder.join("mask.png")).expect("saved");
    image::RgbImage::new(80, 60).save(folder.join("picture.png")).expect("saved");
    let copy = |from: &str, to: &str| write(&folder, to, fs::read(folder.join(from)).expect("read"));
    copy("mask.png", "test/masks/k1-tea_kettle-lid.png");
    copy("picture.png", "test/images/k1-tea_kettle-lid.jpg");
    let instruction = [
        "open it",
        "lift what covers it",
        "the lid of the kettle",
        "the lid to lift",
        "kettle lid",
        "kettle lid to lift",
    ];
    let list = json!([{"image_path": "k1.jpg", "part_list": [{"object": "tea kettle", "part": "lid", "affordance": "a", "action": "b", "instruction": instruction}]}]);
    write(&folder, "test/data_test.json", list.to_string());
    let made = imported(&folder, &["instructpart", "test"]);
    let asked = json!({"concept": ["kettle lid"], "simple_query": ["the lid of the kettle", "the lid to lift"], "complex_query": ["open it", "lift what covers it"]});
    assert_eq!(made["images"][0]["text_inst_input"], asked);
    assert_eq!(made["images"][0]["file_name"], "k1-tea_kettle-lid.jpg");
    assert_eq!(
        (&made["annotations"][0]["area"], &made["annotations"][0]["bbox"]),
        (&json!(10), &json!([10, 5, 10, 1]))
    );
    fs::remove_file(folder.join("test/masks/k1-tea_kettle-lid.png")).expect("removed");
    assert!(refused(&folder, &["instructpart", "test"]).contains("there is no k1-tea_kettle-lid.png"));
}

#[test]
fn coco_gives_a_sample_a_category() {
    let folder = folder("coco");
    let annotation = |id: i64, category: i64| json!({"id": id, "image_id": 7, "category_id": category, "area": 400, "bbox": [10, 10, 20, 20], "segmentation": square()});
    let file = json!({
        "images": [{"id": 7, "coco_url": "http://host/val2017/7.jpg", "width": 80, "height": 60}, {"id": 8, "file_name": "8.jpg", "width": 8, "height": 6}],
        "annotations": [annotation(1, 3), annotation(2, 1), annotation(3, 3)],
        "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "mug:handle"}],
    });
    write(&folder, "paco.json", file.to_string());
    let made = imported(&folder, &["coco", "paco.json"]);
    let images = made["images"].as_array().expect("a list");
    assert_eq!((images.len(), &images[0]["file_name"]), (2, &json!("val2017/7.jpg")));
    assert_eq!(images[1]["text_inst_input"]["simple_query"], json!(["the handle of the mug"]));
    let owners: Vec<&Value> =
        made["annotations"].as_array().expect("a list").iter().map(|one| &one["image_id"]).collect();
    assert_eq!(owners, [1, 2, 2]);
}
