//! Every command in the documents, run as a reader would.
//!
//! Blocks marked `sh` are run by bash, in the order of the document, in a folder of its own that has the files the documents
//! speak of (see `workplace`). A block that begins with a line `# needs ...` needs what not every machine has. Either the machine is asked
//! for it ([`PROGRAMS`]), or the block is in [`UNRUN`] with the reason; then its calls of `sam3i` are only parsed, and what it names of
//! this repository has to be there.

use sam3i_tests::command::{binary, sam3i};
use sam3i_tests::goldens::{TempFolder, data};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// All documents of the repository, wherever they are.
fn documents() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let entry = entry.expect("an entry");
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_folder = entry.file_type().expect("a type").is_dir();
            if is_folder && !name.starts_with('.') && !["target", "out"].contains(&name.as_str()) {
                collect(&path, found);
            } else if !is_folder && name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort();
    found
}

/// Blocks that no test runs: the document, what the block needs, its number of commands, and what is tested instead. Exact, so that a
/// command that is new in one of them is thought of here too.
const UNRUN: [(&str, &str, usize, &str); 20] = [
    (
        "README.md",
        "a C compiler, and a picture as PPM (`ffmpeg -i picture.png picture.ppm`)",
        3,
        "capi/tests/program.rs compiles and runs this program with the system's compiler",
    ),
    (
        "docs/adding-a-kernel.md",
        "a GPU (software such as lavapipe will do) and an editor beside it",
        3,
        "tests/kernels.rs runs all three on a text that is changed, broken and mended",
    ),
    (
        "docs/adding-a-kernel.md",
        "a GPU (software such as lavapipe will do)",
        1,
        "tests/kernels.rs reads what it lists",
    ),
    ("docs/data-sets.md", "Ray (`pip install ray`)", 1, "tests/engines.rs runs it where Ray is installed"),
    ("docs/gpu.md", "a GPU", 2, "tests/gpu.rs tunes a model; the second needs the published weights"),
    ("docs/gpu.md", "lavapipe", 1, "tests/ops.rs runs itself so, in child processes"),
    (
        "docs/gpu.md",
        "root, and Debian's package lists",
        14,
        "nothing: it installs a driver of another release",
    ),
    ("docs/gpu.md", "Debian's package lists", 3, "nothing: it fetches another driver"),
    (
        "docs/gpu.md",
        "12 GiB of memory, and an hour without a card; full.json's sizes as CONFIG.json",
        3,
        "parity.rs and gpu.rs run the same on the small models",
    ),
    ("docs/gpu.md", "a GPU in hardware", 7, "the same verbs run on a GPU in software"),
    (
        "docs/gpu.md",
        "a GPU in hardware for the second line",
        2,
        "every_step_on_a_card_is_a_command_that_there_is, below, has every step parsed",
    ),
    (
        "docs/many-pictures.md",
        "Python packages",
        2,
        "tests/exports.rs reads every format back without them; the second line runs its ignored test",
    ),
    ("docs/nano.md", "a Python with numpy", 2, "tests/nano.rs measures the same scenes in Rust"),
    (
        "docs/performance.md",
        "Python with benches/peers/requirements.txt, and a model of the published sizes in synthetic/",
        1,
        "nothing: it measures another program",
    ),
    (
        "docs/performance.md",
        "a quiet machine, Linux and Python",
        2,
        "the_measurement_of_a_batch_measures_every_thread, below, with six pictures",
    ),
    (
        "examples/README.md",
        "Python, with numpy and Pillow",
        1,
        "tests/nano.rs holds the same scenes to their scores",
    ),
    ("tools/nano/README.md", "Debian's package lists, npm and pip", 8, "nothing: it fetches the art"),
    (
        "tools/nano/README.md",
        "the environment above, and the goldens",
        4,
        "nothing: nano's own checks, in PyTorch",
    ),
    (
        "tools/nano/README.md",
        "the environment above, and days",
        7,
        "nothing: it trains; tests/nano.rs has what came of it",
    ),
    (
        "tools/nano/README.md",
        "the environment above, and checkpoints",
        6,
        "tests/nano.rs measures the same scenes in Rust",
    ),
];

/// What a block may need that a machine is asked for: the words, a program, its arguments, and what it answers if it is the right one.
const PROGRAMS: [(&str, &str, &[&str], &str); 2] = [
    ("GNU parallel", "parallel", &["--version"], "GNU parallel"),
    ("refs(unc).p, and Python", "python3", &["--version"], "Python 3"),
];

