//! The kernel bench and the check of a whole pass, as a user runs them.

use sam3i_tests::command::{Run, command, sam3i};
use sam3i_tests::goldens::{TempFolder, data};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

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
    let rounded = lines(&verify(&["--json", "--dtype", "int8"])).remove(0);
    assert!(rounded["ok"] == true && rounded["dtype"] == "int8", "{rounded}");
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
    let rounded =
        of("linear").into_iter().find(|line| line["variant"] == "cpu-int8").expect("a line in int8");
    assert!(rounded["largest_error"].as_f64().expect("a number") < 1e-3, "{rounded}");
    assert!(of("softmax").iter().all(|line| line["variant"] != "cpu-int8"), "softmax has no form in int8");
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
        (&["kernels", "bench", "softmax", "--seconds=-1"], "give 0 to 3600"),
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
    assert!(same.stdout.contains("softmax         gpu-yours "), "{}", same.stdout);

    let wrong = check(&ours.replace("exp_f32(x[", "exp_f32(0.5 * x["));
    assert_eq!(wrong.code, 2, "{}", wrong.stdout);
    assert!(wrong.stdout.contains("FAILED"), "{}", wrong.stdout);
    assert!(wrong.stderr.contains("the smallest failing case: Softmax"), "{}", wrong.stderr);

    let broken = ours.replacen("fn main(", "fn main(\n    oops,", 1);
    let at = 1 + broken.lines().position(|line| line.contains("oops")).expect("a line");
    let broken = check(&broken);
    assert_eq!(broken.code, 2);
    let says = |words: &str| assert!(broken.stderr.contains(words), "{words}: {}", broken.stderr);
    says(&format!("my.wgsl:{at}:"));
    says("the text in place of the kernel softmax was refused");
    says("mend the text: line numbers are its own");
    assert!(!broken.stderr.contains("try the CPU"), "{}", broken.stderr);
    // A mistake that is found only once types are known, and a line that has to be there.
    let untyped = check(&ours.replace("let row = group.x +", "let row = 1.5 * group.x +"));
    assert!(untyped.stderr.matches("Abstract types").count() == 1, "{}", untyped.stderr);
    let at = 1 + ours.lines().position(|line| line.contains("let row = ")).expect("a line");
    assert!(untyped.code == 2 && untyped.stderr.contains(&format!("my.wgsl:{at}:")), "{}", untyped.stderr);
    let bound = check(&ours.replace("@binding(2)", "@binding(3)"));
    assert!(bound.code == 2 && bound.stderr.contains("keep our text's bindings"), "{}", bound.stderr);

    let line = ["kernels", "check", "softmax", "--override", "no_such=my.wgsl"];
    let unknown = sam3i(folder.path(), &line);
    assert!(unknown.code == 2 && unknown.stderr.contains("there is no such kernel"), "{}", unknown.stderr);
    assert!(!unknown.stderr.contains("try the CPU"), "{}", unknown.stderr);

    // What would check or time ours only is refused.
    folder.write("my.wgsl", ours.as_bytes());
    let line = ["kernels", "check", "linear", "--override", "softmax=my.wgsl", "--cases", "1"];
    let elsewhere = sam3i(folder.path(), &line);
    assert_eq!(elsewhere.code, 2);
    assert!(elsewhere.stderr.contains("the ops that use it are softmax"), "{}", elsewhere.stderr);
    folder.write("conv.wgsl", fs::read("../kernels/src/conv/tiled.wgsl").expect("our kernel").as_slice());
    let line = ["kernels", "check", "--override", "peak_copy=my.wgsl", "--cases", "1"];
    let unused = sam3i(folder.path(), &line);
    assert!(unused.code == 2 && unused.stderr.contains("no call runs this kernel"), "{}", unused.stderr);
}

