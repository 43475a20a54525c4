//! What a host that embeds the library relies on.

use sam3i::watch::{Stage, Step};
use sam3i::{
    Checkpoint, CpuOptions, Device, Error, ImageEmbedding, Level, Mask, Model, Picture, Prompt, ResizeMode,
    SegmentOptions, Segmentation,
};
use sam3i_tests::goldens::data;
use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Compiles only if values can be shared by threads and sent to them.
const fn shared<T: Send + Sync + 'static>() {}
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