/// Whether the machine has what a block needs; a line says so if not.
fn has_what_it_needs(block: &Block) -> bool {
    let Some((words, program, arguments, answer)) =
        PROGRAMS.iter().find(|(words, ..)| Some(*words) == block.needs())
    else {
        return false;
    };
    let run = Command::new(program).args(*arguments).output();
    let there = run.is_ok_and(|run| String::from_utf8_lossy(&run.stdout).contains(answer));
    if !there {
        eprintln!("SKIPPED: {} needs {words}, which this machine has not got", block.place);
    }
    there
}

/// A document's path in the repository.
fn name_of(document: &Path) -> String {
    document.strip_prefix(root()).expect("in the repository").to_string_lossy().replace('\\', "/")
}

/// A fenced block.
struct Block {
    /// `docs/gpu.md:12`.
    place: String,
    /// What stands behind the opening fence.
    kind: String,
    text: String,
}

fn blocks(document: &Path) -> Vec<Block> {
    let name = name_of(document);
    let text = fs::read_to_string(document).expect("a document");
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(kind) => {
                let place = format!("{name}:{}", number + 1);
                blocks.push(Block { place, kind: kind.trim().to_owned(), text: String::new() });
                inside = true;
            }
            None if inside => {
                let block = blocks.last_mut().expect("one is open");
                block.text += line.trim_start();
                block.text += "\n";
            }
            None => {}
        }
    }
    assert!(!inside, "{name}: a block is not closed");
    blocks
}

impl Block {
    fn is_shell(&self) -> bool {
        self.kind == "sh"
    }

    fn needs(&self) -> Option<&str> {
        self.text.lines().next()?.strip_prefix("# needs ")
    }

    /// Its commands, continued lines joined, remarks left out.
    fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or("").trim().to_owned());
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }
}

/// A folder with the files the documents speak of, and in `bin` the commands `sam3i` and `cargo`.
fn workplace(name: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("documents-{name}"));
    let path = |file: &str| folder.path().join(file);
    for (file, target) in [
        ("examples", root().join("examples")),
        ("DIR", root().join("examples")),
        ("ANN.json", root().join("examples/scenes.json")),
        ("CONFIG.json", data("micro_config.json")),
        ("checkpoint.pt", data("micro_base.pt")),
        ("tools", root().join("tools")),
    ] {
        symlink(target, path(file)).expect("linked");
    }
    image::open(root().join("examples/party.png")).expect("a scene").save(path("photo.jpg")).expect("saved");
    // An empty list, as pickle's first protocol has it.
    folder.write("refs(unc).p", b"(lp0\n.");
    let model = sam3i(folder.path(), &["convert", "nano", "-o", "sam3i.safetensors"]);
    assert_eq!(model.code, 0, "{}", model.stderr);
    fs::create_dir(path("bin")).expect("made");
    script(&path("bin/sam3i"), &format!("exec '{}' \"$@\"", binary().display()));
    script(&path("bin/cargo"), &CARGO.replace("ROOT", &root().display().to_string()));
    folder
}

/// `cargo run` runs the binary that is there; of other calls, what they name has to exist.
const CARGO: &str = r#"
verb=$1; shift
if [ "$verb" = run ]; then
    while [ "$1" != -- ]; do shift; done
    shift; exec sam3i "$@"
fi
case $verb in test|bench|install|tree|build|doc) ;; *) echo "cargo $verb?" >&2; exit 1;; esac
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        -p) grep -qx "name = \"$2\"" ROOT/*/Cargo.toml || { echo "no package $2" >&2; exit 1; }; shift;;
        --test) ls ROOT/*/tests/"$2.rs" >/dev/null 2>&1 || { echo "no test $2" >&2; exit 1; }; shift;;
        --example) [ -f "ROOT/model/examples/$2.rs" ] || { echo "no example $2" >&2; exit 1; }; shift;;
        --path) [ -f "ROOT/$2/Cargo.toml" ] || { echo "no $2" >&2; exit 1; }; shift;;
    esac
    shift
done
"#;

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Runs a text in bash, where the first failure ends it.
fn bash(folder: &TempFolder, place: &str, text: &str) {
    let path = std::env::var("PATH").unwrap_or_default();
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "-c", text])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", folder.path().join("bin").display()))
        .env_remove("SAM3I_MODEL")
        .output()
        .expect("bash runs");
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{place} fails with {}:\n{text}\n{told}", run.status);
}

