//! Many pictures and many prompts, on nano.

use sam3i::mask::{Mask, Rle};
use sam3i_tests::command::{Run, command, finished, sam3i, sam3i_with_input};
use sam3i_tests::goldens::{TempFolder, example};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn segment(folder: &TempFolder, line: &[&str]) -> Run {
    sam3i(folder.path(), &[&["segment", "--quiet"], line].concat())
}

/// The reports on stdout of a run that must succeed.
fn reports(run: &Run) -> Vec<Value> {
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.lines().map(json).collect()
}

/// The pictures of reports, in their order.
fn pictures(run: &Run) -> Vec<String> {
    reports(run).iter().map(|report| report["image"]["file"].as_str().expect("a name").to_owned()).collect()
}

/// Three scenes in two directories, and things that are no pictures.
fn photos(name: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("batch-{name}"));
    for (scene, file) in [("dogs.png", "f10.png"), ("fruit.png", "f9.PNG"), ("sky.png", "more/f9.png")] {
        folder.scene(scene, &format!("photos/{file}"));
    }
    folder.write("photos/notes.txt", b"no picture");
    folder.write("photos/.hidden.png", b"no picture");
    folder
}

#[test]
fn directories_patterns_and_lists_stand_for_their_pictures() {
    let folder = photos("inputs");
    folder.write("list.txt", b"# two\nphotos/f10.png\r\n\nphotos/more\n");
    let all = ["photos/f9.PNG", "photos/f10.png", "photos/more/f9.png"];
    let some = ["photos/f10.png", "photos/more/f9.png"];
    let cases: [(&[&str], &[&str]); 6] = [
        (&["photos"], &all),
        (&["photos/**/*.png"], &some),
        (&["photos/f?0.png", "photos/more"], &some),
        (&["@list.txt"], &some),
        (&["photos", "./photos/f10.png", "photos/f*"], &all),
        (&["photos/f9.PNG", "photos/f10.png", "@list.txt"], &all),
    ];
    for (inputs, expected) in cases {
        let run = segment(&folder, &[inputs, &["-p", "dog", "--json"]].concat());
        assert_eq!(pictures(&run), expected, "{inputs:?}");
    }
    let listed = sam3i_with_input(
        folder.path(),
        &["segment", "@-", "-p", "dog", "--json", "--quiet"],
        b"photos/f10.png\n",
    );
    assert_eq!(pictures(&listed), ["photos/f10.png"]);
}

