//! Manual pages, completions, logging and profiles.

use sam3i_tests::command::{binary, sam3i};
use sam3i_tests::goldens::{TempFolder, data};
use std::fs;
use std::process::{Command, Stdio};

fn folder(name: &str) -> TempFolder {
    TempFolder::new(&format!("terminal-{name}"))
}

/// Runs a program on a file, if it is installed.
fn runs(program: &str, options: &[&str], file: &std::path::Path) -> Option<(bool, String)> {
    let run = Command::new(program).args(options).arg(file).stdin(Stdio::null()).output().ok()?;
    Some((run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned()))
}

#[test]
fn every_verb_has_a_manual_page() {
    let folder = folder("man");
    let run = sam3i(folder.path(), &["man", "--dir", "man1"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let help = sam3i(folder.path(), &["--help"]).stdout;
    let (_, verbs) = help.split_once("Commands:").expect("a list of verbs");
    let (verbs, _) = verbs.split_once("\n\n").expect("an end of it");
    let names = verbs.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names.iter().filter(|&&name| name != "help") {
        let page = fs::read_to_string(folder.path().join(format!("man1/sam3i-{name}.1"))).expect("a page");
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{name}: {page}");
    }
    let first = sam3i(folder.path(), &["man"]).stdout;
    assert!(first.contains(".TH sam3i 1") && first.contains("SUBCOMMANDS"), "{first}");
    match runs("man", &["--warnings", "-l"], &folder.path().join("man1/sam3i-segment.1")) {
        Some((fine, told)) => assert!(fine && told.is_empty(), "man complains: {told}"),
        None => eprintln!("SKIPPED: man is not installed"),
    }
    let bad = sam3i(folder.path(), &["man", "--dir", "man1/sam3i.1"]);
    assert!(bad.code == 2 && bad.stderr.contains("name another directory"), "{}", bad.stderr);
}

#[test]
fn shells_understand_their_completions() {
    let folder = folder("completions");
    for (shell, program, options) in [
        ("bash", "bash", &["-n"][..]),
        ("zsh", "zsh", &["-n"]),
        ("fish", "fish", &["--no-execute"]),
        // Nothing reads elvish's without its editor, which is there on a terminal only.
        ("elvish", "", &[]),
    ] {
        let script = sam3i(folder.path(), &["completions", shell]);
        assert!(script.code == 0 && script.stdout.contains("mask-threshold"), "{shell}: {}", script.stderr);
        folder.write(shell, script.stdout.as_bytes());
        match runs(program, options, &folder.path().join(shell)) {
            Some((fine, told)) => assert!(fine, "{shell}: {told}"),
            None if program.is_empty() => {}
            None => eprintln!("SKIPPED: {program} is not installed"),
        }
    }
    // What fish offers, if it is there.
    let asks = "source ./fish; complete -C 'sam3i se'; complete -C 'sam3i segment --neg-b'";
    match Command::new("fish").args(["-c", asks]).current_dir(folder.path()).output() {
        Ok(offered) => {
            let offered = String::from_utf8_lossy(&offered.stdout).into_owned();
            assert!(offered.starts_with("segment\t") && offered.contains("\n--neg-box\t"), "{offered}");
        }
        Err(_) => eprintln!("SKIPPED: fish is not installed"),
    }
    // What bash offers after `sam3i se` and after `sam3i segment --neg`.
    let asks = "source ./bash; \
                COMP_WORDS=(sam3i se) COMP_CWORD=1; _sam3i sam3i se sam3i; echo ${COMPREPLY[*]}; \
                COMP_WORDS=(sam3i segment --neg) COMP_CWORD=2; _sam3i sam3i --neg segment; echo ${COMPREPLY[*]}";
    let offered =
        Command::new("bash").args(["-c", asks]).current_dir(folder.path()).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&offered.stdout), "segment\n--neg-box --neg-point\n");
}

#[test]
fn the_log_and_the_profile_go_to_stderr() {
    let folder = folder("log");
    fs::create_dir(folder.path().join("model")).expect("made");
    fs::copy(data("micro.safetensors"), folder.path().join("model/model.safetensors")).expect("copied");
    fs::copy(data("micro_config.json"), folder.path().join("model/config.json")).expect("copied");
    fs::copy(data("recorded/images/m0.png"), folder.path().join("m0.png")).expect("copied");
    let segment = |log: &str, more: &[&str]| {
        let run = Command::new(binary())
            .args(["segment", "m0.png", "-p", "person", "--model", "model", "--device", "cpu", "--json"])
            .args(more)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .env("RUST_LOG", log)
            .output()
            .expect("it runs");
        assert!(run.status.success());
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(run.stdout), text(run.stderr))
    };
    let (found, told) = segment("sam3i::op=trace", &["--quiet"]);
    assert!(found.starts_with('{') && found.lines().count() == 1, "{found}");
    assert!(told.contains("TRACE") && told.contains("vit.block.0"), "{told}");
    let (_, told) = segment("warn", &["--quiet"]);
    assert_eq!(told, "");
    let (_, told) = segment("==", &["--quiet"]);
    assert!(told.contains("RUST_LOG is not understood"), "{told}");

    let (found, told) = segment("", &["--quiet", "--profile"]);
    assert!(found.starts_with('{'), "{found}");
    let stages: Vec<_> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(stages[..5], ["stage", "image", "text", "grounding", "masks"], "{told}");
    assert!(told.contains("image      linear"), "{told}");
    let share = |line: &str| line.split_whitespace().rev().nth(1).and_then(|share| share.parse::<f64>().ok());
    let total: f64 = told.lines().skip(1).take(4).filter_map(share).sum();
    assert!((total - 100.0).abs() < 0.3, "{total}: {told}");
}

/// Progress within a picture, as `script` records it: it gives the command a terminal.
#[test]
fn the_tiles_of_a_picture_are_counted_on_a_terminal_only() {
    let folder = folder("tiles");
    folder.scene("dogs.png", "dogs.png");
    let line = "segment dogs.png -p dog --json --tile 160 --overlap 0";
    let on_a_terminal = |more: &str| {
        // stdout goes to a file: what is left is what people see.
        let shell = format!("'{}' {line} {more} > out.jsonl", binary().display());
        let mut script = Command::new("script");
        script.args(["-qec", &shell, "/dev/null"]).current_dir(folder.path()).env_remove("SAM3I_MODEL");
        let run = script.stdin(Stdio::null()).output().ok()?;
        assert!(run.status.success(), "{run:?}");
        Some(String::from_utf8_lossy(&run.stdout).into_owned())
    };
    let Some(seen) = on_a_terminal("") else { return eprintln!("SKIPPED: script is not installed") };
    for part in ["tile 0 of 4", "tile 1 of 4, ", "tile 3 of 4, ", " left", "\x1b[K"] {
        assert!(seen.contains(part), "{part}: {seen:?}");
    }
    let found = fs::read_to_string(folder.path().join("out.jsonl")).expect("stdout");
    assert!(found.starts_with("{\"schema\"") && found.lines().count() == 1, "{found}");
    assert!(!on_a_terminal("--quiet").expect("it ran before").contains("tile "));
    let piped = sam3i(folder.path(), &line.split(' ').collect::<Vec<_>>());
    assert!(piped.code == 0 && !piped.stderr.contains("tile "), "{}", piped.stderr);
}
