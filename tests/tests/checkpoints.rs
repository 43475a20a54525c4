//! Checkpoints of every layout and container hold the same model.

use half::{bf16, f16};
use sam3i::checkpoint::{Checkpoint, ConfigSource, FileDType, Layout, WeightFile, is_dead};
use sam3i::{Config, Error, synth};
use sam3i_engine::weights::{TensorSpec, write_safetensors};
use sam3i_tests::goldens::{TempFolder, data, goldens_dir};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

type Named = BTreeMap<String, Vec<f32>>;

fn micro_config() -> Config {
    Config::read(&data("micro_config.json")).expect("sizes")
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open_with(path, Some(micro_config())).expect("a checkpoint")
}

fn complete(path: &Path) -> Checkpoint {
    let checkpoint = open(path);
    checkpoint.check(&checkpoint.expected()).expect("complete");
    checkpoint
}

fn values(checkpoint: &Checkpoint) -> Named {
    checkpoint.names().map(|name| (name.to_owned(), checkpoint.read(name).expect("values"))).collect()
}

fn is_adapter(name: &str) -> bool {
    name.contains("adapter")
}

#[test]
fn the_list_of_parameters_is_the_published_one() {
    let text = std::fs::read_to_string(data("full_shapes.json")).expect("there");
    let published: BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).expect("names and shapes");
    let ours: BTreeMap<_, _> = synth::tensor_list(&Config::default()).into_iter().collect();
    assert_eq!(ours.len(), 2194);
    assert_eq!(ours, published);
}

#[test]
fn the_sizes_that_come_with_the_benches_are_the_published_ones() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/published.json");
    let mut sizes = Config::read(&path).expect("sizes");
    sizes.name = Config::default().name;
    assert_eq!(sizes, Config::default());
}

#[derive(Deserialize)]
struct Check {
    name: String,
    shape: Vec<usize>,
    first4_bits: Vec<String>,
    last_bits: String,
}

#[test]
fn synthetic_values_have_the_recorded_bits() {
    let text = std::fs::read_to_string(data("weights_check.json")).expect("there");
    for check in serde_json::from_str::<Vec<Check>>(&text).expect("checks") {
        let values = synth::fill(&check.name, &check.shape);
        let bits = |v: &f32| format!("{:08x}", v.to_bits());
        let first: Vec<_> = values.iter().take(4).map(bits).collect();
        assert_eq!(first, check.first4_bits, "{}", check.name);
        assert_eq!(values.last().map(bits), Some(check.last_bits), "{}", check.name);
    }
}

