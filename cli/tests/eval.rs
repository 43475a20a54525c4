//! predict, merge and eval as a user runs them.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sam3i(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sam3i"))
        .args(args)
        .env_remove("SAM3I_MODEL")
        .output()
        .expect("the binary runs")
}

fn done(args: &[&str]) -> String {
    let output = sam3i(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The message of a run that must fail: exit 2, nothing on stdout.
fn refused(args: &[&str]) -> String {
    let output = sam3i(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    stderr
}

fn data(file: &str) -> String {
    format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/{}"), file)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json_of(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&read(path)).expect("JSON")
}

/// A folder with a data set of two pictures and three samples, for one test.
struct DataSet(PathBuf);

const LEFT: &str = "the mug left of the laptop";

impl DataSet {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("eval-{name}"));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(folder.join("pictures")).expect("made");
        for copy in ["a.png", "b.png"] {
            let to = folder.join("pictures").join(copy);
            std::fs::copy(data("recorded/images/m0.png"), to).expect("copied");
        }
        let set = Self(folder);
        set.write("ann.json", &annotations());
        set
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, file: &str, value: &Value) {
        std::fs::write(self.0.join(file), value.to_string()).expect("written");
    }

    /// The arguments of a run over all levels that finds something.
    fn predict(&self, output: &str, more: &[&str]) -> Vec<String> {
        let (ann, root, out, model) =
            (self.path("ann.json"), self.path("pictures"), self.path(output), data("micro.safetensors"));
        let mut args =
            vec!["predict", "--annotations", &ann, "--image-root", &root, "-o", &out, "--model", &model];
        for (name, value) in [("--categories", "simple,concept,complex"), ("--threshold", "0.3")] {
            if !more.contains(&name) {
                args.extend([name, value]);
            }
        }
        args.iter().chain(more).map(|&arg| arg.to_owned()).collect()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Sample 1 has two annotations; sample 2 is the other picture; sample 3 has no annotation.
fn annotations() -> Value {
    let asked = |complex: &[&str]| json!({"concept": ["mug", "cup"], "simple_query": [LEFT, "left mug"], "complex_query": complex});
    let image = |id: i64, file: &str, asked: Value| json!({"id": id, "file_name": file, "width": 80, "height": 60, "text_inst_input": asked});
    let whole = json!({"size": [60, 80], "counts": [0, 4800]});
    let target = |id: i64, image: i64| json!({"id": id, "image_id": image, "segmentation": whole});
    json!({
        "images": [
            image(1, "a.png", asked(&["what holds tea?"])),
            image(2, "b.png", asked(&[])),
            image(3, "b.png", json!({"simple_query": ["the zebra"]})),
        ],
        "annotations": [target(9, 1), target(4, 1), target(5, 2)],
    })
}

#[test]
fn eval_prints_every_recorded_report() {
    let folders = std::fs::read_dir(data("eval")).expect("recorded evaluations");
    let mut cases = 0;
    for folder in folders.map(|entry| entry.expect("an entry").path()) {
        if !folder.join("expected.json").is_file() {
            continue;
        }
        cases += 1;
        let expected = json_of(folder.join("expected.json"));
        let file = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
        let (gt, pred, mode) =
            (file("gt.json"), file("pred.json"), expected["mode"].as_str().expect("a mode"));
        let args = ["eval", "--gt", &gt, "--pred", &pred, "--mode", &mode.replace('_', "-")];
        let lines: Vec<Value> = done(&args).lines().map(Value::from).collect();
        assert_eq!(Value::from(lines), expected["report"], "{}", folder.display());

        let ours: Value = serde_json::from_str(&done(&[&args[..], &["--json"]].concat())).expect("JSON");
        assert_eq!((&ours["schema"], &ours["mode"]), (&json!(1), &expected["mode"]));
        assert_eq!(ours["count"], expected["count"]);
        assert_eq!(
            ours["samples"].as_array().expect("a list").len(),
            ours["count"].as_u64().expect("a count") as usize
        );
        let close = |key: &str, theirs: &str| {
            let (ours, theirs) = (ours[key].as_f64(), expected["unrounded"][theirs].as_f64());
            let (ours, theirs) = (ours.expect("ours"), theirs.expect("theirs"));
            assert!((ours - theirs).abs() <= 1e-12 * theirs.abs(), "{key}: {ours}, not {theirs}");
        };
        close("giou", "giou");
        if mode == "1to1" {
            for (ours, theirs) in
                [("ciou", "miou"), ("miou", "miou"), ("p_50", "p_05"), ("ap", "ap_coco"), ("ap_50", "ap_50")]
            {
                close(ours, theirs);
            }
        }
    }
    assert_eq!(cases, 8);
}

#[test]
fn predictions_answer_every_query_and_are_read_by_eval() {
    let set = DataSet::new("predict");
    done(&strs(&set.predict("pred.json", &[])));
    assert_eq!(set.files(), ["ann.json", "pictures", "pred.json"], "the journal is gone");
    let records = json_of(set.path("pred.json"));
    let asked = |record: &Value| (record["annotation_id"].as_i64(), record["prompt_type"].clone());
    let order: Vec<_> = records.as_array().expect("a list").iter().map(asked).collect();
    let levels = |id: i64, levels: &[&str]| levels.iter().map(|&l| (Some(id), json!(l))).collect::<Vec<_>>();
    let with_complex = ["concept", "concept", "simple_query_0", "complex_query_0"];
    assert_eq!(
        order,
        [levels(4, &with_complex), levels(5, &with_complex[..3]), levels(9, &with_complex)].concat()
    );
    assert_eq!(records[2]["prompt"]["simple_query"], json!([LEFT, LEFT]));
    assert_eq!((&records[0]["prompt"], &records[0]["file_name"]), (&json!("mug"), &json!("a.png")));
    for (of_4, of_9) in [(0, 7), (1, 8), (2, 9), (3, 10)] {
        assert_eq!(records[of_4]["predictions"], records[of_9]["predictions"], "one question, one answer");
    }
    assert!(read(set.path("pred.json")).starts_with("[\n  {\n    \"annotation_id\": 4,"), "indented by 2");

    let (gt, pred) = (set.path("ann.json"), set.path("pred.json"));
    let ours = done(&["eval", "--gt", &gt, "--pred", &pred, "--mode", "1to1", "--json"]);
    let ours: Value = serde_json::from_str(&ours).expect("JSON");
    assert_eq!((&ours["count"], &ours["skipped"]), (&json!(11), &json!(0)));
    let names: Vec<_> =
        ours["by_level"].as_array().expect("a list").iter().map(|part| &part["name"]).collect();
    assert_eq!(names, ["complex", "concept", "simple"]);
    let ours =
        done(&["eval", "--gt", &gt, "--pred", &pred, "--mode", "multi-inst", "--no-target", "abstain"]);
    assert!(ours.contains("Total Images Evaluated: 3\nNo target: 1 when"), "{ours}");
}

#[test]
fn masks_have_the_pictures_size_and_stay_in_query_order() {
    let set = DataSet::new("order");
    done(&strs(&set.predict("pred.json", &[])));
    done(&strs(&set.predict("top1.json", &["--keep-top1", "--threads", "1"])));
    let (all, top1) = (json_of(set.path("pred.json")), json_of(set.path("top1.json")));
    let found = |record: &Value| record["predictions"].as_array().expect("a list").clone();
    let score = |one: &Value| one["score"].as_f64().expect("a score");
    let mut several = 0;
    for (all, top1) in all.as_array().expect("a list").iter().zip(top1.as_array().expect("a list")) {
        let (all, top1) = (found(all), found(top1));
        assert!(all.iter().all(|one| one["rle"]["size"] == json!(picture_size()) && score(one) > 0.3));
        let best = all.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(top1.len(), all.len().min(1));
        assert!(top1.iter().all(|one| score(one) == best));
        several += usize::from(all.len() > 1);
    }
    assert!(several > 0, "the threshold leaves nothing to choose from");
}

fn picture_size() -> [u32; 2] {
    let (width, height) = image::image_dimensions(data("recorded/images/m0.png")).expect("a picture");
    [height, width]
}

#[test]
fn a_killed_run_goes_on_where_it_stopped() {
    let set = DataSet::new("resume");
    let args = set.predict("pred.json", &["--unannotated"]);
    done(&strs(&args));
    let whole = read(set.path("pred.json"));
    let (kept, journal) = (set.path("kept"), set.path("pred.json.partial"));

    // A picture that is missing at the end leaves a journal behind, as a kill does.
    let broken = set.path("pictures/b.png");
    let picture = std::fs::read(&broken).expect("a picture");
    std::fs::write(&broken, &picture[..100]).expect("cut");
    std::fs::remove_file(set.path("pred.json")).expect("removed");
    let message = refused(&strs(&args));
    assert!(message.contains("4 answers are kept") && message.contains("b.png"), "{message}");
    assert_eq!(set.files(), ["ann.json", "pictures", "pred.json.partial"], "no half-written output");
    std::fs::write(&broken, &picture).expect("restored");
    std::fs::copy(&journal, &kept).expect("kept");
    let kept = std::fs::read(kept).expect("read");

    // Another answer marks what was not computed again.
    let marked = String::from_utf8(kept.clone()).expect("UTF-8").replacen(r#""predictions":["#, MARK, 1);
    std::fs::write(&journal, marked).expect("written");
    done(&strs(&args));
    assert!(read(set.path("pred.json")).contains("0.123456"), "an answer was computed twice");

    for end in [0, 1, 50, kept.len() / 2, kept.len() - 1, kept.len()] {
        std::fs::write(&journal, &kept[..end]).expect("cut");
        done(&strs(&args));
        assert!(read(set.path("pred.json")) == whole, "cut at {end}");
        assert!(!Path::new(&journal).exists());
    }

    std::fs::write(&journal, &kept).expect("written");
    let other = set.predict("pred.json", &["--unannotated", "--resize", "float"]);
    let message = refused(&strs(&other));
    assert!(message.contains("resize was pillow, now float"), "{message}");
    assert!(std::fs::read(&journal).expect("read") == kept);
}

/// A data set that takes a second or two: 300 questions.
fn long(name: &str) -> DataSet {
    let set = DataSet::new(name);
    let mut ann = annotations();
    let image = |id: i64| {
        json!({"id": id, "file_name": if id % 2 == 0 { "a.png" } else { "b.png" }, "width": 80, "height": 60,
            "text_inst_input": {"simple_query": [format!("thing number {id}")]}})
    };
    ann["images"] = (1..=300).map(image).collect();
    ann["annotations"] = json!([]);
    set.write("ann.json", &ann);
    set
}

/// Starts a run and lets it give a few answers more than are known.
fn begin(set: &DataSet, args: &[String], known: usize) -> std::process::Child {
    let command = Command::new(env!("CARGO_BIN_EXE_sam3i"))
        .args(args)
        .env_remove("SAM3I_MODEL")
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut child = command.expect("the binary runs");
    let journal = set.path("pred.json.partial");
    let answers = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    while answers() < known + 5 {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it was stopped");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child
}

#[test]
fn a_run_killed_at_any_moment_loses_and_repeats_nothing() {
    let set = long("kill");
    let args = set.predict("pred.json", &["--unannotated"]);
    done(&strs(&args));
    let whole = read(set.path("pred.json"));
    std::fs::remove_file(set.path("pred.json")).expect("removed");
    let journal = set.path("pred.json.partial");
    let mut known = 0;
    for _ in 0..2 {
        let mut child = begin(&set, &args, known);
        child.kill().expect("killed"); // as kill -9 does
        assert!(!child.wait().expect("ended").success(), "it was still running");
        let kept = read(&journal);
        let answers = kept[..kept.rfind('\n').expect("lines")].lines().count();
        assert!(answers > known && answers < 301, "{answers} after {known}");
        known = answers;
    }
    // An answer of the first run is marked: the last run must not compute it again.
    let marked = read(&journal).replacen(r#""predictions":["#, MARK, 1);
    std::fs::write(&journal, marked).expect("written");
    done(&strs(&args));
    let (whole, resumed): (Value, Value) =
        (serde_json::from_str(&whole).expect("JSON"), json_of(set.path("pred.json")));
    let (whole, resumed) = (whole.as_array().expect("a list"), resumed.as_array().expect("a list"));
    assert_eq!(whole.len(), resumed.len());
    let differ = whole.iter().zip(resumed).filter(|(a, b)| a != b).map(|(_, b)| b);
    let [marked] = &differ.collect::<Vec<_>>()[..] else { panic!("one record is marked") };
    assert_eq!(marked["predictions"][0]["score"], json!(0.123456));
    assert!(!Path::new(&journal).exists());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_answers_and_says_so() {
    let set = long("interrupt");
    let args = set.predict("pred.json", &["--unannotated"]);
    let child = begin(&set, &args, 0);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("answers are kept in") && said.contains("goes on from there"), "{said}");
    assert_eq!(set.files(), ["ann.json", "pictures", "pred.json.partial"]);
    assert!(read(set.path("pred.json.partial")).ends_with('\n'));
    done(&strs(&args));
    assert_eq!(set.files(), ["ann.json", "pictures", "pred.json"]);
}

#[test]
fn a_bad_picture_is_named_and_stops_no_other() {
    let set = DataSet::new("bad-picture");
    done(&strs(&set.predict("whole.json", &[])));
    let good = std::fs::read(set.path("pictures/b.png")).expect("a picture");
    std::fs::write(set.path("pictures/a.png"), "junk").expect("written");
    let args = set.predict("pred.json", &[]);
    let told = refused(&strs(&args));
    assert!(told.contains("sam3i: ") && told.contains("a.png: not a png"), "{told}");
    assert!(told.contains("--skip-bad"), "{told}");
    assert_eq!(set.files(), ["ann.json", "pictures", "pred.json.partial", "whole.json"]);
    let known = read(set.path("pred.json.partial"));
    assert!(known.contains("b.png") && !known.contains("a.png\""), "the others are answered: {known}");

    // Written without it if that is wanted, at no new cost.
    let skipping = set.predict("pred.json", &["--skip-bad"]);
    done(&strs(&skipping));
    let records = |file: &str| json_of(set.path(file)).as_array().expect("records").clone();
    let of_b = |record: &&Value| record["file_name"] == "b.png";
    assert_eq!(records("pred.json"), records("whole.json").iter().filter(of_b).cloned().collect::<Vec<_>>());
    assert!(!records("pred.json").is_empty());

    // Put right, the same command goes on to the end.
    std::fs::remove_file(set.path("pred.json")).expect("there");
    refused(&strs(&args));
    std::fs::write(set.path("pictures/a.png"), good).expect("written");
    done(&strs(&args));
    assert!(read(set.path("pred.json")) == read(set.path("whole.json")));
}

#[test]
fn predict_tells_where_the_time_went_and_heeds_the_log() {
    let set = DataSet::new("profile");
    let told = |more: &[&str], log: &str| {
        let args = set.predict("pred.json", &[&["--device", "cpu"], more].concat());
        let output = Command::new(env!("CARGO_BIN_EXE_sam3i")).args(args).env("RUST_LOG", log).output();
        let output = output.expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    assert!(told(&["--quiet", "--profile"], "").contains("\ngrounding "));
    assert!(told(&["-v"], "").contains("image      linear"));
    let log = told(&["--quiet"], "sam3i::op=trace");
    assert!(log.contains("TRACE") && log.contains("vit.block.0"), "{log}");
    assert_eq!(told(&["--quiet"], ""), "");
}

const MARK: &str = r#""predictions":[{"rle":{"size":[1,1],"counts":"01"},"score":0.123456},"#;

#[test]
fn shards_merge_to_the_whole() {
    let set = DataSet::new("shards");
    done(&strs(&set.predict("whole.json", &["--unannotated"])));
    let mut merge = vec!["merge".to_owned()];
    for shard in 1..=3 {
        let (name, part) = (format!("part{shard}.json"), format!("{shard}/3"));
        done(&strs(&set.predict(&name, &["--unannotated", "--shard", &part])));
        merge.push(set.path(&name));
    }
    merge.extend(["-o".to_owned(), set.path("merged.json")]);
    done(&strs(&merge));
    assert!(read(set.path("merged.json")) == read(set.path("whole.json")));
    merge.push(set.path("whole.json"));
    let message = refused(&strs(&merge));
    assert!(message.starts_with("sam3i: ") && message.contains("both have annotation"), "{message}");
}

#[test]
fn bad_inputs_are_named_and_nothing_is_written() {
    struct Case {
        change: fn(&mut Value),
        more: &'static [&'static str],
        words: &'static str,
    }
    let none: fn(&mut Value) = |_| {};
    let cases = [
        Case {
            change: |ann| ann["images"][0]["file_name"] = json!("no.png"),
            more: &[],
            words: "no such picture",
        },
        Case { change: |ann| ann["images"] = json!(7), more: &[], words: "not an annotation file" },
        Case {
            change: |ann| ann["annotations"][1]["image_id"] = json!(77),
            more: &[],
            words: "annotation 4: names image 77",
        },
        Case {
            change: |ann| ann["annotations"][1]["segmentation"] = json!("x"),
            more: &[],
            words: "is no mask",
        },
        Case {
            change: |ann| ann["images"][0]["text_inst_input"] = json!(["x"]),
            more: &[],
            words: "ann.json",
        },
        Case { change: none, more: &["--categories", "hard"], words: "is not a level" },
        Case { change: none, more: &["--device", "abacus"], words: "abacus" },
        Case { change: none, more: &["--dtype", "int4"], words: "int4" },
        Case { change: none, more: &["--threshold", "2"], words: "0 to 1" },
        Case { change: none, more: &["--shard", "3/2"], words: "I from 1 to N" },
    ];
    let set = DataSet::new("bad");
    for Case { change, more, words } in cases {
        let mut ann = annotations();
        change(&mut ann);
        set.write("ann.json", &ann);
        let message = refused(&strs(&set.predict("pred.json", more)));
        assert!(message.contains("sam3i: ") && message.contains(words), "{words}: {message}");
        assert_eq!(set.files(), ["ann.json", "pictures"], "{words}");
    }
    set.write("ann.json", &annotations());
    let (ann, root, out) = (set.path("ann.json"), set.path("pictures"), set.path("no/such/pred.json"));
    let mut args =
        vec!["predict", "--annotations", &ann, "--image-root", &root, "--categories", "simple", "-o", &out];
    args.extend(["--model", "no-model.pt"]);
    assert!(refused(&args).contains("no-model.pt"));
    args.truncate(args.len() - 2);
    let model = data("micro.safetensors");
    args.extend(["--model", &model]);
    // A directory that is missing is made.
    done(&args);
    assert!(Path::new(&out).exists());
}

#[test]
fn eval_names_what_it_cannot_use() {
    let set = DataSet::new("bad-eval");
    let record = |id: i64, counts: &str| json!([{"annotation_id": id, "image_id": 1, "predictions": [{"rle": {"size": [60, 80], "counts": counts}, "score": 1}]}]);
    set.write("ok.json", &record(9, ""));
    set.write("rle.json", &record(9, "~"));
    set.write("list.json", &json!({}));
    set.write(
        "unknown.json",
        &json!([{"annotation_id": 9, "image_id": 66, "predictions": [{"rle": {}, "score": 1}]}]),
    );
    let cases = [
        ("ann.json", "rle.json", "sam3i: record 1 (annotation 9): not a usable run-length"),
        ("ann.json", "list.json", "not a prediction file"),
        ("ann.json", "unknown.json", "record 1: names image 66"),
        ("ann.json", "none.json", "none.json"),
        ("ok.json", "ok.json", "not an annotation file"),
    ];
    for (gt, pred, words) in cases {
        let message = refused(&["eval", "--gt", &set.path(gt), "--pred", &set.path(pred), "--mode", "1to1"]);
        assert!(message.contains(words), "{message}");
    }
    let (gt, pred) = (set.path("ann.json"), set.path("ok.json"));
    assert!(
        refused(&["eval", "--gt", &gt, "--pred", &pred, "--mode", "both"]).contains("1to1 and multi-inst")
    );
}
