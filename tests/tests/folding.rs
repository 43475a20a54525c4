//! Adapters whose last matrices are zero throughout are folded to their biases: exact, and only then.

use sam3i::picture::DecodeOptions;
use sam3i::{Config, CpuOptions, Device, Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};
use sam3i_engine::weights::{FileDType, TensorSpec, WeightFile, WeightsError, write_safetensors};
use sam3i_tests::goldens::{TempFolder, data};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The matrices that decide: the last one of each half of a text adapter, and of the other adapters.
fn decides(name: &str) -> bool {
    let adapter = name.contains(".adapter");
    adapter && (name.ends_with("mha_adapter.out_proj.weight") || name.ends_with("up_proj.weight"))
}

/// The micro model with the deciding matrices zero but for their first element.
fn with_first_element(first: f32, folder: &TempFolder, name: &str) -> PathBuf {
    let file = WeightFile::open(&data("micro.safetensors")).expect("the micro model");
    let specs = file.entries().iter().map(|entry| TensorSpec {
        name: entry.name.clone(),
        dtype: FileDType::F32,
        shape: entry.shape.clone(),
    });
    let path = folder.path().join(name);
    write_safetensors(
        &path,
        &specs.collect::<Vec<_>>(),
        &BTreeMap::new(),
        |spec| -> Result<_, WeightsError> {
            let mut values = file.read_f32(&spec.name)?;
            if decides(&spec.name) {
                values.fill(0.0);
                values[0] = first;
            }
            Ok(values)
        },
    )
    .expect("written");
    path
}

fn load(path: &Path) -> Model {
    let config = Config::read(&data("micro_config.json")).expect("sizes");
    let checkpoint = sam3i::Checkpoint::open_with(path, Some(config)).expect("a checkpoint");
    let device = Device::cpu(&CpuOptions::default()).expect("threads start");
    Model::from_checkpoint(checkpoint, &device).expect("it loads")
}

/// The scores of all queries, in order.
fn scores(model: &Model, level: Level) -> Vec<f32> {
    let path = data("recorded/images/m0.png");
    let picture = Picture::open(&path, &DecodeOptions::default()).expect("a picture");
    let image = model.encode_image(&picture.view(), ResizeMode::Exact8).expect("it encodes");
    let prompt = Prompt::text("the red circle on the left side").level(level);
    let options = SegmentOptions::default().threshold(0.0);
    let mut found = model.segment(&image, &prompt, &options).expect("it runs").instances;
    found.sort_by_key(|i| i.query);
    found.iter().map(|i| i.score).collect()
}

#[test]
fn folded_adapters_give_what_the_whole_ones_give() {
    let folder = TempFolder::new("folding");
    let folded = load(&with_first_element(0.0, &folder, "zero.safetensors"));
    // The smallest number there is: too small to change a sum, enough to keep the adapters whole.
    let whole = load(&with_first_element(f32::from_bits(1), &folder, "tiny.safetensors"));
    for level in Level::ALL {
        let (x, y) = (scores(&folded, level), scores(&whole, level));
        let worst = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(x.len() == 8 && worst <= 1e-6, "{level}: {worst:e}");
    }
    assert!(folded.device().memory().live < whole.device().memory().live, "folding saves memory");
}

#[test]
fn constant_adapters_still_add_their_biases() {
    let folder = TempFolder::new("biases");
    let model = load(&with_first_element(0.0, &folder, "zero.safetensors"));
    assert_ne!(scores(&model, Level::Concept), scores(&model, Level::Simple));
    assert_ne!(scores(&model, Level::Simple), scores(&model, Level::Complex));
}