#[test]
fn the_micro_model_is_its_names() {
    let file = WeightFile::open(&data("micro.safetensors")).expect("sound");
    let stored: BTreeMap<_, _> = file.entries().iter().map(|e| (e.name.clone(), e.shape.clone())).collect();
    let listed: BTreeMap<_, _> = synth::tensor_list(&micro_config()).into_iter().collect();
    assert_eq!(listed, stored);
    for (name, shape) in &listed {
        let (made, read) = (synth::fill(name, shape), file.read_f32(name).expect("values"));
        assert!(made.iter().zip(&read).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
    }
}

#[test]
fn base_sam3_is_the_same_model_without_adapters() {
    let (full, base) = (complete(&data("micro.safetensors")), complete(&data("micro_base.pt")));
    assert_eq!((full.layout(), base.layout()), (Layout::Sam3i, Layout::BaseSam3));
    assert!(full.adapters().absent().is_empty() && !base.adapters().any());
    assert_eq!((full.ignored().dead, base.ignored().interactive), (11 - 2, 2));
    let mut expected = values(&full);
    expected.retain(|name, _| !is_adapter(name));
    assert_eq!(values(&base), expected);
    let note = "base SAM3 checkpoint without adapters: simple and complex run as concept";
    assert!(base.describe().iter().any(|line| line == note), "{:?}", base.describe());
}

#[test]
fn rotary_tables_tell_the_sizes() {
    let found = Checkpoint::open(&data("micro_base.pt")).expect("a checkpoint");
    let (config, micro) = (found.config(), micro_config());
    assert_eq!(found.config_source(), ConfigSource::Shapes);
    assert_eq!((config.image_size, &config.vit), (micro.image_size, &micro.vit));
    assert_eq!((config.heads, config.ffn, config.queries), (micro.heads, micro.ffn, micro.queries));
}

#[test]
fn every_golden_checkpoint_is_the_same_model() {
    let Some(folder) = goldens_dir() else { return };
    let folder = folder.join("ckpt");
    let full = values(&complete(&folder.join("micro.safetensors")));
    let mut base = full.clone();
    base.retain(|name, _| !is_adapter(name));
    let rounded = |round: fn(f32) -> f32| -> Named {
        full.iter().map(|(name, v)| (name.clone(), v.iter().map(|&v| round(v)).collect())).collect()
    };
    let expected: [(&str, Named); 4] = [
        ("micro", full.clone()),
        ("micro_f16", rounded(|v| f16::from_f32(v).to_f32())),
        ("micro_bf16", rounded(|v| bf16::from_f32(v).to_f32())),
        ("micro_base", base),
    ];
    for (name, expected) in &expected {
        for extension in ["pt", "safetensors"] {
            let found = values(&complete(&folder.join(format!("{name}.{extension}"))));
            assert_eq!(found.len(), expected.len(), "{name}.{extension}");
            for (tensor, values) in &found {
                assert_eq!(values, &expected[tensor], "{name}.{extension}: {tensor}");
            }
        }
    }
}

#[test]
fn rows_are_those_of_the_whole() {
    let micro = complete(&data("micro.safetensors"));
    let name = "backbone.language_backbone.encoder.token_embedding.weight";
    let (all, width) = (micro.read(name).expect("values"), micro.shape(name).expect("a shape")[1]);
    let rows = [0, 49407, 7, 7];
    let expected: Vec<_> =
        rows.iter().flat_map(|row| &all[row * width..(row + 1) * width]).copied().collect();
    assert_eq!(micro.read_rows(name, &rows).expect("rows"), expected);
    micro.release(name);
    assert_eq!(micro.read(name).expect("values again"), all);
    assert!(micro.read_rows(name, &[49408]).is_err());
    assert!(micro.read_rows("transformer.decoder.norm.weight", &[0]).is_err());
}

#[test]
fn a_converted_file_describes_itself() {
    let folder = TempFolder::new("convert");
    for (source, adapters) in [("micro.safetensors", true), ("micro_base.pt", false)] {
        let original = complete(&data(source));
        for (dtype, round) in [
            (FileDType::F32, (|v| v) as fn(f32) -> f32),
            (FileDType::F16, |v| f16::from_f32(v).to_f32()),
            (FileDType::Bf16, |v| bf16::from_f32(v).to_f32()),
        ] {
            let out = folder.path().join("converted.safetensors");
            original.convert(&out, dtype).expect("written");
            let converted = Checkpoint::open(&out).expect("a checkpoint");
            converted.check(&converted.expected()).expect("complete");
            assert_eq!(
                (converted.config(), converted.config_source()),
                (&micro_config(), ConfigSource::Metadata)
            );
            assert_eq!((converted.layout(), converted.adapters().any()), (Layout::Sam3i, adapters));
            assert!(WeightFile::open(&out).expect("sound").entries().iter().all(|e| !is_dead(&e.name)));
            for (name, values) in values(&converted) {
                let expected = original.read(&name).expect("values");
                assert!(values.iter().zip(&expected).all(|(a, b)| *a == round(*b)), "{name}");
                assert_eq!(converted.dtype(&name), Some(dtype));
            }
        }
        std::fs::copy(data(source), folder.path().join(source)).expect("copied");
        let own = folder.path().join(source);
        assert!(open(&own).convert(&own, FileDType::F32).is_err(), "a file was converted onto itself");
    }
}

#[test]
fn config_json_beside_the_weights_wins() {
    let folder = TempFolder::new("beside");
    std::fs::copy(data("micro_base.pt"), folder.path().join("any name.pt")).expect("copied");
    std::fs::copy(data("micro_config.json"), folder.path().join("config.json")).expect("copied");
    for path in [folder.path().to_owned(), folder.path().join("any name.pt")] {
        let found = Checkpoint::open(&path).expect("a checkpoint");
        assert_eq!((found.config(), found.config_source()), (&micro_config(), ConfigSource::Beside));
    }
}

/// Writes tensors of the micro model under other names, changed as `change` says.
fn write(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let specs: Vec<_> = tensors
        .iter()
        .map(|(name, shape, _)| TensorSpec {
            name: name.clone(),
            dtype: FileDType::F32,
            shape: shape.clone(),
        })
        .collect();
    let mut values = tensors.iter().map(|(_, _, values)| values.clone());
    write_safetensors::<Error>(path, &specs, &BTreeMap::new(), |_| Ok(values.next().expect("as many")))
        .expect("written");
}

fn micro_tensors() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let list = synth::tensor_list(&micro_config());
    list.into_iter().map(|(name, shape)| (name.clone(), shape.clone(), synth::fill(&name, &shape))).collect()
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let folder = TempFolder::new("mismatch");
    let mut tensors = micro_tensors();
    tensors.retain(|(name, ..)| {
        !name.ends_with("layers.0.adapter1.up_proj.bias") && name != "dot_prod_scoring.hs_proj.bias"
    });
    tensors.push(("lora_A".to_owned(), vec![1], vec![0.0]));
    let query = tensors.iter_mut().find(|(name, ..)| name.ends_with("query_embed.weight")).expect("there");
    query.1.reverse();
    write(&folder.path().join("model.safetensors"), &tensors);
    let found = open(folder.path());
    let Err(Error::Mismatch { problem, .. }) = found.check(&found.expected()) else { panic!("accepted") };
    let missing = [
        "transformer.encoder.layers.0.adapter1.up_proj.bias",
        "transformer.decoder.layers.0.adapter1.up_proj.bias",
        "dot_prod_scoring.hs_proj.bias",
    ];
    assert_eq!(problem.missing, missing);
    assert_eq!(problem.unexpected, ["lora_A"]);
    assert_eq!(problem.misshapen[0].name, "transformer.decoder.query_embed.weight");
    assert!(found.convert(&folder.path().join("out.safetensors"), FileDType::F32).is_err());
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let folder = TempFolder::new("nan");
    let mut tensors = micro_tensors();
    let (name, _, values) = &mut tensors[3];
    values[2] = f32::NAN;
    let name = name.clone();
    write(&folder.path().join("model.safetensors"), &tensors);
    let mut found = open(folder.path());
    let error = found.read(&name).expect_err("NaN");
    assert!(matches!(&error, Error::NotFinite { name: n, index: 2, .. } if *n == name), "{error}");
    found.set_finite_check(false);
    assert!(found.read(&name).is_ok());
}

