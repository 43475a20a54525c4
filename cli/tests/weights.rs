//! convert, inspect and synth as a user runs them.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sam3i(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sam3i")).args(args).output().expect("the binary runs")
}

fn done(args: &[&str]) -> String {
    let output = sam3i(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn data(file: &str) -> String {
    format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/{}"), file)
}

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).expect("made");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn synth_writes_a_model_that_inspect_finds_complete() {
    let out = folder("synth");
    done(&["synth", "--config", &data("micro_config.json"), "-o", text(&out), "--dtype", "bf16"]);
    let report: Value = serde_json::from_str(&done(&["inspect", text(&out), "--json"])).expect("JSON");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["complete"], true);
    assert_eq!(report["layout"], "SAM3-I");
    assert_eq!(report["config_source"], "config.json");
    assert_eq!(report["config"]["image_size"], 56);
    assert_eq!(report["dtypes"][0]["name"], "BF16");
    assert_eq!(report["params"], 649_906);
    assert_eq!(report["ignored"]["dead"], 9);
}

#[test]
fn convert_reads_a_torch_file_and_says_where_it_came_from() {
    let out = folder("convert").join("base.safetensors");
    done(&["convert", &data("micro_base.pt"), "-o", text(&out), "--dtype", "f16"]);
    let report: Value = serde_json::from_str(&done(&["inspect", text(&out), "--json"])).expect("JSON");
    assert_eq!(report["complete"], true);
    assert_eq!(report["config_source"], "metadata");
    assert_eq!(report["adapters"]["text"], false);
    let metadata = &report["metadata"];
    assert_eq!(metadata["sam3i.source.files"], "micro_base.pt");
    assert_eq!(metadata["sam3i.source.layout"], "base SAM3");
    assert_eq!(metadata["sam3i.source.fnv1a64"].as_str().map(str::len), Some(16));
    let page = done(&["inspect", text(&out)]);
    assert!(page.contains("simple and complex run as concept") && page.contains("complete:"), "{page}");
}

#[test]
fn errors_are_one_message_on_stderr_and_exit_2() {
    let text_file = data("README.md");
    let cases: [(&[&str], &str); 5] = [
        (&["inspect", "/no/such/file.pt"], "sam3i: /no/such/file.pt: no model here"),
        (&["inspect", &text_file], "this is a text file"),
        (&["inspect", &data("small.pt")], "not the weights of a SAM3 model"),
        (&["synth", "--config", &text_file, "-o", "/tmp"], "not a usable model configuration"),
        (&["convert", &data("micro_base.pt")], "--output"),
    ];
    for (args, expected) in cases {
        let output = sam3i(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && stderr.contains(expected), "{args:?}: {stderr}");
    }
}