#[test]
fn results_never_share_a_name_and_are_never_read_again() {
    let folder = photos("names");
    let line = ["photos", "-p", "dog", "--format", "json", "--out-dir", "photos/out"];
    for _ in 0..2 {
        let run = segment(&folder, &line);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(folder.files("photos/out"), ["f10.json", "f9.json", "more/f9.json"]);
    }
    folder.scene("sky.png", "photos/f10.jpg"); // told by its content
    let run = segment(
        &folder,
        &[
            "photos/f9.PNG",
            "photos/more/f9.png",
            "photos/f10.png",
            "photos/f10.jpg",
            "-p",
            "dog",
            "--format",
            "json",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let expected = ["photos/f10.jpg.json", "photos/f10.png.json", "photos/f9.json", "photos/more/f9.json"];
    assert_eq!(folder.files("sam3i-out"), expected);
    for name in expected {
        let report = json(&fs::read_to_string(folder.path().join("sam3i-out").join(name)).expect("read"));
        let file = report["image"]["file"].as_str().expect("a name");
        assert!(file.starts_with(name.trim_end_matches(".json")), "{name}: {file}");
    }
}

#[test]
fn what_stands_for_nothing_is_told_and_the_rest_is_done() {
    let folder = photos("nothing");
    fs::create_dir(folder.path().join("empty")).expect("made");
    let run = segment(
        &folder,
        &[
            "no*.png",
            "https://a.org/x.jpg",
            "empty",
            "photos/f10.png",
            "photos/notes.txt",
            "photos/**x",
            "-p",
            "dog",
            "--json",
        ],
    );
    assert_eq!(run.code, 2);
    assert_eq!(run.stdout.lines().count(), 1);
    for words in [
        "sam3i: no*.png: no file matches",
        "sam3i: https://a.org/x.jpg: pictures are not fetched; pipe it in: curl -L",
        "sam3i: empty: no pictures in this directory",
        "sam3i: photos/notes.txt: not a png, jpeg, webp, bmp or tiff picture: the file is text",
        "sam3i: photos/**x: not a pattern",
    ] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    let twice = segment(&folder, &["-", "-", "-p", "dog", "--json"]);
    assert!(twice.code == 2 && twice.stderr.contains("only once"), "{}", twice.stderr);
}

#[test]
fn prompt_files_ask_each_picture_its_own() {
    let folder = photos("prompts");
    folder.write("lines.txt", b"# things\ndog\n\nred apple\n");
    folder.write(
        "each.jsonl",
        br#"{"image":"f9.PNG","text":"red apple","level":"concept"}
{"image":"more/f9.png","boxes":[[10,10,90,90]],"neg_boxes":[[100,100,120,120]]}
{"text":"dog"}
{"image":"gone.png","text":"cat"}
"#,
    );
    folder.write("list.json", br#"["dog",{"text":"red apple","level":"complex"}]"#);
    let asked = |line: &[&str]| -> Vec<Vec<(String, String)>> {
        let run = segment(&folder, &[&["photos", "--json"], line].concat());
        let prompts = |report: &Value| -> Vec<(String, String)> {
            let prompts = report["prompts"].as_array().expect("prompts");
            let text = |prompt: &Value| prompt["text"].as_str().unwrap_or("boxes").to_owned();
            prompts.iter().map(|p| (text(p), p["level"].as_str().expect("a level").to_owned())).collect()
        };
        reports(&run).iter().map(prompts).collect()
    };
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(text, level)| ((*text).to_owned(), (*level).to_owned())).collect()
    };
    let lines = pairs(&[("cat", "simple"), ("dog", "concept"), ("red apple", "concept")]);
    assert_eq!(asked(&["-p", "cat", "--level", "concept", "--prompts", "lines.txt"]), vec![lines; 3]);
    let list = pairs(&[("dog", "simple"), ("red apple", "complex")]);
    assert_eq!(asked(&["--prompts", "list.json"]), vec![list; 3]);
    let each = [
        pairs(&[("red apple", "concept"), ("dog", "simple")]),
        pairs(&[("dog", "simple")]),
        pairs(&[("boxes", "concept"), ("dog", "simple")]),
    ];
    assert_eq!(asked(&["--prompts", "each.jsonl"]), each);

    let run = sam3i(folder.path(), &["segment", "photos", "--prompts", "each.jsonl", "--json"]);
    assert!(
        run.stderr
            .contains("warning: prompts name 1 pictures that are not among the inputs, such as gone.png")
    );
    let boxes = &json(run.stdout.lines().nth(2).expect("three"))["prompts"][0]["boxes"];
    assert_eq!(boxes[1], json(r#"{"box":[100.0,100.0,120.0,120.0],"positive":false}"#));
    folder.write("only.jsonl", br#"{"image":"f10.png","text":"dog"}"#);
    let run = sam3i(folder.path(), &["segment", "photos", "--prompts", "only.jsonl", "--json"]);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(run.code == 0 && run.stderr.contains("photos/f9.PNG: nothing is asked of it"), "{}", run.stderr);
    for (text, words) in [
        (&br#"{"text":" "}"#[..], "the prompt is empty"),
        (br#"{"boxes":[[3,2,1,4]]}"#, "the box is empty"),
        (br#"{"txt":"a"}"#, "line 1: unknown field `txt`"),
        (b"# nothing\n", "no prompts in this file"),
        (b"\xff\xfe", "UTF-8"),
    ] {
        folder.write("bad.jsonl", text);
        let run = segment(&folder, &["photos", "--prompts", "bad.jsonl", "--json"]);
        assert!(
            run.code == 2 && run.stderr.contains("bad.jsonl") && run.stderr.contains(words),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_batch_says_what_single_runs_say() {
    let folder = photos("same");
    let batch = reports(&segment(&folder, &["photos", "-p", "dog", "-p", "red apple", "--json"]));
    for report in &batch {
        let file = report["image"]["file"].as_str().expect("a name");
        let alone = reports(&segment(&folder, &[file, "-p", "dog", "-p", "red apple", "--json"]));
        assert_eq!(alone[0]["prompts"], report["prompts"], "{file}");
    }
}

#[test]
fn finished_pictures_are_passed_over_and_nothing_else_is() {
    let folder = photos("skip");
    let formats = ["--format", "json,overlay,masks,coco,yolo", "--skip-existing", "--json"];
    let line = |prompts: &[&'static str]| [&["photos", "--out-dir", "out"], prompts, &formats[..]].concat();
    let asked = line(&["-p", "dog"]);
    let first = segment(&folder, &asked);
    let out = |file: &str| folder.path().join("out").join(file);
    let coco = fs::read(out("annotations.coco.json")).expect("a data set");
    let marked =
        |files: &[&str]| files.iter().for_each(|file| fs::write(out(file), "mark").expect("written"));
    let marks = || -> Vec<String> {
        let files = folder.files("out").into_iter();
        files.filter(|file| fs::read(out(file)).expect("read") == b"mark").collect()
    };
    marked(&["f9.overlay.png", "f10.overlay.png", "more/f9.overlay.png"]);
    let again = segment(&folder, &asked);
    assert_eq!(marks().len(), 3, "nothing was done again");
    assert_eq!((again.code, &again.stdout), (0, &first.stdout), "stdout is whole all the same");
    assert_eq!(fs::read(out("annotations.coco.json")).expect("a data set"), coco);

    fs::remove_file(out("f10.p0.0.png")).expect("a mask");
    fs::write(out("f9.json"), "{\"schema\":1,").expect("cut off");
    assert_eq!(segment(&folder, &asked).code, 0);
    assert_eq!(marks(), ["more/f9.overlay.png"], "what was not whole was done again");
    assert_eq!(segment(&folder, &line(&["-p", "cat"])).code, 0);
    assert_eq!(marks(), [""; 0], "other prompts are other results");

    for (line, words) in [
        (&["photos", "-p", "dog", "--skip-existing", "--format", "overlay"][..], "add json to --format"),
        (&["photos", "-p", "dog", "--skip-existing", "--json"], "add --out-dir"),
    ] {
        let run = segment(&folder, line);
        assert!(run.code == 2 && run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn one_thing_that_two_prompts_find_is_kept_once_if_asked() {
    let folder = photos("nms");
    let counts = |more: &[&str]| -> Vec<usize> {
        let line =
            [&["photos/f10.png", "-p", "dog", "-p", "dog", "--threshold", "0.1", "--json"], more].concat();
        let report = reports(&segment(&folder, &line)).remove(0);
        let prompts = report["prompts"].as_array().expect("prompts").clone();
        prompts.iter().map(|prompt| prompt["instances"].as_array().expect("a list").len()).collect()
    };
    let all = counts(&[]);
    assert!(all[0] > 0 && all[0] == all[1]);
    assert_eq!(counts(&["--nms", "1"]), all);
    let best = counts(&["--nms", "0.7"]);
    assert!(best[0] > 0 && best[0] <= all[0] && best[1] == 0, "{best:?}");
}

#[test]
fn a_pipe_of_pngs_is_a_batch() {
    let folder = TempFolder::new("batch-pipe");
    let scene = |name: &str| fs::read(example(name)).expect("a scene");
    let (dogs, fruit, mut damaged) = (scene("dogs.png"), scene("fruit.png"), scene("sky.png"));
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let line = ["segment", "-", "-p", "dog", "--json", "--out-dir", "out", "--format", "json", "--quiet"];
    let run = sam3i_with_input(folder.path(), &line, &[dogs.clone(), damaged, fruit].concat());
    assert_eq!(run.code, 2);
    assert!(run.stderr.starts_with("sam3i: stdin.000002: "), "{}", run.stderr);
    assert_eq!(folder.files("out"), ["stdin.000001.json", "stdin.000003.json"]);
    let alone = sam3i_with_input(folder.path(), &line, &dogs);
    assert_eq!(pictures(&alone), ["stdin"]);
    assert!(folder.files("out").contains(&"stdin.json".to_owned()));
    let first = json(run.stdout.lines().next().expect("a report"));
    assert_eq!(first["prompts"], json(&alone.stdout)["prompts"]);
    let nothing = sam3i_with_input(folder.path(), &line, b"");
    assert!(
        nothing.code == 2 && nothing.stderr.contains("standard input: nothing came"),
        "{}",
        nothing.stderr
    );
    let rubbish = sam3i_with_input(folder.path(), &line, &[&dogs[..], b"something else"].concat());
    assert!(rubbish.code == 2 && rubbish.stdout.lines().count() == 1, "{}", rubbish.stderr);
    assert!(rubbish.stderr.contains("what follows picture 1 is no png"), "{}", rubbish.stderr);
}

/// A scene in another format.
fn scene_as(name: &str, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let scene = image::open(example(name)).expect("a scene").into_rgb8();
    scene.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

#[test]
fn a_pipe_of_other_pictures_is_a_batch_too() {
    use image::ImageFormat::{Bmp, Jpeg, WebP};
    let folder = TempFolder::new("batch-pipe-jpeg");
    let line = ["segment", "-", "-p", "dog", "--json", "-q"];
    for format in [Jpeg, WebP, Bmp] {
        let (dogs, fruit) = (scene_as("dogs.png", format), scene_as("fruit.png", format));
        let png = fs::read(example("sky.png")).expect("a scene");
        let all = sam3i_with_input(folder.path(), &line, &[&dogs[..], &fruit, &png, &dogs].concat());
        assert_eq!(pictures(&all), ["stdin.000001", "stdin.000002", "stdin.000003", "stdin.000004"]);
        let alone = sam3i_with_input(folder.path(), &line, &dogs);
        assert_eq!(pictures(&alone), ["stdin"]);
        let last = json(all.stdout.lines().last().expect("four"));
        assert_eq!(last["prompts"], json(&alone.stdout)["prompts"], "{format:?}");
    }
    // A film behind a photograph, as telephones store them.
    let photo = [scene_as("dogs.png", Jpeg), vec![7; 100_000]].concat();
    let run = sam3i_with_input(folder.path(), &["segment", "-", "-p", "dog", "--json"], &photo);
    assert_eq!(pictures(&run), ["stdin"]);
    assert!(run.stderr.contains("100000 bytes behind the end of the picture"), "{}", run.stderr);
}

#[test]
fn a_run_ends_when_its_only_reader_has_left() {
    let folder = TempFolder::new("batch-reader");
    for i in 0..40 {
        folder.scene("dogs.png", &format!("many/{i}.png"));
    }
    let read_one = |more: &[&str]| {
        let line = [&["segment", "many", "-p", "dog", "--json", "--min-area", "1000000"], more].concat();
        let mut command = command(folder.path(), &line);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut String::new()).expect("a report");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (code, told) = read_one(&[]);
    let looked_at = told.lines().filter(|line| line.contains("nothing found")).count();
    assert!(code == Some(0) && looked_at < 20, "{looked_at} of 40: {told}");
    // Files are wanted all the same.
    let (code, _) = read_one(&["--out-dir", "out", "--format", "json"]);
    assert_eq!((code, folder.files("out").len()), (Some(0), 40));
}

#[test]
fn no_file_is_another_pictures() {
    let folder = TempFolder::new("batch-files");
    for name in ["col/a.png", "col/labelme/a.png", "col/annotations.coco.png"] {
        folder.scene("dogs.png", name);
    }
    let run = segment(&folder, &["col", "-p", "dog", "--format", "json,labelme,coco", "--out-dir", "out"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let files = folder.files("out");
    assert_eq!(
        files,
        [
            "a.json",
            "annotations.coco.json",
            "annotations.coco.png.json",
            "labelme/a.json",
            "labelme/a.png.json",
            "labelme/annotations.coco.png.json",
            "labelme/labelme/a.png.json",
        ]
    );
    let read = |file: &str| json(&fs::read_to_string(folder.path().join("out").join(file)).expect("read"));
    assert_eq!(read("a.json")["image"]["file"], "col/a.png");
    assert_eq!(read("labelme/a.json")["imagePath"], "../../col/a.png");
    assert_eq!(read("labelme/a.png.json")["image"]["file"], "col/labelme/a.png");
    assert_eq!(read("annotations.coco.json")["images"].as_array().expect("a list").len(), 3);
}

#[test]
fn yolo_classes_keep_their_numbers() {
    let folder = photos("yolo");
    let run = |picture: &str, prompts: &[&str]| {
        let line =
            [&[picture, "--format", "yolo", "--out-dir", "out", "--level", "concept"], prompts].concat();
        let run = segment(&folder, &line);
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    let out = |file: &str| fs::read_to_string(folder.path().join("out/yolo").join(file)).expect("written");
    run("photos/f10.png", &["-p", "dog"]);
    let first = out("labels/f10.txt");
    assert!(first.starts_with("0 "), "{first}");
    run("photos/f9.PNG", &["-p", "red apple", "-p", "dog"]);
    assert_eq!(out("classes.txt"), "dog\nred apple\n");
    assert!(out("data.yaml").ends_with("  0: \"dog\"\n  1: \"red apple\"\n"));
    assert_eq!(out("labels/f10.txt"), first);
    let second = out("labels/f9.txt");
    assert!(!second.is_empty() && second.lines().all(|line| line.starts_with("1 ")), "{second}");
}

#[test]
fn a_pattern_does_not_find_the_results_of_an_earlier_run() {
    let folder = photos("pattern");
    let line = ["photos/**/*.png", "-p", "dog", "--out-dir", "photos/out"];
    let first = segment(&folder, &line);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let files = folder.files("photos/out");
    assert!(files.iter().any(|file| file.ends_with(".png")), "{files:?}");
    let again = segment(&folder, &line);
    assert_eq!((again.code, folder.files("photos/out")), (0, files), "{}", again.stderr);
    // A pattern that names the directory means what is in it.
    let named = segment(&folder, &["photos/out/*.overlay.png", "-p", "dog", "--json"]);
    assert_eq!(reports(&named).len(), 2, "{}", named.stdout);
    let into_it =
        segment(&folder, &["photos/out/*.overlay.png", "-p", "dog", "--out-dir", "photos/out", "--json"]);
    assert_eq!(reports(&into_it).len(), 2, "{}", into_it.stdout);
}

#[test]
fn no_bar_without_a_terminal() {
    let folder = photos("bar");
    let run = sam3i(folder.path(), &["segment", "photos", "-p", "dog"]);
    assert!(run.code == 0 && !run.stderr.contains(['\r', '\x1b']), "{}", run.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_its_like_end_with_whole_files_and_130() {
    for signal in ["INT", "TERM", "HUP"] {
        if signal == "HUP" && hangups_are_ignored() {
            eprintln!("SKIPPED: the tests run under nohup, so that sam3i rightly passes SIGHUP over");
            continue;
        }
        interrupted_by(signal);
    }
}

/// Whether whoever started the tests had SIGHUP ignored, which processes inherit; told by Linux only.
#[cfg(unix)]
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[cfg(unix)]
fn interrupted_by(signal: &str) {
    let folder = TempFolder::new(&format!("batch-interrupt-{signal}"));
    let line =
        ["segment", "-", "-p", "dog", "--json", "--out-dir", "out", "--format", "json,masks,coco", "--quiet"];
    let mut command = command(folder.path(), &line);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let scene = fs::read(example("dogs.png")).expect("a scene");
    // Three pictures, and a fourth that never ends: the run waits for it when it is interrupted.
    stdin.write_all(&[&scene[..], &scene, &scene, &scene[..100]].concat()).expect("written");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut reports = String::new();
    for _ in 0..3 {
        stdout.read_line(&mut reports).expect("a report");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill runs").success());
    let run = finished(child.wait_with_output().expect("it ends though the pipe is open"));
    drop(stdin);
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert_eq!(reports.lines().map(json).count(), 3);
    let files = folder.files("out");
    assert!(files.iter().all(|file| !file.contains("tmp")), "{files:?}");
    assert_eq!(files.iter().filter(|file| file.ends_with("json")).count(), 4);
    let set = json(&fs::read_to_string(folder.path().join("out/annotations.coco.json")).expect("a data set"));
    assert_eq!(set["images"].as_array().expect("a list").len(), 3, "what was done is there");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_within_a_picture() {
    let folder = photos("within");
    // The reference's plain loops take seconds for a picture.
    let line = ["segment", "photos/f10.png", "-p", "dog", "--json", "--device", "reference"];
    let mut command = command(folder.path(), &line);
    command.env("RUST_LOG", "sam3i::op=trace");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut told = String::new();
    while !told.contains("vit.block.0") {
        assert!(stderr.read_line(&mut told).expect("a line") > 0, "{told}");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    std::io::Read::read_to_string(&mut stderr, &mut told).expect("read");
    let run = finished(child.wait_with_output().expect("it ends"));
    assert_eq!((run.code, run.stdout.as_str()), (130, ""), "{told}");
    assert!(told.contains("interrupted") && !told.contains("fpn"), "the trunk was not gone through: {told}");
}

#[cfg(unix)]
#[test]
fn stderr_that_is_full_or_closed_ends_no_run() {
    let folder = photos("stderr");
    let run = |line: &str| {
        let script = format!("'{}' {line}", sam3i_tests::command::binary().display());
        let run =
            Command::new("bash").args(["-o", "pipefail", "-c", &script]).current_dir(folder.path()).output();
        run.expect("bash runs")
    };
    for more in ["--profile -q", "-v", "-vvv"] {
        let line = format!("segment photos -p dog --json {more}");
        if std::path::Path::new("/dev/full").exists() {
            let full = run(&format!("{line} 2>/dev/full"));
            assert_eq!(
                (full.status.code(), full.stdout.iter().filter(|&&b| b == b'\n').count()),
                (Some(0), 3),
                "{more}"
            );
        }
        let closed = run(&format!("{line} 2>&1 >/dev/null | true"));
        assert_eq!(closed.status.code(), Some(0), "{more}");
    }
    for line in ["segment", "eval --gt no.json --pred no.json --mode 1to1"] {
        assert_eq!(run(&format!("{line} 2>/dev/full")).status.code(), Some(2), "{line}");
    }
}

/// Four scenes side by side.
fn mosaic(folder: &TempFolder) -> Vec<image::RgbImage> {
    let scenes = ["dogs.png", "fruit.png", "sky.png", "dogs.png"];
    let scenes: Vec<_> = scenes.map(|name| image::open(example(name)).expect("a scene").into_rgb8()).into();
    let mut all = image::RgbImage::new(640, 640);
    for (i, scene) in scenes.iter().enumerate() {
        image::imageops::replace(&mut all, scene, 320 * (i as i64 % 2), 320 * (i as i64 / 2));
    }
    all.save(folder.path().join("all.png")).expect("saved");
    scenes
}

#[test]
fn tiles_find_what_each_shows() {
    let folder = TempFolder::new("batch-tiles");
    let scenes = mosaic(&folder);
    let ask = |picture: &str, more: &[&str]| {
        reports(&segment(&folder, &[&[picture, "-p", "dog", "--json"], more].concat())).remove(0)
    };
    let tiled = ask("all.png", &["--tile", "320", "--overlap", "0"]);
    assert_eq!(tiled["image"]["tiles"], json(r#"{"side":320,"overlap":0,"count":4}"#));
    let mut expected = 0.0;
    for (i, scene) in scenes.iter().enumerate() {
        let name = format!("{i}.png");
        scene.save(folder.path().join(&name)).expect("saved");
        let alone = ask(&name, &[]);
        assert!(alone["image"].get("tiles").is_none());
        let areas = alone["prompts"][0]["instances"].as_array().expect("a list").iter();
        expected += areas.map(|instance| instance["area"].as_f64().expect("an area")).sum::<f64>();
    }
    let instances = tiled["prompts"][0]["instances"].as_array().expect("a list");
    let area: f64 = instances.iter().map(|instance| instance["area"].as_f64().expect("an area")).sum();
    assert!(expected > 1000.0);
    assert_eq!(area, expected, "without overlap nothing is joined");
    assert!(instances.iter().all(|instance| instance["rle"]["size"] == json("[640,640]")));
    let one_tile = ask("0.png", &["--tile", "1000"]);
    assert_eq!(one_tile["prompts"], ask("0.png", &[])["prompts"], "a small picture is one tile");

    for (line, words) in [
        (&["--tile", "0"][..], "at least 64"),
        (&["--tile", "63"], "at least 64"),
        (&["--tile", "100", "--overlap", "51"], "at most half of it"),
        (&["--tile", "100", "--box", "1,2,30,40"], "example boxes"),
        (&["--tile", "100", "--format", "npz"], "no logits"),
        (&["--overlap", "10"], "--tile"),
    ] {
        let run = segment(&folder, &[&["all.png", "-p", "dog", "--out-dir", "out"], line].concat());
        assert!(run.code == 2 && run.stderr.contains(words), "{line:?}: {}", run.stderr);
    }
    assert_eq!(folder.files("out"), [""; 0]);
}

/// The masks of a report's only prompt.
fn masks(report: &Value) -> Vec<Mask> {
    let instances = report["prompts"][0]["instances"].as_array().expect("a list").iter();
    let rle = |instance: &Value| serde_json::from_value::<Rle>(instance["rle"].clone()).expect("RLE");
    instances.map(|instance| rle(instance).decode().expect("a mask")).collect()
}

fn iou(a: &Mask, b: &Mask) -> f64 {
    let count = |both: fn(u8, u8) -> u8| {
        a.bits.iter().zip(&b.bits).filter(|&(&a, &b)| both(a, b) != 0).count() as f64
    };
    count(|a, b| a & b) / count(|a, b| a | b)
}

/// Bits of a dog that a tile shows the edge of are no dogs of their own.
#[test]
fn a_thing_that_seams_cut_is_found_once_and_whole() {
    let folder = TempFolder::new("batch-seams");
    let scene = image::open(example("dogs.png")).expect("a scene").into_rgb8();
    let large = image::imageops::resize(&scene, 1280, 1280, image::imageops::CatmullRom);
    large.save(folder.path().join("large.png")).expect("saved");
    let ask = |more: &[&str]| {
        let line = ["large.png", "-p", "the dogs", "--level", "concept", "--json"];
        masks(&reports(&segment(&folder, &[&line, more].concat()))[0])
    };
    let untiled = ask(&[]);
    assert_eq!(untiled.len(), 2);
    for (tile, overlap) in [("560", "200"), ("640", "128"), ("900", "450")] {
        let tiled = ask(&["--tile", tile, "--overlap", overlap, "--threshold", "0.3"]);
        assert_eq!(tiled.len(), 2, "{tile}");
        for dog in &untiled {
            let best = tiled.iter().map(|mask| iou(mask, dog)).fold(0.0, f64::max);
            assert!(best > 0.6, "{tile}: {best}");
        }
    }
}
