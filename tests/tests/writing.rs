//! Where results go: names, files that are in the way, and runs that meet.

use sam3i_tests::command::{Run, command, finished, sam3i, sam3i_with_input};
use sam3i_tests::goldens::{TempFolder, data, example};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

fn folder(name: &str) -> TempFolder {
    TempFolder::new(&format!("writing-{name}"))
}

fn read(folder: &TempFolder, file: &str) -> Value {
    let text = fs::read_to_string(folder.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn succeed(run: &Run) {
    assert_eq!(run.code, 0, "{}", run.stderr);
}

/// One message, of which this is a part, and exit code 2.
fn refused(run: &Run, words: &str) {
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
}

#[test]
fn a_picture_of_a_pipe_is_called_as_its_files_everywhere() {
    let folder = folder("stdin");
    let scene = fs::read(example("dogs.png")).expect("a scene");
    let line = [
        "segment",
        "-",
        "-p",
        "dog",
        "-q",
        "--json",
        "--format",
        "json,coco,labelme,geojson",
        "--out-dir",
        "out",
    ];
    let run = sam3i_with_input(folder.path(), &line, &scene);
    succeed(&run);
    let printed: Value = serde_json::from_str(&run.stdout).expect("a report");
    let names = |name: &str, printed: &Value| {
        assert_eq!(printed["image"]["file"], name);
        assert_eq!(read(&folder, &format!("out/{name}.json"))["image"]["file"], name);
        assert_eq!(read(&folder, &format!("out/labelme/{name}.json"))["imagePath"], name);
        assert_eq!(read(&folder, &format!("out/{name}.geojson"))["image"]["file"], name);
    };
    names("stdin", &printed);
    assert_eq!(read(&folder, "out/annotations.coco.json")["images"][0]["file_name"], "stdin");
    let run = sam3i_with_input(folder.path(), &line, &[&scene[..], &scene].concat());
    succeed(&run);
    let second = run.stdout.lines().nth(1).expect("two");
    names("stdin.000002", &serde_json::from_str(second).expect("a report"));
    assert_eq!(read(&folder, "out/annotations.coco.json")["images"][1]["file_name"], "stdin.000002");
}

#[test]
fn labels_that_the_overlays_font_lacks_are_told_once() {
    let folder = folder("font");
    for name in ["a.png", "b.png"] {
        folder.scene("dogs.png", name);
    }
    let line = ["segment", "a.png", "b.png", "-p", "猫", "-p", "dog", "-p", "the 犬"];
    let run = sam3i(folder.path(), &line);
    succeed(&run);
    assert_eq!(run.stderr.matches("the font of overlays").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("no letters for \"猫\", \"the 犬\": "), "{}", run.stderr);
    let without = sam3i(folder.path(), &[&line[..], &["--format", "json"]].concat());
    assert!(!without.stderr.contains("the font"), "{}", without.stderr);
}

#[test]
fn results_of_another_picture_are_not_replaced() {
    let folder = folder("others");
    for (scene, name) in [("dogs.png", "a/x.png"), ("fruit.png", "b/x.png"), ("fruit.png", "b/y.png")] {
        folder.scene(scene, name);
    }
    let segment = |pictures: &[&str]| {
        sam3i(folder.path(), &[&["segment", "-p", "dog", "--format", "json", "--json"], pictures].concat())
    };
    succeed(&segment(&["a/x.png"]));
    let first = fs::read(folder.path().join("sam3i-out/x.json")).expect("a report");
    let other = segment(&["b/x.png", "b/y.png"]);
    refused(&other, "sam3i: b/x.png: its results would replace those of a/x.png");
    assert!(other.stderr.contains("another directory with --out-dir"), "{}", other.stderr);
    assert_eq!(other.stdout.lines().count(), 1, "the other picture is answered");
    assert_eq!(fs::read(folder.path().join("sam3i-out/x.json")).expect("a report"), first);
    // The same picture by another name, and one that is gone.
    succeed(&segment(&["./b/../a/x.png"]));
    fs::remove_file(folder.path().join("a/x.png")).expect("removed");
    succeed(&segment(&["b/x.png"]));
    assert_eq!(read(&folder, "sam3i-out/x.json")["image"]["file"], "b/x.png");
}

/// A run that has answered one picture of a pipe and waits for the next, of which it got a part.
fn waiting(folder: &TempFolder, format: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let line = ["segment", "-", "-p", "dog", "--json", "-q", "--out-dir", "out", "--format", format];
    let mut command = command(folder.path(), &line);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let scene = fs::read(example("dogs.png")).expect("a scene");
    let begun = [&scene[..], &scene[..100]].concat();
    child.stdin.as_mut().expect("a pipe").write_all(&begun).expect("written");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    assert!(stdout.read_line(&mut String::new()).expect("a report") > 0);
    (child, stdout)
}

/// Gives it the rest of the next picture, and its end.
fn go_on(mut child: Child) -> Run {
    let scene = fs::read(example("dogs.png")).expect("a scene");
    child.stdin.take().expect("a pipe").write_all(&scene[100..]).expect("written");
    finished(child.wait_with_output().expect("it ends"))
}

#[cfg(unix)]
#[test]
fn two_runs_do_not_write_one_data_set() {
    let folder = folder("runs");
    folder.scene("fruit.png", "fruit.png");
    let other = |more: &[&str]| {
        sam3i(folder.path(), &[&["segment", "fruit.png", "-p", "dog", "--json"], more].concat())
    };
    let (child, _stdout) = waiting(&folder, "json,coco");
    for format in ["coco", "yolo", "json,coco-polygons"] {
        let run = other(&["--out-dir", "out", "--format", format]);
        refused(&run, "another run is writing a data set into out: name another directory with --out-dir");
    }
    succeed(&other(&["--out-dir", "out", "--format", "json"]));
    succeed(&other(&["--out-dir", "elsewhere", "--format", "coco"]));
    succeed(&go_on(child));
    assert_eq!(read(&folder, "out/annotations.coco.json")["images"].as_array().expect("a list").len(), 2);
    succeed(&other(&["--out-dir", "out", "--format", "coco"]));
    assert!(folder.files("out").iter().all(|file| file.ends_with(".json")), "{:?}", folder.files("out"));
}

#[cfg(unix)]
#[test]
fn a_hang_up_that_nohup_has_ignored_stays_ignored() {
    let folder = folder("nohup");
    let scene = fs::read(example("dogs.png")).expect("a scene");
    let mut command = std::process::Command::new("nohup");
    command.arg(sam3i_tests::command::binary()).args(["segment", "-", "-p", "dog", "--json", "-q"]);
    command.current_dir(folder.path()).env_remove("SAM3I_MODEL").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return eprintln!("SKIPPED: nohup is not installed ({error})"),
    };
    let begun = [&scene[..], &scene[..100]].concat();
    child.stdin.as_mut().expect("a pipe").write_all(&begun).expect("written");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut report = String::new();
    stdout.read_line(&mut report).expect("a report");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs").success());
    let ended = go_on(child);
    succeed(&ended);
    assert!(!ended.stderr.contains("interrupted"), "{}", ended.stderr);
    let second = stdout.lines().next().expect("a second report").expect("UTF-8");
    assert!(second.contains("stdin.000002"), "{second}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_work_with_what_to_do() {
    let folder = folder("verbs");
    folder.write("file", b"no directory");
    folder.write("list.json", b"[]");
    fs::create_dir(folder.path().join("dir")).expect("made");
    fs::copy(data("micro_config.json"), folder.path().join("config.json")).expect("copied");
    folder.scene("dogs.png", "dogs.png");
    let predict =
        ["predict", "--annotations", "no.json", "--image-root", ".", "--categories", "simple", "-o"];
    let import = ["import", "coco", "no.json", "-o"];
    let verbs: [&[&str]; 4] = [&["convert", "nano", "-o"], &["merge", "list.json", "-o"], &predict, &import];
    for verb in verbs {
        let run = |output: &str| sam3i(folder.path(), &[verb, &[output]].concat());
        refused(&run("dir"), "dir is a directory; name the file to write with -o");
        refused(&run("file/below/x"), "file/below/x cannot be written; name another file with -o: ");
        refused(&run("-"), "-o -: this file is not written to stdout; name a file");
    }
    let synth = sam3i(folder.path(), &["synth", "--config", "config.json", "-o", "file"]);
    refused(&synth, "the directory file cannot be used; name another one with -o");
    let dump =
        sam3i(folder.path(), &["segment", "dogs.png", "-p", "dog", "--json", "--dump-tensors", "file/below"]);
    refused(&dump, "the directory file/below cannot be used; name another one with --dump-tensors");
    assert_eq!(folder.files(""), ["config.json", "dogs.png", "file", "list.json"], "nothing is left");
    // Directories that are missing are made, once there is something to put there.
    refused(&sam3i(folder.path(), &["merge", "no.json", "-o", "new/all.json"]), "no.json: No such file");
    assert!(!folder.path().join("new").exists());
    succeed(&sam3i(folder.path(), &["merge", "list.json", "-o", "new/deep/all.json"]));
    succeed(&sam3i(folder.path(), &["convert", "nano", "-o", "new/nano.safetensors", "--dtype", "bf16"]));
    assert_eq!(folder.files("new"), ["deep/all.json", "nano.safetensors"]);
}