/// A tensor of the micro model as Hugging Face stores it.
fn as_hugging_face(operation: &str, shape: &[usize], values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    if let Some(third) = operation.strip_prefix("rows ") {
        let i = usize::from(third.as_bytes()[0] - b'0');
        let n = values.len() / 3;
        let mut shape = shape.to_vec();
        shape[0] /= 3;
        return (shape, values[i * n..(i + 1) * n].to_vec());
    }
    if operation.starts_with("drop row 0") {
        return (vec![1, shape[1] - 1, shape[2]], values[shape[2]..].to_vec());
    }
    (shape.to_vec(), values.to_vec())
}

#[test]
fn hugging_face_shards_are_the_same_model() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/spec");
    let spec = std::env::var("SAM3I_SPEC").unwrap_or_else(|_| beside.to_owned());
    let Ok(list) = std::fs::read_to_string(Path::new(&spec).join("hf-names.tsv")) else {
        return eprintln!("SKIPPED: no hf-names.tsv in {spec}; set SAM3I_SPEC to the folder that has it");
    };
    let micro: BTreeMap<_, _> =
        micro_tensors().into_iter().map(|(n, shape, values)| (n, (shape, values))).collect();
    let mut theirs = vec![("tracker_model.x".to_owned(), vec![1], vec![0.0])];
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        if let Some((shape, values)) = micro.get(fields[1])
            && fields[2] != "-"
        {
            let (shape, values) = as_hugging_face(fields[4], shape, values);
            theirs.push((fields[2].to_owned(), shape, values));
        }
    }
    let folder = TempFolder::new("hf");
    let (first, second) = theirs.split_at(theirs.len() / 2);
    let mut map = BTreeMap::new();
    for (shard, tensors) in [("a.safetensors", first), ("b.safetensors", second)] {
        write(&folder.path().join(shard), tensors);
        map.extend(tensors.iter().map(|(name, ..)| (name.clone(), shard)));
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    folder.write("model.safetensors.index.json", index.as_bytes());
    folder.write("config.json", br#"{"model_type": "sam3_video"}"#);
    let found = complete(folder.path());
    assert_eq!(found.layout(), Layout::HuggingFace);
    assert!(!found.point_prompts() && !found.adapters().any());
    let mut expected = values(&complete(&data("micro.safetensors")));
    expected.retain(|name, _| !is_adapter(name) && !name.starts_with("geometry_encoder.points_"));
    let width = micro_config().vit.dim;
    expected.get_mut("backbone.vision_backbone.trunk.pos_embed").expect("there")[..width].fill(0.0);
    assert_eq!(values(&found), expected);
    let name = "transformer.decoder.layers.0.self_attn.in_proj_weight";
    let width = micro_config().d_model;
    let rows = [0, width, 3 * width - 1];
    let whole: Vec<_> =
        rows.iter().flat_map(|r| &expected[name][r * width..(r + 1) * width]).copied().collect();
    assert_eq!(found.read_rows(name, &rows).expect("rows"), whole);
    assert!(found.read_rows(name, &[3 * width]).is_err());
}