/// Makes `sam3i` in a workplace only parse its arguments: `--help` wins once all before it is understood.
fn only_parse(folder: &TempFolder) {
    let body = format!("exec '{}' \"$@\" --help > /dev/null", binary().display());
    script(&folder.path().join("bin/sam3i"), &body);
}

#[test]
fn every_command_in_the_documents_runs() {
    let mut ran = 0;
    for document in documents() {
        let blocks: Vec<_> = blocks(&document).into_iter().filter(Block::is_shell).collect();
        if blocks.is_empty() {
            continue;
        }
        let folder = workplace(&name_of(&document).replace('/', "-"));
        let (run, unrun): (Vec<_>, Vec<_>) =
            blocks.iter().partition(|block| block.needs().is_none() || has_what_it_needs(block));
        for block in run {
            bash(&folder, &block.place, &block.text);
            ran += block.commands().len();
        }
        only_parse(&folder);
        for block in unrun {
            check_unrun(&folder, &document, block);
        }
    }
    assert!(ran >= 20, "only {ran} commands ran");
}

#[test]
fn what_no_test_runs_is_listed_with_the_reason() {
    let mut unrun = Vec::new();
    for document in documents() {
        let name = name_of(&document);
        for block in blocks(&document).into_iter().filter(Block::is_shell) {
            let Some(needs) = block.needs() else { continue };
            if !PROGRAMS.iter().any(|(words, ..)| *words == needs) {
                unrun.push((name.clone(), needs.to_owned(), block.commands().len()));
            }
        }
    }
    let mut listed: Vec<_> =
        UNRUN.iter().map(|(name, needs, count, _)| (name.to_string(), needs.to_string(), *count)).collect();
    unrun.sort();
    listed.sort();
    assert_eq!(unrun, listed, "what is not run (left) is not what the list says (right)");
    assert!(UNRUN.iter().all(|(.., instead)| !instead.is_empty()));
}

/// Parses the calls of `sam3i` and `cargo` of a block that cannot be run, looks for the scripts it names, and in those for the options.
fn check_unrun(folder: &TempFolder, document: &Path, block: &Block) {
    for command in block.commands() {
        // What is between quotes is another command's.
        let unquoted: String = command.split('"').step_by(2).collect::<Vec<_>>().join("\"");
        let mut words = unquoted.split_whitespace().skip_while(|word| word.contains('='));
        match words.next() {
            Some("sam3i" | "cargo") => bash(folder, &block.place, &command),
            Some("python" | "python3") => {
                let named = words.next().expect("a script");
                if named.starts_with('-') {
                    continue; // a module, or the text itself
                }
                let bases = [folder.path(), &root(), document.parent().expect("a folder")];
                let script = bases.iter().find_map(|base| fs::read_to_string(base.join(named)).ok());
                let script = script.unwrap_or_else(|| panic!("{}: {named} is not there", block.place));
                for option in words.filter(|word| word.starts_with("--") && !script.contains("sys.argv[3:]"))
                {
                    let option = option.split('=').next().unwrap_or(option);
                    assert!(
                        script.contains(&format!("\"{option}\"")),
                        "{}: {named} has no {option}",
                        block.place
                    );
                }
            }
            _ => {}
        }
    }
}

#[test]
fn every_block_of_commands_is_marked_as_one() {
    for block in documents().iter().flat_map(|document| blocks(document)) {
        let starts = [
            "sam3i ",
            "cargo ",
            "python ",
            "python3 ",
            "pip ",
            "export ",
            "hf ",
            "curl ",
            "git ",
            "npm ",
            "mkdir ",
            "apt-get ",
            "cc ",
            "./",
            "tools/",
            "seq ",
            "parallel ",
            "ffmpeg ",
        ];
        let looks = block.commands().iter().any(|line| starts.iter().any(|start| line.starts_with(start)));
        assert!(!looks || block.is_shell(), "{}: write ```sh, so that its commands are run", block.place);
    }
}

