//! What a host that embeds the library relies on.

use sam3i::watch::{Stage, Step};
use sam3i::{
    Checkpoint, CpuOptions, Device, Error, ImageEmbedding, Level, Mask, Model, Picture, Prompt, ResizeMode,
    SegmentOptions, Segmentation,
};
use sam3i_tests::command::{binary, sam3i};
use sam3i_tests::goldens::{TempFolder, data};
use serde_json::Value;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles only if values can be shared by threads, sent to them, and shown by a host that derives `Debug`.
const fn shared<T: Send + Sync + Debug + 'static>() {}
const _: () = {
    shared::<Model>();
    shared::<Device>();
    shared::<ImageEmbedding>();
    shared::<Segmentation>();
    shared::<Picture>();
    shared::<Prompt>();
    shared::<SegmentOptions>();
    shared::<Mask>();
    shared::<Error>();
    shared::<Checkpoint>();
};

fn micro() -> (Model, Picture) {
    let text = fs::read_to_string(data("micro_config.json")).expect("sizes");
    let config = serde_json::from_str(&text).expect("sizes");
    let checkpoint = Checkpoint::open_with(&data("micro.safetensors"), Some(config)).expect("a model");
    let device = Device::cpu(&CpuOptions::default().threads(1)).expect("starts");
    let picture = Picture::new(40, 30, (0..3600).map(|i| (i % 251) as u8).collect()).expect("a picture");
    (Model::from_checkpoint(checkpoint, &device).expect("loads"), picture)
}

#[test]
fn every_step_is_told_once_and_in_order() {
    let (model, picture) = micro();
    let steps = RefCell::new(Vec::new());
    let watch = |step: Step| {
        steps.borrow_mut().push((step.stage, step.done, step.of));
        ControlFlow::Continue(())
    };
    let image =
        model.encode_image_watched(&picture.view(), ResizeMode::default(), watch).expect("it encodes");
    let options = SegmentOptions::default().threshold(0.0).top_k(2);
    let prompt = Prompt::text("person").level(Level::Concept);
    let watched = model.segment_watched(&image, &prompt, &options, watch).expect("it answers");
    let config = model.config();
    let grounding = config.enc_layers + config.dec_layers;
    let stages = [(Stage::Image, config.vit.depth), (Stage::Text, config.text.layers)];
    let stages = stages.into_iter().chain([(Stage::Grounding, grounding), (Stage::Masks, 2)]);
    let expected: Vec<_> =
        stages.flat_map(|(stage, of)| (0..of).map(move |done| (stage, done, of))).collect();
    assert_eq!(steps.take(), expected);

    let unwatched = model.segment(&image, &prompt, &options).expect("it answers");
    let facts = |s: &Segmentation| s.instances.iter().map(|i| (i.query, i.rle.clone())).collect::<Vec<_>>();
    assert_eq!(facts(&watched), facts(&unwatched));
}

