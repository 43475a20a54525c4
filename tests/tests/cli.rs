//! The command line as a user runs it, on the smallest model.

use sam3i::mask::Rle;
use sam3i::{Checkpoint, Config};
use sam3i_engine::weights::FileDType;
use sam3i_tests::agreement::SMALL;
use sam3i_tests::command::{Run, sam3i};
use sam3i_tests::goldens::{TempFolder, data, goldens_dir};
use sam3i_tests::recording::Recording;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A folder with the smallest model in `model` and its picture as `m0.png`.
fn workplace(name: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("cli-{name}"));
    let model = folder.path().join("model");
    fs::create_dir(&model).expect("made");
    let copy = |from: &str, to: &Path| assert!(fs::copy(data(from), to).is_ok(), "{from} is copied");
    copy("micro.safetensors", &model.join("model.safetensors"));
    copy("micro_config.json", &model.join("config.json"));
    copy("recorded/images/m0.png", &folder.path().join("m0.png"));
    folder
}

/// `sam3i segment ... --model model` in a folder.
fn segment(folder: &TempFolder, line: &[&str]) -> Run {
    sam3i(folder.path(), &[&["segment", "--model", "model"], line].concat())
}

/// The names of the files in a directory, sorted; none if it is not there.
fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// One line each of stdout.
fn lines(run: &Run) -> Vec<Value> {
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.lines().map(json).collect()
}

/// The recorded prompts: their names, texts, levels, boxes, thresholds and how many instances were kept.
fn recorded() -> Vec<Value> {
    let manifest = fs::read_to_string(data("recorded/micro.json")).expect("a manifest");
    json(&manifest)["cases"].as_array().expect("cases").clone()
}

/// The options that ask what a recorded case asked of its 80 x 60 picture.
fn options(case: &Value) -> Vec<String> {
    let mut options = vec!["--threshold".to_owned(), case["threshold"].to_string()];
    let level = ["concept", "simple", "complex"][case["text_type"].as_u64().expect("1 to 3") as usize - 1];
    if let Some(text) = case["text"].as_str() {
        options.extend(["--level", level, "-p", text].map(str::to_owned));
    }
    let boxes = case["boxes_cxcywh"].as_array().expect("boxes").iter();
    for (sides, positive) in boxes.zip(case["box_labels"].as_array().expect("labels")) {
        let side = |i: usize| sides[i].as_f64().expect("a number");
        let [(x0, x1), (y0, y1)] = [(0, 80.0), (1, 60.0)]
            .map(|(i, size)| ((side(i) - side(i + 2) / 2.0) * size, (side(i) + side(i + 2) / 2.0) * size));
        let name = if positive == true { "--box" } else { "--neg-box" };
        options.extend([name.to_owned(), format!("{x0:.3},{y0:.3},{x1:.3},{y1:.3}")]);
    }
    options
}

#[test]
fn every_recorded_prompt_finds_as_many_as_the_published_model() {
    let folder = workplace("recorded");
    for case in recorded() {
        let options = options(&case);
        let mut line: Vec<&str> = options.iter().map(String::as_str).collect();
        line.extend(["m0.png", "--json"]);
        let run = segment(&folder, &line);
        let [report] = &lines(&run)[..] else { panic!("one line: {}", run.stdout) };
        let prompt = &report["prompts"][0];
        let instances = prompt["instances"].as_array().expect("a list");
        assert_eq!(instances.len() as u64, case["kept"].as_u64().expect("a count"), "{case}");
        assert_eq!(prompt["text"], case["text"]);
        assert_eq!(prompt["truncated"], false);
        let scores: Vec<f64> = instances.iter().map(|i| i["score"].as_f64().expect("a score")).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }
    assert_eq!(files(folder.path()), ["m0.png", "model"], "--json alone writes no files");
}