/// What `benches/on_a_card.py` would run for whoever has a card for ten minutes is understood.
#[test]
fn every_step_on_a_card_is_a_command_that_there_is() {
    let folder = workplace("card");
    only_parse(&folder);
    let python = std::env::var_os("SAM3I_PYTHON").unwrap_or_else(|| "python3".into());
    let command = folder.path().join("bin/sam3i");
    let run = Command::new(python)
        .arg(root().join("benches/on_a_card.py"))
        .args(["--dry-run", "--model", "sam3i.safetensors", "--sam3i"])
        .arg(&command)
        .current_dir(folder.path())
        .output();
    let Ok(run) = run else {
        eprintln!("SKIPPED: there is no Python to ask benches/on_a_card.py");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let steps = String::from_utf8(run.stdout).expect("text");
    let command = command.canonicalize().expect("it is there").display().to_string();
    let (mut parsed, mut scripts) = (0, 0);
    for step in steps.lines() {
        let mut words = step.split_whitespace().skip_while(|word| word.contains('='));
        let program = words.next().expect("a program");
        if program == command || program == "cargo" {
            bash(&folder, "on_a_card.py", step);
            parsed += 1;
        } else {
            let script = words.next().expect("Python and a script");
            assert!(Path::new(script).exists(), "{step}");
            scripts += 1;
        }
    }
    assert!(parsed >= 10 && scripts >= 2, "{steps}");
}

/// Blocks of Rust that are not in the code: a change the reader is to make, tested below.
const TO_BE_WRITTEN: [&str; 2] = [
    "use crate::isa::{Arithmetic, Isa, multiversion};",
    "multiversion!(fn softmax_rows = softmax_rows_body::<A>",
];

#[test]
fn code_in_the_documents_is_taken_from_code_that_is_compiled() {
    let code: Vec<String> = [
        "model/examples/one_shot.rs",
        "tests/tests/ops.rs",
        "capi/examples/segment.c",
        "kernels/src/softmax/cpu.rs",
    ]
    .map(|file| fs::read_to_string(root().join(file)).expect("a source"))
    .into();
    let quotes = |code: &str, block: &str| {
        let mut lines = code.lines().map(str::trim);
        block.lines().map(str::trim).filter(|line| !line.is_empty()).all(|line| lines.any(|l| l == line))
    };
    for block in documents().iter().flat_map(|document| blocks(document)) {
        let is_new = TO_BE_WRITTEN.iter().any(|start| block.text.starts_with(start));
        if ["rust", "c"].contains(&block.kind.as_str()) && !is_new {
            assert!(code.iter().any(|code| quotes(code, &block.text)), "{} is in no source", block.place);
        }
    }
}

/// The softmax as docs/adding-a-kernel.md has its reader change it.
fn changed_softmax() -> String {
    let of_rust = blocks(&root().join("docs/adding-a-kernel.md")).into_iter().filter(|b| b.kind == "rust");
    let changes: Vec<_> = of_rust.take(3).map(|block| block.text).collect();
    let [old_uses, new_uses, new_code] = &changes[..] else { panic!("old lines, new ones, and the code") };
    assert!(new_uses.starts_with(TO_BE_WRITTEN[0]) && new_code.starts_with(TO_BE_WRITTEN[1]), "{new_uses}");
    let source = fs::read_to_string(root().join("kernels/src/softmax/cpu.rs")).expect("the source");
    assert_eq!(
        source.matches(old_uses.as_str()).count(),
        1,
        "these lines are not in the source:\n{old_uses}"
    );
    let source = source.replace(old_uses, new_uses);

    // From the line that begins with `multiversion!` to the end of `softmax_row`.
    let from = source.find("\nmultiversion!").expect("the line") + 1;
    let function = source.find("\nfn softmax_row(").expect("the function");
    let to = function + source[function..].find("\n}\n").expect("its end") + 3;
    let source = format!("{}{new_code}{}", &source[..from], &source[to..]);
    // The function `sum_of` at the end of the file, with the line above it.
    let from = source.find("#[inline(always)]\nfn sum_of(").expect("the function with its line");
    let source = source[..from].to_owned();
    assert!(!source.contains("sum_of"), "something still calls it:\n{source}");
    source
}

/// What docs/adding-a-kernel.md has its reader do to the softmax can be done to the one that is there, compiles, and computes the same.
#[test]
fn the_softmax_that_the_document_makes_compiles_and_is_right() {
    let folder = TempFolder::new("documents-softmax");
    folder.write("cpu.rs", changed_softmax().as_bytes());
    let kernels = root().join("kernels/src");
    let library = format!(
        r#"
        #![allow(dead_code, unused_macros, unused_imports)]
        #[path = "{kernels}/isa.rs"] mod isa;
        #[path = "{kernels}/math.rs"] mod math;
        mod parallel {{
            pub fn for_rows(out: &mut [f32], row: usize, _: usize, f: impl Fn(usize, &mut [f32])) {{
                if row > 0 {{ f(0, out) }}
            }}
        }}
        mod softmax {{
            #[path = "{folder}/cpu.rs"] pub mod cpu;
            #[path = "{kernels}/softmax/reference.rs"] pub mod reference;
        }}
        fn main() {{
            for cols in [1, 2, 15, 16, 17, 31, 32, 33, 576] {{
                let x: Vec<f32> = (0..5 * cols).map(|i| (i * 37 % 101) as f32 / 4.0 - 9.0).collect();
                for isa in isa::Isa::available() {{
                    let (mut out, mut expected) = (vec![f32::NAN; x.len()], vec![0.0; x.len()]);
                    softmax::cpu::run(isa, cols, &x, &mut out);
                    softmax::reference::run(cols, &x, &mut expected);
                    for (a, b) in out.iter().zip(&expected) {{
                        assert!((a - b).abs() <= 1e-7 + 1e-5 * b, "{{a}} for {{b}}, {{cols}} columns, {{isa}}");
                    }}
                }}
            }}
        }}
        "#,
        kernels = kernels.display(),
        folder = folder.path().display()
    );
    folder.write("main.rs", library.as_bytes());
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "-C",
            "opt-level=1",
            "-D",
            "unused_variables",
            "-o",
            "softmax",
            "main.rs",
        ])
        .current_dir(folder.path())
        .output()
        .expect("the compiler runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let run = Command::new(folder.path().join("softmax")).output().expect("it runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// What docs/performance.md has its reader run, on a few pictures.
#[cfg(target_os = "linux")]
#[test]
fn the_measurement_of_a_batch_measures_every_thread() {
    let folder = TempFolder::new("documents-batch");
    let measure = |pictures: &str| {
        Command::new("python3")
            .arg(root().join("benches/batch/measure.py"))
            .arg(binary())
            .args(["--pictures", pictures, "--threads", "2", "--runs", "1", "--json", "batch.json"])
            .current_dir(folder.path())
            .output()
    };
    let Ok(run) = measure("6") else {
        eprintln!("SKIPPED: this machine has no python3; the measurement of a batch was not tried");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).expect("UTF-8");
    for row in [
        "| wall |",
        "| utilisation: ",
        "| CPU time of each thread |",
        "| resident memory, MB,",
        "6 pictures, 2 threads",
    ] {
        assert!(text.contains(row), "{row} is not in\n{text}");
    }
    let numbers = fs::read(folder.path().join("batch.json")).expect("written");
    let numbers: serde_json::Value = serde_json::from_slice(&numbers).expect("JSON");
    let run = &numbers["runs"][0];
    let number = |key: &str| run[key].as_f64().expect("a number");
    let list = |key: &str| -> Vec<f64> {
        run[key].as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
    };
    let threads = list("threads_cpu_s");
    assert!(threads.len() >= 3, "two that compute, and the one that began: {threads:?}");
    // What a thread did between the last look and its end is not seen.
    let (seen, all) = (threads.iter().sum::<f64>(), number("cpu_s"));
    assert!(seen > 0.5 * all && seen < 1.05 * all + 0.05, "{seen} of {all}");
    let utilisation = all / (2.0 * number("wall_s"));
    assert!((number("utilisation") - utilisation).abs() < 1e-9 && utilisation <= 1.05, "{utilisation}");
    let memory = list("resident_mb");
    assert!(
        memory.len() == 10 && memory.iter().all(|&mb| mb > 1.0 && mb <= number("peak_resident_mb") + 1.0)
    );
    assert!(!measure("0").expect("it is there").status.success(), "no pictures are nothing to measure");
}

/// The examples that the help of each command ends with.
#[test]
fn examples_in_the_help_are_understood() {
    let folder = workplace("help");
    only_parse(&folder);
    let help = fs::read_to_string(data("help.txt")).expect("the recorded help");
    let mut seen = 0;
    for line in help.lines().filter(|line| line.starts_with("  sam3i ") || line.starts_with("  ffmpeg ")) {
        // What another program does with it, or gives it, is not ours.
        let ours = line.find("sam3i ").map_or("", |at| &line[at..]);
        let ours = ours.split(['|', '>']).next().unwrap_or(ours);
        bash(&folder, "the help", ours);
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} examples are seen");
}

#[test]
fn commands_in_running_text_are_understood() {
    let folder = workplace("text");
    only_parse(&folder);
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        // Every other piece between backticks is code; fences are three of them, which leaves pairs in step.
        for code in text.split('`').skip(1).step_by(2) {
            let code = code.replace('\n', " ");
            if code.starts_with("sam3i ") || code.starts_with("cargo ") {
                bash(&folder, &document.display().to_string(), &code);
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} commands are seen");
}
