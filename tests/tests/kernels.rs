//! The kernel bench and the check of a whole pass, as a user runs them.

use sam3i_tests::command::{Run, sam3i};
use sam3i_tests::goldens::{TempFolder, data};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn folder(name: &str) -> TempFolder {
    TempFolder::new(&format!("kernels-{name}"))
}

fn lines(run: &Run) -> Vec<Value> {
    let line = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    run.stdout.lines().map(line).collect()
}

#[test]
fn every_op_of_a_pass_is_listed_and_keeps_its_tolerance() {
    let folder = folder("verify");
    let listed = sam3i(folder.path(), &["kernels", "list", "--device", "cpu", "--json"]);
    let listed = lines(&listed).remove(0);
    let ops = listed["ops"].as_array().expect("a list").iter();
    let names: BTreeSet<&str> =
        ops.flat_map(|op| op["traced_as"].as_array().expect("names")).filter_map(Value::as_str).collect();

    fs::create_dir(folder.path().join("model")).expect("made");
    for (from, to) in
        [("micro.safetensors", "model/model.safetensors"), ("micro_config.json", "model/config.json")]
    {
        fs::copy(data(from), folder.path().join(to)).expect("copied");
    }
    let picture = data("recorded/images/m0.png");
    let verify = |more: &[&str]| {
        let line = ["verify", picture.to_str().expect("UTF-8"), "-p", "person", "--model", "model"];
        sam3i(folder.path(), &[&line[..], &["--device", "cpu"], more].concat())
    };
    let run = verify(&["--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = lines(&run).remove(0);
    assert_eq!(report["ok"], true);
    for op in report["ops"].as_array().expect("a list") {
        assert!(names.contains(op["op"].as_str().expect("a name")), "{op} is not listed");
        assert!(op["share_of_tolerance"].as_f64().expect("a number") <= 1.0, "{op}");
    }
    let all = lines(&verify(&["--json", "--all", "--against", "cpu"])).remove(0);
    let calls = all["ops"].as_array().expect("a list").len() as u64;
    assert!(calls > 100 && all["calls"] == calls, "{calls}");
    let table = verify(&[]);
    assert!(table.stdout.ends_with("calls of ops: all keep their tolerance\n"), "{}", table.stdout);
}

#[test]
fn checks_and_benches_have_a_line_an_op_and_variant() {
    let folder = folder("lines");
    let run = sam3i(folder.path(), &["kernels", "check", "softmax", "linear", "--cases", "20", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let checked = lines(&run);
    let of = |op: &str| checked.iter().filter(|line| line["op"] == op).collect::<Vec<_>>();
    assert!(of("softmax").len() >= 2 && of("linear").len() >= 2, "{}", run.stdout);
    assert!(of("softmax").iter().all(|line| line["cases"] == 20 && line["ok"] == true));
    assert!(of("softmax")[0]["variant"] == "reference" && of("softmax")[0]["largest_error"] == 0.0);

    let line =
        ["kernels", "bench", "concat", "--seconds", "0", "--json", "--device", "cpu", "--threads", "1"];
    let run = sam3i(folder.path(), &line);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for line in lines(&run) {
        assert!(line["ms"].as_f64().expect("a time") > 0.0, "{line}");
        assert!(line["share_of_peak"].as_f64().expect("a share") > 0.0, "{line}");
    }
}

#[test]
fn what_there_is_not_is_said() {
    let folder = folder("bad");
    for (line, words) in [
        (&["kernels", "check", "softmix"][..], "there is no op softmix; the ops are attention"),
        (&["kernels", "check", "softmax", "--device", "tpu"], "this machine has reference, cpu-portable"),
        (&["kernels", "bench", "softmax", "--seconds", "-1"], "--seconds"),
        (&["kernels", "check", "softmax", "--override", "softmax"], "KERNEL=FILE.wgsl"),
        (&["kernels", "check", "softmax", "--override", "softmax=none.wgsl"], "none.wgsl"),
        (&["kernels", "check", "softmax", "--watch"], "--override"),
        (&["verify", "none.png", "-p", "x"], "none.png"),
        (&["verify", "none.png"], "--prompt"),
    ] {
        let run = sam3i(folder.path(), line);
        assert_eq!(run.code, 2, "{line:?}: {}", run.stderr);
        assert!(run.stderr.contains(words) && run.stdout.is_empty(), "{line:?}: {}", run.stderr);
    }
}

#[test]
fn a_text_of_the_users_takes_a_kernels_place() {
    if sam3i_tests::gpu::devices().is_empty() {
        return; // told already
    }
    let folder = folder("override");
    let ours = fs::read_to_string("../kernels/src/softmax/softmax.wgsl").expect("our kernel");
    let check = |text: &str| {
        folder.write("my.wgsl", text.as_bytes());
        let line = ["kernels", "check", "softmax", "--override", "softmax=my.wgsl", "--cases", "10"];
        sam3i(folder.path(), &line)
    };
    let same = check(&ours);
    assert_eq!(same.code, 0, "{}", same.stderr);
    assert!(same.stdout.contains("softmax         gpu "), "{}", same.stdout);

    let wrong = check(&ours.replace("exp(", "exp(0.5 * "));
    assert_eq!(wrong.code, 2, "{}", wrong.stdout);
    assert!(wrong.stdout.contains("FAILED"), "{}", wrong.stdout);
    assert!(wrong.stderr.contains("the smallest failing case: Softmax"), "{}", wrong.stderr);

    let broken = ours.replacen("fn main(", "fn main(\n    oops,", 1);
    let at = 1 + broken.lines().position(|line| line.contains("oops")).expect("a line");
    let broken = check(&broken);
    assert_eq!(broken.code, 2);
    assert!(broken.stderr.contains(&format!(":{at}:")), "{}", broken.stderr);

    let line = ["kernels", "check", "softmax", "--override", "no_such=my.wgsl"];
    let unknown = sam3i(folder.path(), &line);
    assert!(unknown.code == 2 && unknown.stderr.contains("there is no such kernel"), "{}", unknown.stderr);
}