#[test]
fn files_agree_with_the_report() {
    let folder = workplace("files");
    let run = segment(
        &folder,
        &[
            "m0.png",
            "-p",
            "person",
            "-p",
            "the person with the red hat",
            "--threshold",
            "0.1",
            "--out-dir",
            "out/deep",
            "--json",
        ],
    );
    let out = folder.path().join("out/deep");
    let [report] = &lines(&run)[..] else { panic!("one line: {}", run.stdout) };
    let written = json(&fs::read_to_string(out.join("m0.json")).expect("the report"));
    assert_eq!(&written, report);
    assert_eq!(
        (&report["schema"], &report["image"]["width"], &report["model"]["params"]),
        (&1.into(), &80.into(), &649_906.into())
    );
    let mut expected = vec!["m0.json".to_owned(), "m0.overlay.png".to_owned()];
    for prompt in report["prompts"].as_array().expect("prompts") {
        for instance in prompt["instances"].as_array().expect("instances") {
            let name = format!("m0.p{}.{}.png", prompt["index"], instance["id"]);
            let pixels = image::open(out.join(&name)).expect("a mask").into_luma8();
            let rle: Rle = serde_json::from_value(instance["rle"].clone()).expect("RLE");
            let mask = rle.decode().expect("a mask");
            assert_eq!((mask.width, mask.height), (80, 60));
            assert_eq!(mask.area() as u64, instance["area"].as_u64().expect("an area"));
            let set: Vec<u8> = mask.bits.iter().map(|&bit| 255 * bit).collect();
            assert_eq!(pixels.into_raw(), set, "{name}");
            expected.push(name);
        }
    }
    expected.sort();
    assert!(expected.len() > 3, "something was found");
    assert_eq!(files(&out), expected);
    let overlay = image::open(out.join("m0.overlay.png")).expect("an overlay");
    assert_eq!((overlay.width(), overlay.height()), (80, 60));
}

