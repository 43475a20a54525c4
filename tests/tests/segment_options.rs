//! Options of `sam3i segment` for special needs: other picture formats, points, memory, intermediate tensors.

use sam3i::checkpoint::WeightFile;
use sam3i_tests::command::{Run, command, sam3i, sam3i_with_input};
use sam3i_tests::goldens::{TempFolder, data};
use serde_json::Value;
use std::fs;
use std::process::Stdio;

/// A folder with the smallest model in `model`, its picture as `m0.png`, and a Hugging Face file without weights for points.
fn workplace(name: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("options-{name}"));
    fs::create_dir(folder.path().join("model")).expect("made");
    for (from, to) in [
        ("micro.safetensors", "model/model.safetensors"),
        ("micro_config.json", "model/config.json"),
        ("recorded/images/m0.png", "m0.png"),
    ] {
        fs::copy(data(from), folder.path().join(to)).expect("copied");
    }
    folder
}

fn segment(folder: &TempFolder, line: &[&str]) -> Run {
    sam3i(folder.path(), &[&["segment", "--model", "model", "--device", "cpu"], line].concat())
}

fn report(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
}

#[test]
fn bmp_and_tiff_pictures_are_found_and_answered_like_png() {
    let folder = workplace("formats");
    fs::create_dir(folder.path().join("in")).expect("made");
    let picture = image::open(data("recorded/images/m0.png")).expect("a png").into_rgb8();
    for name in ["a.bmp", "b.tif", "c.tiff", "d.png"] {
        picture.save(folder.path().join("in").join(name)).expect("written");
    }
    let run = segment(&folder, &["in", "-p", "person", "--threshold", "0.1", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let reports: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(reports.len(), 4, "{}", run.stdout);
    assert!(reports.iter().all(|report| report["prompts"] == reports[3]["prompts"]), "{}", run.stdout);
    assert!(!reports[0]["prompts"][0]["instances"].as_array().expect("a list").is_empty());
}

#[test]
fn points_go_with_a_sentence_or_alone_and_change_the_answer() {
    let folder = workplace("points");
    let ask = |more: &[&str]| segment(&folder, &[&["m0.png", "--json", "--threshold", "0"], more].concat());
    let plain = report(&ask(&["-p", "person"]));
    assert!(plain["prompts"][0].get("points").is_none(), "{plain}");
    let run = ask(&["-p", "person", "--point", "20,30", "--neg-point=60,10"]);
    assert!(run.stderr.contains("warning: points: the published network"), "{}", run.stderr);
    let pointed = report(&run);
    let expected = r#"[{"point":[20.0,30.0],"positive":true},{"point":[60.0,10.0],"positive":false}]"#;
    assert_eq!(pointed["prompts"][0]["points"].to_string(), expected);
    let best = |report: &Value| report["prompts"][0]["instances"][0]["score"].as_f64().expect("a score");
    assert!((best(&plain) - best(&pointed)).abs() > 1e-6, "{} {}", best(&plain), best(&pointed));

    let alone = report(&ask(&["--point", "20,30"]));
    assert_eq!(
        (&alone["prompts"][0]["text"], &alone["prompts"][0]["level"]),
        (&Value::Null, &"concept".into())
    );
    let prompts = r#"{"text":"person","points":[[20,30]],"neg_points":[[60,10]]}"#;
    folder.write("prompts.json", prompts.as_bytes());
    assert_eq!(report(&ask(&["--prompts", "prompts.json"]))["prompts"], pointed["prompts"]);

    for (line, words) in [
        (&["--point", "200,30"][..], "lies outside the picture"),
        (&["--point", "20"], "a point is two numbers"),
        (&["--point", "20,30", "--tile", "64"], "points would be seen in one tile only"),
    ] {
        let run = ask(line);
        assert!(run.code == 2 && run.stderr.contains(words), "{line:?}: {}", run.stderr);
    }
}

#[test]
fn more_memory_than_allowed_is_refused_before_the_run() {
    let folder = workplace("memory");
    let ask = |most: &str, more: &[&str]| {
        segment(
            &folder,
            &[&["m0.png", "-p", "person", "--max-memory", most, "--out-dir", "out"], more].concat(),
        )
    };
    let run = ask("1G", &["-v"]);
    assert!(run.code == 0 && run.stderr.contains("memory: about "), "{}", run.stderr);
    fs::remove_dir_all(folder.path().join("out")).expect("it was made");
    let run = ask("100K", &[]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("--max-memory: model in f32 takes about "), "{}", run.stderr);
    assert!(run.stderr.contains("allow more, or use a smaller model"), "{}", run.stderr);
    assert!(!folder.path().join("out").exists(), "nothing is made");
    let run = ask("a lot", &[]);
    assert!(run.code == 2 && run.stderr.contains("such as 4G"), "{}", run.stderr);
}

#[test]
fn intermediate_tensors_are_the_recorded_ones() {
    let folder = workplace("dump");
    let recorded = WeightFile::open(&data("recorded/micro.safetensors")).expect("the recording");
    let manifest: Value =
        serde_json::from_slice(&fs::read(data("recorded/micro.json")).expect("a manifest")).expect("JSON");
    let cases = manifest["cases"].as_array().expect("cases").iter();
    let simple = cases.clone().find(|case| case["text_type"] == 2).expect("a case of the level simple");
    let text = simple["text"].as_str().expect("a text");
    let line = ["m0.png", "-p", "person", "-p", text, "--dump-tensors", "tensors", "--json"];
    report(&segment(&folder, &line));

    let dumped = WeightFile::open(&folder.path().join("tensors/m0.safetensors")).expect("a safetensors file");
    for name in ["enc.layer.0", "out.pred_logits", "out.pred_boxes", "out.pred_masks", "out.presence_logit"] {
        let ours = dumped.read_f32(&format!("p1/{name}")).expect(name);
        let theirs = recorded.read_f32(&format!("m0/simple/{name}")).expect(name);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let off = ours.iter().zip(&theirs).map(|(x, y)| (x - y).abs()).fold(0f32, f32::max);
        assert!(off < 1e-3, "{name}: off by {off}");
    }
    let ours = dumped.read_f32("image/vit.block.0").expect("values");
    let theirs = recorded.read_f32("m0/vit.block.0").expect("values");
    assert!(ours.iter().zip(&theirs).all(|(x, y)| (x - y).abs() < 1e-3) && ours.len() == theirs.len());
    for name in ["image/image.pixel_values", "image/vit.block.1", "p0/text.features", "p0/out.pred_masks"] {
        assert!(dumped.entry(name).is_some(), "{name}");
    }
    let pixels = dumped.entry("image/image.pixel_values").expect("pixels");
    assert_eq!(pixels.shape[2], 3, "the shape is kept");
    assert_eq!(folder.files("tensors"), ["m0.safetensors"], "nothing temporary stays");

    let tiled = segment(&folder, &["m0.png", "-p", "x", "--dump-tensors", "tensors", "--tile", "64"]);
    assert!(
        tiled.code == 2 && tiled.stderr.contains("leave --dump-tensors or --tile out"),
        "{}",
        tiled.stderr
    );
}

/// How many instances each prompt of a report has.
fn counts(report: &Value) -> Vec<usize> {
    let prompts = report["prompts"].as_array().expect("prompts").iter();
    prompts.map(|prompt| prompt["instances"].as_array().expect("a list").len()).collect()
}

#[test]
fn a_prompt_of_a_file_may_have_its_own_threshold() {
    let folder = workplace("thresholds");
    let prompts = r#"[{"text":"person","threshold":0},{"text":"person"},{"text":"person","threshold":1}]"#;
    folder.write("prompts.json", prompts.as_bytes());
    let ask = |more: &[&str]| {
        segment(&folder, &[&["m0.png", "--prompts", "prompts.json", "--json"], more].concat())
    };
    let found = report(&ask(&["--threshold", "1"]));
    assert_eq!(counts(&found), [8, 0, 0]);
    let said: Vec<&Value> =
        found["prompts"].as_array().expect("prompts").iter().map(|prompt| &prompt["threshold"]).collect();
    assert_eq!(said, [&Value::from(0.0), &Value::Null, &Value::from(1.0)]);
    assert_eq!(counts(&report(&ask(&["--threshold", "0"]))), [8, 8, 0]);
    let tiled = report(&ask(&["--threshold", "1", "--tile", "64"]));
    assert!(counts(&tiled)[0] > 0 && counts(&tiled)[1..] == [0, 0], "{tiled}");

    // A prompt with another threshold is another prompt.
    let files = ["--out-dir", "out", "--format", "json", "--skip-existing"];
    report(&ask(&files));
    assert!(ask(&files).stderr.contains("--skip-existing: 1 pictures passed over"));
    folder.write("prompts.json", prompts.replace(":0}", ":0.25}").as_bytes());
    let again = ask(&files);
    assert!(!again.stderr.contains("passed over"), "{}", again.stderr);
    assert_eq!(report(&again)["prompts"][0]["threshold"], 0.25);
}

#[test]
fn prompts_come_from_standard_input_too() {
    let folder = workplace("stdin");
    let line = ["segment", "--model", "model", "--device", "cpu", "--json"];
    let ask = |more: &[&str], input: &[u8]| sam3i_with_input(folder.path(), &[&line, more].concat(), input);
    let piped = report(&ask(&["m0.png", "--prompts", "-"], b"person\n# a comment\nthe red hat\n"));
    assert_eq!((&piped["prompts"][1]["text"], counts(&piped).len()), (&"the red hat".into(), 2));
    // A pipe's picture goes by the name of its files.
    folder.write("its.jsonl", br#"{"image":"stdin","text":"person"}"#);
    let picture = fs::read(data("recorded/images/m0.png")).expect("a picture");
    assert_eq!(counts(&report(&ask(&["-", "--prompts", "its.jsonl"], &picture))).len(), 1);
    folder.write("list.txt", b"-\n");
    for pictures in ["-", "@-", "@list.txt"] {
        let run = ask(&[pictures, "--prompts", "-"], b"person\n");
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains("standard input holds the pictures"), "{pictures}: {}", run.stderr);
    }
    for (more, input, words) in [
        (&["--prompts", "-", "--prompts", "-"][..], &b"person"[..], "only once"),
        (&["--prompts", "-"], b"", "--prompts -: no prompts in this file"),
        (&["--prompts", "-"], b"{\n  \"text\": \"person\"\n}\n", "put each prompt on a line of its own"),
        (&["--prompts", "-"], b"\xff\xfe", "UTF-8"),
    ] {
        let run = ask(&[&["m0.png"], more].concat(), input);
        assert!(run.code == 2 && run.stderr.contains(words), "{more:?}: {}", run.stderr);
    }
}

#[test]
fn a_prompt_that_begins_with_a_dash_gets_the_right_advice() {
    let folder = workplace("dash");
    for (line, told) in [
        (&["-p", "-foo"][..], "--prompt='-foo'"),
        (&["--prompt", "- the mug"], "--prompt='- the mug'"),
        (&["-p", "-o", "x"], "--prompt='-o'"),
    ] {
        let run = segment(&folder, &[&["m0.png", "--json"], line].concat());
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(
            run.stderr.starts_with("sam3i: unexpected argument") && run.stderr.contains(told),
            "{}",
            run.stderr
        );
        assert!(!run.stderr.contains("use '-- "), "nothing that makes a picture of it: {}", run.stderr);
    }
    // An option that is known is no prompt.
    let run = segment(&folder, &["m0.png", "-p", "--json"]);
    assert!(run.code == 2 && run.stderr.contains("a value is required for '--prompt"), "{}", run.stderr);
    for given in ["--prompt=-foo", "-p=-foo", "-p-foo"] {
        assert_eq!(
            report(&segment(&folder, &["m0.png", "--json", given]))["prompts"][0]["text"],
            "-foo",
            "{given}"
        );
    }
    // Where no prompt is meant, the advice stays.
    let run = segment(&folder, &["-x.png", "-p", "person"]);
    assert!(run.stderr.contains("use '-- -x'"), "{}", run.stderr);
}

#[test]
fn a_model_that_a_variable_names_is_told_by_its_name() {
    let folder = workplace("variable");
    let run = |model: &str| {
        let mut command = command(folder.path(), &["segment", "m0.png", "-p", "person", "--json"]);
        let output = command.env("SAM3I_MODEL", model).stdin(Stdio::null()).output().expect("it runs");
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("UTF-8"),
            String::from_utf8(output.stderr).expect("UTF-8"),
        )
    };
    let (code, _, told) = run("nowhere");
    assert!(code == Some(2) && told.starts_with("sam3i: SAM3I_MODEL: nowhere: no model here"), "{told}");
    let (code, found, told) = run("model");
    assert!(code == Some(0) && found.contains("\"params\":649906"), "{told}");
    let (_, found, told) = run("");
    assert!(told.contains("nano, built in") && found.contains("\"name\":\"nano\""), "{found} {told}");
}

#[test]
fn the_limit_on_pixels_can_be_moved() {
    let folder = workplace("pixels");
    let ask = |most: &str| segment(&folder, &["m0.png", "-p", "person", "--json", "--max-pixels", most]);
    let refused = ask("4799"); // 80 x 60 are one more
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("80 x 60 is 4800 pixels, more than the limit of 4799"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("raise the limit (--max-pixels)"), "{}", refused.stderr);
    report(&ask("4800"));
    assert!(ask("0").stderr.contains("--max-pixels"));
}
