//! Every command in the documents, run as a reader would.
//!
//! Blocks marked `sh` are run by bash, in the order of the document, in a folder of its own that has the files the documents
//! speak of (see `workplace`). A block that begins with a line `# needs ...` needs what a test has not got; its calls of
//! `sam3i` are only parsed, and what it names of this repository has to be there.

use sam3i_tests::command::{binary, sam3i};
use sam3i_tests::goldens::{TempFolder, data};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// All documents, README first.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    let list = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of the repository");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        files.sort();
        files
    };
    found.extend(list("docs"));
    found.extend(list("examples"));
    found
}

/// A fenced block.
struct Block {
    /// `README.md:12`.
    place: String,
    /// What stands behind the opening fence.
    kind: String,
    text: String,
}

fn blocks(document: &Path) -> Vec<Block> {
    let name = document.file_name().expect("a file").to_string_lossy().into_owned();
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

    fn needs_something(&self) -> bool {
        self.text.starts_with("# needs ")
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
        let folder = workplace(&document.file_stem().expect("a name").to_string_lossy());
        for block in blocks.iter().filter(|block| !block.needs_something()) {
            bash(&folder, &block.place, &block.text);
            ran += block.commands().len();
        }
        only_parse(&folder);
        for block in blocks.iter().filter(|block| block.needs_something()) {
            check_unrun(&folder, block);
        }
    }
    assert!(ran >= 20, "only {ran} commands ran");
}

/// Parses the calls of `sam3i` and `cargo` of a block that cannot be run, and looks for the scripts it names.
fn check_unrun(folder: &TempFolder, block: &Block) {
    for command in block.commands() {
        let mut words = command.split_whitespace().skip_while(|word| word.contains('='));
        match words.next() {
            Some("sam3i" | "cargo") => bash(folder, &block.place, &command),
            Some("python" | "python3") => {
                let named = words.next().expect("a script");
                let is_there = named.starts_with('-')
                    || [folder.path(), &root()].iter().any(|base| base.join(named).exists());
                assert!(is_there, "{}: {named} is not there", block.place);
            }
            _ => {}
        }
    }
}

#[test]
fn every_block_of_commands_is_marked_as_one() {
    for block in documents().iter().flat_map(|document| blocks(document)) {
        let starts = ["sam3i ", "cargo ", "python ", "pip ", "export ", "hf ", "curl ", "git "];
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

/// Blocks of Rust that are not in the code: a change the reader is to make.
const TO_BE_WRITTEN: [&str; 1] = ["let mut sums = [0f32; LANES];"];

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

/// What docs/adding-a-kernel.md has its reader do to the softmax can be done to the one that is there.
#[test]
fn the_softmax_that_the_document_changes_is_the_one_in_the_source() {
    let of_rust = blocks(&root().join("docs/adding-a-kernel.md")).into_iter().filter(|b| b.kind == "rust");
    let changes: Vec<_> = of_rust.take(2).map(|block| block.text).collect();
    let [old, new] = &changes[..] else { panic!("the old lines and the new ones") };
    assert!(new.starts_with(TO_BE_WRITTEN[0]), "{new}");
    let source = fs::read_to_string(root().join("kernels/src/softmax/cpu.rs")).expect("the source");
    let flat: String = source.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    assert_eq!(flat.matches(old.as_str()).count(), 1, "these lines are not in the source:\n{old}");

    let changed = flat.replace(old, new);
    assert_eq!(changed.matches("sum_of").count(), 1, "nothing but its definition is left of it");
    assert!(changed.contains("#[inline(always)]\nfn sum_of("), "it can be removed as the document says");
    let (declared, used) = (changed.find("fn softmax_row("), changed.find(new.as_str()));
    assert!(
        declared < used && changed[used.expect("it is there")..].contains("for o in out {\n*o *= scale;")
    );
    assert!(changed.contains("let max = max_of(x);") && changed.contains("const LANES: usize"));
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