#[test]
fn without_json_files_go_to_sam3i_out_and_nothing_to_stdout() {
    let folder = workplace("default");
    let run = segment(&folder, &["m0.png", "-p", "person", "--level", "concept", "--format", "json,overlay"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    assert_eq!(files(&folder.path().join("sam3i-out")), ["m0.json", "m0.overlay.png"]);
    assert!(run.stderr.contains("m0.png: \"person\" (concept): 3 found, best"), "{}", run.stderr);
    assert!(run.stderr.starts_with("device: cpu"), "{}", run.stderr);
    let quiet = segment(&folder, &["m0.png", "-p", "person", "--quiet"]);
    assert_eq!((quiet.code, quiet.stderr.as_str(), quiet.stdout.as_str()), (0, "", ""));
    let verbose = segment(&folder, &["m0.png", "-p", "person", "-v"]);
    assert!(verbose.stderr.contains("grounding  linear") && verbose.stderr.contains("GFLOP/s"));
}

#[test]
fn options_choose_among_the_found() {
    let folder = workplace("options");
    let areas = |options: &[&str]| -> Vec<u64> {
        let line = [&["m0.png", "-p", "person", "--level", "concept", "--json"], options].concat();
        let report = lines(&segment(&folder, &line)).remove(0);
        let instances = report["prompts"][0]["instances"].as_array().expect("a list").clone();
        instances.iter().map(|instance| instance["area"].as_u64().expect("an area")).collect()
    };
    let all = areas(&["--threshold", "0"]);
    assert_eq!(all.len(), 8);
    assert_eq!(areas(&["--threshold", "0", "--top-k", "2"]), all[..2]);
    assert_eq!(areas(&["--threshold", "1"]), [0; 0]);
    let largest = *all.iter().max().expect("eight");
    assert_eq!(areas(&["--threshold", "0", "--min-area", &largest.to_string()]), [largest]);
    assert!(areas(&["--threshold", "0", "--mask-threshold", "1"]).iter().all(|&area| area == 0));
    for same in [&["--device", "reference"][..], &["--threads", "1", "--device", "cpu", "--dtype", "f32"]] {
        assert_eq!(areas(same), areas(&[]), "{same:?}");
    }
}

#[test]
fn a_bad_file_does_not_stop_the_others() {
    let folder = workplace("batch");
    fs::copy(folder.path().join("m0.png"), folder.path().join("m1.png")).expect("copied");
    folder.write("bad.png", b"no picture");
    let run =
        segment(&folder, &["m0.png", "bad.png", "m1.png", "-p", "person", "--out-dir", "out", "--json"]);
    assert_eq!(run.code, 2);
    let named: Vec<_> = run.stdout.lines().map(|line| json(line)["image"]["file"].clone()).collect();
    assert_eq!(named, ["m0.png", "m1.png"]);
    assert!(
        run.stderr.contains("sam3i: bad.png: not a png, jpeg, webp, bmp or tiff picture"),
        "{}",
        run.stderr
    );
    let out = files(&folder.path().join("out"));
    assert!(out.contains(&"m1.overlay.png".to_owned()) && !out.iter().any(|name| name.starts_with("bad")));
}

#[test]
fn nothing_found_is_exit_1_only_if_asked() {
    let folder = workplace("empty");
    let line = ["m0.png", "-p", "person", "--threshold", "1", "--json"];
    let report = lines(&segment(&folder, &line)).remove(0);
    assert_eq!(report["prompts"][0]["instances"], json("[]"));
    assert_eq!(segment(&folder, &[&line[..], &["--fail-empty"]].concat()).code, 1);
    assert_eq!(segment(&folder, &["m0.png", "-p", "person", "--fail-empty", "--level", "concept"]).code, 0);
    assert_eq!(segment(&folder, &[&line[..], &["--fail-empty", "missing.png"]].concat()).code, 2);
}

#[test]
fn a_picture_of_one_pixel_is_a_picture() {
    let folder = workplace("pixel");
    image::RgbImage::from_pixel(1, 1, image::Rgb([9, 99, 200]))
        .save(folder.path().join("1.png"))
        .expect("saved");
    let run = segment(&folder, &["1.png", "-p", "person", "--threshold", "0", "--out-dir", "out", "--json"]);
    assert_eq!(lines(&run)[0]["prompts"][0]["instances"].as_array().expect("a list").len(), 8);
    assert_eq!(files(&folder.path().join("out")).len(), 10);
}

#[test]
fn what_is_not_done_as_asked_is_told() {
    let folder = workplace("warnings");
    let long = "the red hat ".repeat(20);
    let run = segment(&folder, &["m0.png", "-p", &long, "--json", "--quiet"]);
    let prompt = &lines(&run)[0]["prompts"][0];
    assert_eq!((&prompt["tokens"], &prompt["truncated"]), (&62.into(), &true.into()));
    assert!(run.stderr.contains("has 62 tokens; the model reads 32 and ignores its end"), "{}", run.stderr);
    let strict = segment(&folder, &["m0.png", "-p", &long, "--json", "--strict-prompt"]);
    assert!(strict.code == 2 && strict.stderr.contains("--strict-prompt"), "{}", strict.stderr);

    let base = data("micro_base.pt");
    fs::copy(data("micro_config.json"), folder.path().join("config.json")).expect("copied");
    fs::copy(base, folder.path().join("base.pt")).expect("copied");
    let base =
        |level| ["segment", "m0.png", "-p", "person", "--level", level, "--json", "--model", "base.pt"];
    let simple = sam3i(folder.path(), &base("simple"));
    assert_eq!(simple.code, 0, "{}", simple.stderr);
    assert!(simple.stderr.contains("the level simple runs as concept"), "{}", simple.stderr);
    assert!(!sam3i(folder.path(), &base("concept")).stderr.contains("warning"));

    let cmyk = data("pictures/cmyk.jpg");
    let run = segment(&folder, &[cmyk.to_str().expect("UTF-8"), "-p", "person", "--json"]);
    assert!(run.stderr.contains("CMYK converted"), "{}", run.stderr);
}

/// A command line that must fail, and words its message must have.
struct Bad(&'static [&'static str], &'static str);

const BAD_INPUT: &[Bad] = &[
    Bad(&["missing.png", "-p", "x"], "missing.png: No such file"),
    Bad(&["model", "-p", "x"], "model: no pictures in this directory"),
    Bad(&["no-*.png", "-p", "x"], "no file matches this pattern"),
    Bad(&["@no.txt", "-p", "x"], "the list of pictures cannot be read"),
    Bad(&["m0.png", "--prompts", "no.txt"], "no.txt: No such file"),
    Bad(&["m0.png", "-p", "x", "--tolerance=-1"], "a number of pixels from 0"),
    Bad(&["text.png", "-p", "x"], "not a png, jpeg, webp, bmp or tiff picture"),
    Bad(&["cut.png", "-p", "x"], "damaged or cut off"),
    Bad(&["empty.png", "-p", "x"], "empty"),
    Bad(&["m0.png", "-p", ""], "the prompt is empty"),
    Bad(&["m0.png", "-p", " \u{200b} "], "the prompt is empty"),
    Bad(&["m0.png"], "nothing to look for"),
    Bad(&["m0.png", "-p", "x", "--box", "1,2,3"], "left,top,right,bottom"),
    Bad(&["m0.png", "-p", "x", "--box", "30,20,10,40"], "the box is empty"),
    Bad(&["m0.png", "-p", "x", "--box", "NaN,20,10,40"], "left,top,right,bottom"),
    Bad(&["m0.png", "-p", "x", "--box", "500,500,600,600"], "lies outside the picture"),
    Bad(&["m0.png", "-p", "x", "--box", "1,2,1e30,1e30"], "no ordinary number"),
    Bad(&["m0.png", "-p", "x", "--level", "hard"], "concept, simple, complex"),
    Bad(&["m0.png", "-p", "x", "-p", "y", "--level", "complex"], "put it before"),
    Bad(&["m0.png", "-p", "x", "--threshold", "1.5"], "a number from 0 to 1"),
    Bad(&["m0.png", "-p", "x", "--mask-threshold", "NaN"], "a number from 0 to 1"),
    Bad(&["m0.png", "-p", "x", "--top-k", "0"], "--top-k"),
    Bad(&["m0.png", "-p", "x", "--threads", "0"], "--threads"),
    Bad(&["m0.png", "-p", "x", "--device", "gpu:999"], "does not have GPU 999"),
    Bad(&["m0.png", "-p", "x", "--device", "gpu", "--dtype", "bf16"], "f32 or f16"),
    Bad(&["m0.png", "-p", "x", "--device", "tpu"], "the devices are auto, cpu"),
    Bad(&["m0.png", "-p", "x", "--dtype", "f16"], "f32, bf16 or int8"),
    Bad(&["m0.png", "-p", "x", "--dtype", "int8", "--device", "reference"], "computes in f32 only"),
    Bad(&["m0.png", "-p", "x", "--format", "pdf"], "overlay, masks, labels"),
    Bad(&["m0.png", "-p", "x", "--model", "nowhere"], "nowhere: no model here"),
    Bad(&["m0.png", "-p", "x", "--model", "nowhere"], "hf download facebook/sam3 --local-dir sam3"),
    Bad(
        &["m0.png", "-p", "x", "--model", "facebook/sam33"],
        "has no model of this name. To download it:\n  hf download facebook/sam33",
    ),
    Bad(&["m0.png", "-p", "x", "--model", "hollow"], "no model here: looked for model.safetensors"),
    Bad(&["m0.png", "-p", "x", "--model", "text.png"], "text"),
    Bad(&["m0.png", "-p", "x", "--model", "nan"], "the file is damaged or its training diverged"),
    Bad(&["m0.png", "-p", "x", "--out-dir", "text.png/out"], "name another one with --out-dir"),
    Bad(&["m0.png", "-p", "x", "--out-dir", "text.png"], "name another one with --out-dir"),
    Bad(&["--model", "model", "-p", "x"], "<INPUT>"),
];

#[test]
fn bad_input_is_one_message_and_exit_2() {
    let folder = workplace("bad");
    bad_files(&folder);
    for Bad(line, words) in BAD_INPUT {
        let named = line.contains(&"--model");
        let named_dir = line.contains(&"--out-dir");
        let model: &[&str] = if named { &[] } else { &["--model", "model"] };
        let out: &[&str] = if named_dir { &[] } else { &["--out-dir", "out"] };
        let run = sam3i(folder.path(), &[&["segment", "--quiet"], *line, model, out].concat());
        assert_eq!(run.code, 2, "{line:?}: {}", run.stderr);
        assert!(run.stderr.starts_with("sam3i: ") && run.stderr.contains(words), "{line:?}: {}", run.stderr);
        assert!(!run.stderr.contains("panicked") && run.stdout.is_empty(), "{line:?}: {}", run.stderr);
        assert_eq!(files(&folder.path().join("out")), [""; 0], "{line:?}");
    }
}

#[test]
fn without_a_model_nano_answers_and_says_what_it_knows() {
    let folder = workplace("nano");
    let segment = |line: &[&str]| {
        let run = sam3i(folder.path(), &[&["segment", "m0.png", "-p", "cat", "--json"], line].concat());
        let mut reports = lines(&run);
        assert_eq!(reports.len(), 1);
        (reports.remove(0), run.stderr)
    };
    let (report, said) = segment(&[]);
    assert_eq!(report["model"]["name"], "nano");
    assert_eq!(said.matches("model: nano, built in: it knows drawn scenes").count(), 1, "{said}");
    assert_eq!(segment(&["--quiet"]).1, "");
    assert!(segment(&["--model", "nano"]).1.contains("model: nano, built in"));
    assert!(!segment(&["--model", "model"]).1.contains("nano"));

    let inspected = json(&sam3i(folder.path(), &["inspect", "nano", "--json"]).stdout);
    assert_eq!((&inspected["file"], &inspected["complete"]), (&"nano".into(), &true.into()));
    let converted = sam3i(folder.path(), &["convert", "nano", "-o", "nano.safetensors", "--dtype", "f16"]);
    assert_eq!(converted.code, 0, "{}", converted.stderr);
    let (from_file, said) = segment(&["--model", "nano.safetensors"]);
    assert_eq!((&from_file["prompts"], &from_file["model"]), (&report["prompts"], &report["model"]));
    assert!(!said.contains("built in"), "{said}");
    let sized = sam3i(folder.path(), &["convert", "nano", "-o", "x", "--config", "model/config.json"]);
    assert!(sized.code == 2 && sized.stderr.contains("nano brings its own sizes"), "{}", sized.stderr);
    let missing = sam3i(folder.path(), &["segment", "m0.png", "-p", "cat", "--model", "./nano"]);
    assert!(missing.code == 2 && missing.stderr.contains("no model here"), "{}", missing.stderr);
}

/// Files that are not what their names say, and models that are none.
fn bad_files(folder: &TempFolder) {
    folder.write("text.png", b"dear diary");
    folder.write("empty.png", b"");
    let whole = fs::read(folder.path().join("m0.png")).expect("the picture");
    folder.write("cut.png", &whole[..whole.len() / 2]);
    for model in ["hollow", "nan"] {
        fs::create_dir(folder.path().join(model)).expect("made");
    }
    fs::copy(data("micro_config.json"), folder.path().join("nan/config.json")).expect("copied");
    let mut weights = fs::read(data("micro.safetensors")).expect("the weights");
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().expect("eight")) as usize;
    let names = json(std::str::from_utf8(&weights[8..header]).expect("UTF-8"));
    let place = &names["backbone.vision_backbone.trunk.pos_embed"]["data_offsets"][0];
    let at = header + place.as_u64().expect("an offset") as usize;
    weights[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("nan/model.safetensors", &weights);
}

#[test]
fn a_picture_is_never_written_over() {
    let folder = workplace("over");
    let picture = fs::read(folder.path().join("m0.png")).expect("the picture");
    folder.write("m0.overlay.png", &picture);
    let run = segment(&folder, &["m0.png", "m0.overlay.png", "-p", "person", "--out-dir", "."]);
    assert!(run.code == 2 && run.stderr.contains("is one of the pictures"), "{}", run.stderr);
    assert_eq!(fs::read(folder.path().join("m0.overlay.png")).expect("still there"), picture);
}

#[test]
fn devices_bench_and_completions_answer() {
    let folder = workplace("verbs");
    let devices = json(&sam3i(folder.path(), &["devices", "--json"]).stdout);
    let names: Vec<_> = devices["devices"].as_array().expect("a list").iter().map(|d| &d["name"]).collect();
    let gpus = names[2..].iter().enumerate().all(|(i, name)| **name == format!("gpu:{i}").as_str());
    assert!(names[..2] == ["cpu", "reference"] && (gpus || names[2..] == ["gpu"]), "{names:?}");

    let config = folder.path().join("model/config.json");
    let config = config.to_str().expect("UTF-8");
    for model in [["--model", "model"], ["--config", config]] {
        let run = sam3i(folder.path(), &[&["bench", "--runs", "1", "--json"], &model[..]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let report = json(&run.stdout);
        let stages: Vec<_> =
            report["stages"].as_array().expect("stages").iter().map(|s| &s["stage"]).collect();
        for stage in ["load", "preprocess", "image", "text simple", "grounding simple", "masks simple"] {
            assert!(stages.contains(&&Value::from(stage)), "{stage}: {stages:?}");
        }
        assert!(report["memory"]["tensors_peak_bytes"].as_u64().expect("bytes") > 100_000);
        assert!(report["ops"].as_array().expect("ops").len() > 10);
    }
    let both = sam3i(folder.path(), &["bench", "--model", "model", "--config", config]);
    assert!(both.code == 2 && both.stderr.contains("cannot be used with"), "{}", both.stderr);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = sam3i(folder.path(), &["completions", shell]);
        assert!(run.code == 0 && run.stdout.contains("neg-box"), "{shell}: {}", run.stderr);
    }
}

/// Set `SAM3I_BLESS` to write the page anew after a change that is meant.
/// The help of a command and of all below it, as the help itself names them.
fn collect_help(folder: &TempFolder, command: &[&str], pages: &mut Vec<String>) {
    let help = sam3i(folder.path(), &[command, &["--help"]].concat()).stdout;
    pages.push(help.clone());
    for below in commands_of(&help) {
        collect_help(folder, &[command, &[below]].concat(), pages);
    }
}

/// What stands under `Commands:` of a help.
fn commands_of(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Two spaces before a name; more before what continues a line.
    let names =
        listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

/// A line of a manual page without roff's escapes.
fn unescaped(line: &str) -> String {
    line.replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\(aq", "'")
        .replace("\\&", "")
        .replace("\\\\", "\\")
}

#[test]
fn every_command_has_a_manual_page_whose_examples_can_be_copied() {
    fn check(folder: &TempFolder, command: &[&str], program: &str) -> usize {
        let help = sam3i(folder.path(), &[command, &["--help"]].concat()).stdout;
        let name = [&["sam3i"], command].concat().join("-");
        let page = fs::read_to_string(folder.path().join(format!("man/{name}.1"))).expect(&name);
        let title = page.lines().find(|line| line.starts_with(".TH ")).expect("a title");
        let footer = format!("\"{program}\" \"sam3i manual\"");
        assert!(
            title.starts_with(&format!(".TH {name} 1 ")) && unescaped(title).ends_with(&footer),
            "{title}"
        );
        let lines = |words: &str| page.lines().filter(|line| *line == words).count();
        assert!(!page.contains(".SH EXTRA") && lines(".nf") == lines(".fi"), "{page}");

        let verbatim: Vec<String> = page
            .lines()
            .skip_while(|line| *line != ".nf")
            .skip(1)
            .take_while(|line| *line != ".fi")
            .map(unescaped)
            .collect();
        let examples = help.lines().skip_while(|line| *line != "Examples:").skip(1);
        let examples: Vec<&str> =
            examples.take_while(|line| line.starts_with("  ")).map(|line| &line[2..]).collect();
        assert_eq!(verbatim, examples, "{name}");
        // A shell takes what is behind a command for a remark, not for more arguments.
        assert!(!examples.iter().any(|line| line.contains("   (")), "{examples:?}");
        examples.len()
            + commands_of(&help)
                .iter()
                .map(|below| check(folder, &[command, &[below]].concat(), program))
                .sum::<usize>()
    }
    let folder = TempFolder::new("cli-man");
    let run = sam3i(folder.path(), &["man", "--dir", "man"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let program = sam3i(folder.path(), &["--version"]).stdout;
    assert!(check(&folder, &[], program.trim()) >= 25, "as many examples");
    let first = sam3i(folder.path(), &["man"]).stdout;
    assert_eq!(first, fs::read_to_string(folder.path().join("man/sam3i.1")).expect("the first page"));
}

#[test]
fn help_is_as_recorded() {
    let folder = TempFolder::new("cli-help");
    let mut pages = Vec::new();
    collect_help(&folder, &[], &mut pages);
    assert!(pages.len() >= 22, "only {} commands are found", pages.len());
    let page = pages.join("\n----------\n\n");
    let recorded = data("help.txt");
    if std::env::var_os("SAM3I_BLESS").is_some() {
        fs::write(&recorded, &page).expect("written");
    }
    let expected = fs::read_to_string(&recorded).unwrap_or_default();
    assert!(page == expected, "the help changed; if it was meant to, run this with SAM3I_BLESS=1:\n{page}");
    let version = sam3i(folder.path(), &["--version"]).stdout;
    assert!(version.starts_with("sam3i 0."), "{version}");
}

/// The masks that `sam3i segment` finds, as bits.
fn masks(folder: &TempFolder, line: &[&str]) -> Vec<Vec<u8>> {
    let run = sam3i(folder.path(), &[&["segment", "--json"], line].concat());
    assert_eq!(run.code, 0, "{line:?}: {}", run.stderr);
    let found = lines(&run)[0]["prompts"][0]["instances"].as_array().expect("a list").clone();
    let bits = |found: &Value| {
        let rle: Rle = serde_json::from_value(found["rle"].clone()).expect("a run-length code");
        rle.decode().expect("a mask").bits
    };
    found.iter().map(bits).collect()
}

/// The GPU finds as many as the CPU in f32, with masks of the same pixels but for 0.1 % of them; with f16 weights, but for as many as that
/// rounding may change in a model of these sizes.
fn agrees(folder: &TempFolder, line: &[&str], config: &Config) {
    let on = |device: [&str; 4]| masks(folder, &[line, &device].concat());
    let cpu = on(["--device", "cpu", "--dtype", "f32"]);
    for (dtype, bits) in [("f32", 1e-3), ("f16", SMALL.in_f16(config).bits)] {
        let gpu = on(["--device", "gpu", "--dtype", dtype]);
        assert_eq!(cpu.len(), gpu.len(), "{line:?} in {dtype}");
        let pairs: Vec<_> = cpu.concat().into_iter().zip(gpu.concat()).collect();
        let differ = pairs.iter().filter(|(a, b)| a != b).count();
        let told = format!("{line:?} in {dtype}: {differ} of {} pixels differ", pairs.len());
        if std::env::var_os("SAM3I_SHOW_PARITY").is_some() {
            println!("{told}");
        }
        assert!(differ as f64 <= bits * pairs.len() as f64, "{told}");
    }
}

#[test]
fn the_gpu_says_what_the_cpu_says() {
    if sam3i_tests::gpu::devices().is_empty() {
        return;
    }
    let folder = workplace("gpu");
    let config = Config::read(&data("micro_config.json")).expect("sizes");
    for case in recorded() {
        let options = options(&case);
        let mut line: Vec<&str> = options.iter().map(String::as_str).collect();
        line.extend(["m0.png", "--model", "model"]);
        agrees(&folder, &line, &config);
    }
    let party = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/party.png");
    agrees(&folder, &[party, "-p", "person"], Checkpoint::nano().expect("nano").config());
}

#[test]
fn the_gpu_says_what_the_cpu_says_with_larger_models() {
    let Some(goldens) = goldens_dir().filter(|_| !sam3i_tests::gpu::devices().is_empty()) else { return };
    for name in ["tiny_a", "tiny_b"] {
        let folder = workplace(name);
        let recording = Recording::read(&goldens, name);
        let model = folder.path().join(name);
        sam3i::synth::write_model(&recording.config(), &model, FileDType::F32).expect("written");
        let case = recording.manifest.cases.iter().find(|case| case.text.is_some()).expect("a sentence");
        let image =
            recording.manifest.images.iter().find(|image| image.id == case.image).expect("its picture");
        let (picture, threshold) = (goldens.join(&image.file), case.threshold.to_string());
        let level = ["concept", "simple", "complex"][case.text_type - 1];
        let text = case.text.as_deref().expect("a sentence");
        let picture = picture.to_str().expect("a plain path");
        let line = [picture, "--model", name, "-p", text, "--level", level, "--threshold", &threshold];
        agrees(&folder, &line, &recording.config());
    }
}
