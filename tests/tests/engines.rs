//! Data sets on other people's engines: GNU parallel and Ray run the shards, `sam3i merge` joins them.
//!
//! They need programs: `apt-get install parallel`, `pip install ray` (`SAM3I_PYTHON` names the interpreter that has it). Where one is not
//! installed, a line says that its recipe was not tried.

use sam3i_tests::command::{binary, sam3i};
use sam3i_tests::goldens::TempFolder;
use serde_json::json;
use std::fs;
use std::process::Command;

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/shards");
const OPTIONS: [&str; 8] = [
    "--annotations",
    "ann.json",
    "--image-root",
    "pictures and more",
    "--categories",
    "simple",
    "--threshold",
    "0.3",
];

/// Four pictures with two questions each, answered in one go as `whole.json`.
fn data_set(name: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("engines-{name}"));
    let scenes = ["dogs.png", "fruit.png", "sky.png", "party.png"];
    let images = scenes.iter().flat_map(|scene| ["dog", "red apple"].map(|text| (scene, text))).enumerate();
    let images: Vec<_> = images
        .map(|(i, (scene, text))| {
            folder.scene(scene, &format!("pictures and more/{scene}"));
            json!({"id": i + 1, "file_name": scene, "width": 320, "height": 320, "text_inst_input": {"simple_query": [text]}})
        })
        .collect();
    let target =
        |i: usize| json!({"id": i, "image_id": i, "segmentation": {"size": [320, 320], "counts": ""}});
    let annotations: Vec<_> = (1..=images.len()).map(target).collect();
    folder.write("ann.json", json!({"images": images, "annotations": annotations}).to_string().as_bytes());
    let run = sam3i(folder.path(), &[&["predict", "-o", "whole.json"], &OPTIONS[..]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    folder
}

fn runs(folder: &TempFolder, command: &mut Command) {
    let command =
        command.args(["3", "joined.json"]).args(OPTIONS).current_dir(folder.path()).env("SAM3I", binary());
    let output = command.env_remove("SAM3I_MODEL").output().expect("the program is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |file: &str| fs::read(folder.path().join(file)).expect(file);
    assert!(read("joined.json") == read("whole.json"), "the parts are not the whole");
}

/// Whether a program is there and answers with these words; a line says so if not.
fn is_there(what: &str, command: &mut Command, words: &str) -> bool {
    let answer = command.output().map(|run| String::from_utf8_lossy(&run.stdout).into_owned());
    let there = answer.is_ok_and(|answer| answer.contains(words));
    if !there {
        eprintln!("SKIPPED: this machine has no {what}; its recipe in docs/data-sets.md was not tried");
    }
    there
}

#[test]
fn gnu_parallel_answers_the_same() {
    // Another program of this name is none.
    if !is_there("GNU parallel", Command::new("parallel").arg("--version"), "GNU parallel") {
        return;
    }
    let folder = data_set("parallel");
    runs(&folder, &mut Command::new(format!("{TOOLS}/predict-parallel.sh")));
}

#[test]
fn ray_answers_the_same() {
    let python = std::env::var_os("SAM3I_PYTHON").unwrap_or_else(|| "python3".into());
    if !is_there(
        "Ray",
        Command::new(&python).args(["-c", "import ray; print('ray', ray.__version__)"]),
        "ray ",
    ) {
        return;
    }
    let folder = data_set("ray");
    runs(&folder, Command::new(python).arg(format!("{TOOLS}/predict_ray.py")));
}

/// A part that fails is no answer: the script ends with an error and leaves no joined file.
#[test]
fn gnu_parallel_tells_of_a_part_that_fails() {
    if !is_there("GNU parallel", Command::new("parallel").arg("--version"), "GNU parallel") {
        return;
    }
    let folder = data_set("parallel-fails");
    folder.write("pictures and more/sky.png", b"no picture");
    let command = Command::new(format!("{TOOLS}/predict-parallel.sh"))
        .args(["3", "joined.json"])
        .args(OPTIONS)
        .current_dir(folder.path())
        .env("SAM3I", binary())
        .env_remove("SAM3I_MODEL")
        .output();
    let run = command.expect("the program is there");
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success() && told.contains("sky.png"), "{told}");
    assert!(!folder.path().join("joined.json").exists(), "a part is missing in it");
}