#[test]
fn work_stops_at_any_step_and_the_model_goes_on() {
    let (model, picture) = micro();
    let prompt = Prompt::text("person");
    let options = SegmentOptions::default().threshold(0.0).top_k(2);
    let image = model.encode_image(&picture.view(), ResizeMode::default()).expect("it encodes");
    let steps = model.config().text.layers + model.config().enc_layers + model.config().dec_layers + 2;
    for last in 0..steps {
        let (model, _) = micro(); // a new one, for the text is kept
        let count = RefCell::new(0);
        let watch = |_| {
            *count.borrow_mut() += 1;
            if *count.borrow() > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let image = model.encode_image(&picture.view(), ResizeMode::default()).expect("it encodes");
        let stopped = model.segment_watched(&image, &prompt, &options, watch);
        assert!(matches!(stopped, Err(Error::Stopped)), "after {last} steps");
        assert_eq!(model.segment(&image, &prompt, &options).expect("it answers").instances.len(), 2);
    }
    let stopped =
        model.encode_image_watched(&picture.view(), ResizeMode::default(), |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert!(model.segment(&image, &prompt, &options).is_ok());
}

#[test]
fn a_picture_belongs_to_the_model_that_looked_at_it() {
    let ((model, picture), (other, _)) = (micro(), micro());
    let image = model.encode_image(&picture.view(), ResizeMode::default()).expect("it encodes");
    let (prompt, options) = (Prompt::text("person"), SegmentOptions::default());
    let refused = other.segment(&image, &prompt, &options).expect_err("it never saw the picture");
    assert!(matches!(refused, Error::OtherModel), "{refused}");
    model.segment(&image.clone(), &prompt, &options).expect("a clone is the same picture");
    let shown = format!("{model:?} {image:?}");
    assert!(shown.contains("cpu") && shown.contains("width: 40") && shown.len() < 2000, "{shown}");
}

/// An example of `model/examples`, built from these packages, whose features make those of the library.
fn example(name: &str, packages: &[&str]) -> Command {
    let profile_dir = binary().parent().expect("a folder");
    let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "-q", "--example", name, "--profile", profile, "--target-dir"])
        .arg(profile_dir.parent().expect("the target directory"))
        .args(packages)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo runs").success(), "{name} does not compile; cargo's reasons are above");
    Command::new(profile_dir.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Runs an example in a folder; what it printed.
fn printed(command: &mut Command, folder: &TempFolder) -> String {
    let run = command.current_dir(folder.path()).output().expect("it runs");
    assert!(run.status.success(), "{command:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("UTF-8")
}

/// A folder with nano as `sam3i.safetensors`.
fn with_model(name: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("library-{name}"));
    assert_eq!(sam3i(folder.path(), &["convert", "nano", "-o", "sam3i.safetensors"]).code, 0);
    folder
}

#[test]
fn the_examples_answer_as_the_command_does() {
    let folder = with_model("examples");
    fs::copy(data("heldout/seen027.jpg"), folder.path().join("photo.jpg")).expect("copied");
    // With the whole workspace nothing is compiled that the tests have not compiled.
    let one_shot = printed(&mut example("one_shot", &["--workspace"]), &folder);
    let line =
        ["segment", "photo.jpg", "-p", "the mug left of the laptop", "-p", "the largest chair", "--json"];
    let answer = sam3i(folder.path(), &line);
    let answer: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let mut expected = String::new();
    for prompt in answer["prompts"].as_array().expect("a list") {
        for found in prompt["instances"].as_array().expect("a list") {
            let [text, score, area] =
                ["text", "score", "area"].map(|key| if key == "text" { &prompt[key] } else { &found[key] });
            let (text, score) = (text.as_str().expect("a text"), score.as_f64().expect("a number"));
            expected += &format!("{text}: {score:.2} .. {area} pixels\n");
        }
    }
    let without_boxes: String = one_shot
        .lines()
        .map(|line| {
            let (head, tail) = line.split_once(" at [").expect("a box");
            format!("{head} .. {}\n", tail.split_once("], ").expect("its end").1)
        })
        .collect();
    assert_eq!(without_boxes, expected);
    assert!(expected.lines().count() >= 2, "{expected}");

    let scenes = ["umbrella.png", "dogs.png", "no_such.png"];
    for scene in &scenes[..2] {
        folder.scene(scene, scene);
    }
    let batch = printed(example("batch", &["--workspace"]).args(scenes), &folder);
    let mut counts: Vec<_> = batch.lines().map(str::to_owned).collect();
    counts.sort();
    let line = [
        "segment",
        "dogs.png",
        "umbrella.png",
        "--level",
        "concept",
        "-p",
        "cat",
        "--threshold",
        "0.4",
        "--json",
    ];
    let answers = sam3i(folder.path(), &line).stdout;
    let count = |line: &str| {
        let answer: Value = serde_json::from_str(line).expect("JSON");
        let found = answer["prompts"][0]["instances"].as_array().expect("a list").len();
        format!("{}: {found} found", answer["image"]["file"].as_str().expect("a name"))
    };
    assert_eq!(counts, answers.lines().map(count).collect::<Vec<_>>());
    assert!(batch.contains("umbrella.png: 2 found"), "{batch}");
}

#[test]
fn the_embedded_example_needs_no_feature() {
    let folder = with_model("embedded");
    let alone = ["--package", "sam3i", "--no-default-features"];
    let told = printed(example("embedded", &alone).arg("sam3i.safetensors"), &folder);
    // A grey frame shows nothing, and the model says how sure it is of that.
    let last = told.lines().last().expect("a line");
    let presence = last.strip_prefix("presence ").and_then(|rest| rest.split(';').next()).expect(last);
    assert!((0.0..0.5).contains(&presence.parse::<f32>().expect(last)), "{told}");
    assert!(last.ends_with(" bytes of tensors at most"), "{told}");
}

#[test]
fn a_dropped_model_gives_all_its_memory_back() {
    let (model, picture) = micro();
    let device = model.device().clone();
    let image = model.encode_image(&picture.view(), ResizeMode::default()).expect("it encodes");
    model.segment(&image, &Prompt::text("person"), &SegmentOptions::default()).expect("it answers");
    assert!(device.memory().live > 0);
    drop((model, image));
    assert_eq!(device.memory().live, 0);
}

/// The library's sources, test modules cut off.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut folders: Vec<_> = ["model", "engine", "kernels"].map(|room| root.join(room).join("src")).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("a source");
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or("").to_owned();
                found.push((entry, code));
            }
        }
    }
    found
}

#[test]
fn the_library_prints_nothing_and_has_no_changeable_globals() {
    let sources = sources();
    assert!(sources.len() > 100, "{}", sources.len());
    for (path, code) in sources {
        for (number, line) in
            code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            let words = ["print!(", "println!(", "eprint!(", "eprintln!(", "dbg!(", "static mut "];
            let shared = line.split_whitespace().any(|word| word == "static") && line.contains("Mutex");
            let bad = shared || words.iter().any(|word| line.contains(word));
            assert!(!bad, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}