#[test]
fn ours_is_timed_beside_a_text_of_the_users() {
    if sam3i_tests::gpu::devices().is_empty() {
        return; // told already
    }
    let folder = folder("beside");
    let ours = fs::read_to_string("../kernels/src/mean_rows/mean_rows.wgsl").expect("our kernel");
    folder.write("my.wgsl", ours.as_bytes());
    let line = ["kernels", "bench", "--override", "mean_rows=my.wgsl", "--seconds", "0"];
    let run = sam3i(folder.path(), &[&line[..], &["--json"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let timed = lines(&run);
    // The op that uses the kernel, on the reference, as it is, and both texts in its place.
    assert!(timed.iter().all(|line| line["op"] == "mean_rows"), "{}", run.stdout);
    let variants: BTreeSet<_> = timed.iter().map(|line| line["variant"].as_str().expect("a name")).collect();
    assert_eq!(variants, BTreeSet::from(["gpu", "gpu-ours", "gpu-yours", "reference"]));
    for shape in timed.iter().map(|line| &line["shape"]) {
        let of = |variant: &str| {
            let line = timed.iter().find(|line| line["shape"] == *shape && line["variant"] == variant);
            line.expect("a line for each variant")
        };
        let ms = |variant: &str| of(variant)["ms"].as_f64().expect("a time");
        for other in ["gpu", "gpu-ours", "reference"] {
            let ratio = of("gpu-yours")["times_as_fast_as"][other].as_f64().expect("a ratio");
            let expected = ms(other) / ms("gpu-yours");
            assert!((ratio / expected - 1.0).abs() < 1e-6, "{ratio} for {expected}");
            assert!(of(other).get("times_as_fast_as").is_none(), "only of the user's");
        }
    }
    let table = sam3i(folder.path(), &line);
    assert_eq!(
        table.stdout.matches(" times as fast as gpu-ours").count(),
        timed.len() / 4,
        "{}",
        table.stdout
    );
}

#[test]
fn a_gpus_forms_are_listed_with_what_it_takes_and_why_not_the_others() {
    if sam3i_tests::gpu::devices().is_empty() {
        return; // told already
    }
    let folder = folder("forms");
    let list = |more: &[&str]| {
        let run = sam3i(folder.path(), &[&["kernels", "list", "--device", "gpu"], more].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run
    };
    let of = |report: &Value, op: &str| -> Vec<Value> {
        let found = report["ops"].as_array().expect("a list").iter().find(|line| line["name"] == op);
        found
            .expect("the op")
            .get("gpu_calls")
            .map_or(Vec::new(), |calls| calls.as_array().expect("a list").clone())
    };
    for dtype in ["f32", "f16"] {
        let report = lines(&list(&["--dtype", dtype, "--json"])).remove(0);
        assert_eq!(report["weights"], dtype);
        for (op, several) in [("linear", 8), ("attention", 7), ("softmax", 2), ("rope", 0)] {
            let calls = of(&report, op);
            assert_eq!(calls.is_empty(), several == 0, "{op}");
            for call in &calls {
                let forms = call["forms"].as_array().expect("a list");
                assert_eq!(forms.len(), several, "{op}");
                let has: Vec<_> = forms.iter().filter(|form| form.get("why_not").is_none()).collect();
                // The first runs everywhere; what is taken is there; what is not has a reason.
                assert!(
                    has.contains(&&forms[0]) && has.iter().any(|form| form["name"] == call["takes"]),
                    "{call}"
                );
                let reasons = forms.iter().filter_map(|form| form.get("why_not"));
                assert!(reasons.map(|why| why.as_str().expect("words")).all(|why| why.len() > 10), "{call}");
            }
        }
        let rounding = of(&report, "linear")[0]["forms"][2].clone();
        assert_eq!(rounding["name"], "halves_64");
        if dtype == "f32" {
            assert!(rounding["why_not"].as_str().expect("a reason").contains("round to f16"), "{rounding}");
            assert_eq!(of(&report, "linear")[0]["takes"], "tiled_64");
        }
    }
    let text = list(&[]).stdout;
    assert!(text.contains("weights in f32") && text.contains("has tiled_64 (matmul_tiled)"), "{text}");
    assert!(text.contains("would round to f16"), "{text}");
    // Other devices choose nothing by sizes.
    let cpu = lines(&sam3i(folder.path(), &["kernels", "list", "--device", "cpu", "--json"])).remove(0);
    assert!(of(&cpu, "linear").is_empty());
}

/// A command that goes on, and what it says on both of its outputs, line by line.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(folder: &TempFolder, line: &[&str]) -> Self {
        let mut command = command(folder.path(), line);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let (give, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        for output in outputs {
            let give = give.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(output).lines().map_while(Result::ok);
                lines.try_for_each(|line| give.send(line))
            });
        }
        Self { child, lines }
    }

    /// Everything up to the line that says it waits, which comes when a run is over.
    fn until_it_waits(&self) -> String {
        let mut said = String::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(180)).expect("it goes on");
            if line.contains("waiting for a file to be saved") {
                // What it said on the other output may come a moment later.
                let late = Duration::from_millis(500);
                said.extend(
                    std::iter::from_fn(|| self.lines.recv_timeout(late).ok()).map(|line| line + "\n"),
                );
                return said;
            }
            said += &(line + "\n");
        }
    }
}

#[test]
fn a_watched_text_is_checked_again_whenever_it_is_saved() {
    if sam3i_tests::gpu::devices().is_empty() {
        return; // told already
    }
    let folder = folder("watch");
    let ours = fs::read_to_string("../kernels/src/softmax/softmax.wgsl").expect("our kernel");
    // The time a file was saved has to change, whatever the steps of the system's clock.
    let save = |text: &str| {
        std::thread::sleep(Duration::from_millis(1100));
        folder.write("my.wgsl", text.as_bytes());
    };
    save(&ours);
    let line = ["kernels", "check", "softmax", "--override", "softmax=my.wgsl", "--watch", "--cases", "5"];
    let running = Running::start(&folder, &line);
    let first = running.until_it_waits();
    assert!(first.contains("softmax         gpu-yours ") && first.contains(" ok"), "{first}");

    let broken = ours.replacen("fn main(", "fn main(\n    oops,", 1);
    let at = 1 + broken.lines().position(|line| line.contains("oops")).expect("a line");
    save(&broken);
    let second = running.until_it_waits();
    assert!(second.contains(&format!("my.wgsl:{at}:")) && second.contains("oops"), "{second}");

    // Some editors take the file away for a moment.
    fs::remove_file(folder.path().join("my.wgsl")).expect("removed");
    let away = running.until_it_waits();
    assert!(away.contains("my.wgsl"), "{away}");

    save(&ours.replace("exp_f32(x[", "exp_f32(0.5 * x["));
    let third = running.until_it_waits();
    assert!(third.contains("FAILED") && third.contains("the smallest failing case"), "{third}");

    save(&ours);
    let last = running.until_it_waits();
    assert!(last.contains(" ok") && !last.contains("FAILED"), "{last}");
}
