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
    assert!(same.stdout.contains("softmax         gpu "), "{}", same.stdout);

    let wrong = check(&ours.replace("exp_f32(x[", "exp_f32(0.5 * x["));
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
    assert!(first.contains("softmax         gpu ") && first.contains(" ok"), "{first}");

    let broken = ours.replacen("fn main(", "fn main(\n    oops,", 1);
    let at = 1 + broken.lines().position(|line| line.contains("oops")).expect("a line");
    save(&broken);
    let second = running.until_it_waits();
    assert!(second.contains(&format!(":{at}:")) && second.contains("oops"), "{second}");

    save(&ours.replace("exp_f32(x[", "exp_f32(0.5 * x["));
    let third = running.until_it_waits();
    assert!(third.contains("FAILED") && third.contains("the smallest failing case"), "{third}");

    save(&ours);
    let last = running.until_it_waits();
    assert!(last.contains(" ok") && !last.contains("FAILED"), "{last}");
}
