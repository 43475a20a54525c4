//! Whatever bytes a weight file has, the worst that happens is an error.

use proptest::prelude::*;
use sam3i::Checkpoint;
use sam3i::checkpoint::{FileDType, WeightFile};
use sam3i_engine::weights::{TensorSpec, WeightsError, write_safetensors};
use sam3i_tests::goldens::{TempFolder, data};
use std::collections::BTreeMap;
use std::path::Path;

/// Opens a file and reads all it offers; panics are what we look for.
fn exercise(path: &Path) -> Result<usize, WeightsError> {
    let file = WeightFile::open(path)?;
    let mut values = 0;
    for entry in file.entries() {
        match file.read_f32(&entry.name) {
            Ok(read) => values += read.len(),
            Err(WeightsError::NotFloat { .. }) => {}
            Err(other) => return Err(other),
        }
        // Not every tensor has rows: an error is fine here.
        drop(file.read_rows_f32(&entry.name, &[0]));
        file.release(&entry.name);
    }
    drop(Checkpoint::open(path).map(|checkpoint| checkpoint.check(&checkpoint.expected())));
    Ok(values)
}

/// A safetensors file of a few tensors.
fn small_safetensors(folder: &TempFolder) -> Vec<u8> {
    let path = folder.path().join("small.safetensors");
    let spec =
        |name: &str, dtype, shape: &[usize]| TensorSpec { name: name.into(), dtype, shape: shape.into() };
    let tensors = [
        spec("backbone.vision_backbone.trunk.pos_embed", FileDType::F32, &[1, 5, 4]),
        spec(
            "detector_model.vision_encoder.backbone.embeddings.position_embeddings",
            FileDType::F16,
            &[1, 4, 4],
        ),
        spec("transformer.decoder.query_embed.weight", FileDType::Bf16, &[8, 4]),
    ];
    let metadata = BTreeMap::from([("sam3i.config".to_owned(), "{}".to_owned())]);
    write_safetensors(&path, &tensors, &metadata, |t| {
        Ok::<_, WeightsError>(vec![1.0; t.shape.iter().product()])
    })
    .expect("written");
    std::fs::read(path).expect("read")
}

#[test]
fn a_torch_file_gives_its_tensors_and_runs_nothing() {
    let file = WeightFile::open(&data("small.pt")).expect("sound");
    let names: Vec<_> = file.entries().iter().map(|e| (e.name.as_str(), e.dtype, e.shape.len())).collect();
    let expected = [
        ("plain", FileDType::F32, 2),
        ("transposed", FileDType::F32, 2),
        ("tail", FileDType::F32, 1),
        ("column", FileDType::F32, 1),
        ("scalar", FileDType::F32, 0),
        ("half", FileDType::F16, 1),
        ("brain", FileDType::Bf16, 1),
        ("double", FileDType::F64, 1),
        ("parameter", FileDType::F32, 2),
        ("counter", FileDType::I64, 1),
        ("rotary", FileDType::C64, 1),
    ];
    assert_eq!(names, expected);
    let values: [(&str, &[f32]); 9] = [
        ("plain", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]),
        ("transposed", &[0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0]),
        ("tail", &[8.0, 9.0, 10.0, 11.0]),
        ("column", &[1.0, 5.0, 9.0]),
        ("scalar", &[5.0]),
        ("half", &[0.5, -2.0]),
        ("brain", &[1.0, -2.0]),
        ("double", &[0.25, 1e9]),
        ("parameter", &[0.0, 1.0, 4.0, 5.0]),
    ];
    for (name, values) in values {
        assert_eq!(file.read_f32(name).expect("values"), values, "{name}");
    }
    assert_eq!(file.read_rows_f32("transposed", &[3, 0]).expect("rows"), [3.0, 7.0, 11.0, 0.0, 4.0, 8.0]);
    for name in ["counter", "rotary"] {
        assert!(matches!(file.read_f32(name), Err(WeightsError::NotFloat { .. })), "{name}");
    }
    assert!(!Path::new("sam3i-was-here").exists(), "the pickle was run");
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let folder = TempFolder::new("cut");
    let torch = std::fs::read(data("small.pt")).expect("there");
    for sound in [small_safetensors(&folder), torch] {
        for length in 0..sound.len() {
            let path = folder.write("cut", &sound[..length]);
            assert!(exercise(&path).is_err(), "accepted {length} of {} bytes", sound.len());
        }
    }
    for name in ["micro.safetensors", "micro_base.pt"] {
        let sound = std::fs::read(data(name)).expect("there");
        for length in [0, 1, 7, 8, 9, 100, 30_000, 40_000, sound.len() / 2, sound.len() - 1] {
            let path = folder.write("cut", &sound[..length]);
            assert!(exercise(&path).is_err(), "accepted {length} bytes of {name}");
        }
    }
}

#[test]
fn what_is_no_weight_file_is_called_by_its_name() {
    let folder = TempFolder::new("strangers");
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty.pt", b"", "an empty file"),
        ("text.pt", b"Access to this model is restricted.\n", "a text file"),
        ("page.safetensors", b"<!doctype html><html></html>", "a web page"),
        ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        ("old.pt", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "before 2020"),
        ("model.gguf", b"GGUF\x03\0\0\0\0\0\0\0", "a GGUF file"),
    ];
    for (name, bytes, expected) in cases {
        let error = exercise(&folder.write(name, bytes)).expect_err("no weights");
        assert!(error.to_string().contains(expected) && error.to_string().contains(name), "{error}");
    }
    assert!(matches!(exercise(folder.path()), Err(WeightsError::Io { .. })));
    assert!(matches!(exercise(&folder.path().join("nothing")), Err(WeightsError::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        torch in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let folder = TempFolder::new("flip");
        let mut bytes = if torch {
            std::fs::read(data("small.pt")).expect("there")
        } else {
            small_safetensors(&folder)
        };
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        // The check sum would turn every change of a pickle away: correct it, so that the pickle reader is met.
        if torch {
            mend_check_sum(&mut bytes);
        }
        drop(exercise(&folder.write("flipped", &bytes)));
    }
}

/// Writes the right check sum for the first entry, the pickle, into the archive's list of entries.
fn mend_check_sum(bytes: &mut [u8]) {
    let find = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part);
    let (Some(end), Some(directory)) = (
        find(b"PK\x03\x04")
            .and_then(|_| bytes.windows(4).skip(4).position(|w| w == b"PK\x03\x04").map(|at| at + 4)),
        find(b"PK\x01\x02"),
    ) else {
        return;
    };
    let start = 30 + "small/data.pkl".len();
    if start > end || directory + 20 > bytes.len() {
        return;
    }
    let crc = !bytes[start..end].iter().fold(!0u32, |crc, &b| {
        (0..8)
            .fold(crc ^ u32::from(b), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    bytes[directory + 16..directory + 20].copy_from_slice(&crc.to_le_bytes());
}
