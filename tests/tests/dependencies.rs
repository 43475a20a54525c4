//! How much the library and the command bring along, and that none of it compiles C.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The crates of a tree on Linux, by name and version; with normal and build dependencies.
fn tree(options: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-e", "normal,build", "--prefix", "none", "--format", "{p}"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(options)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"))
        .output()
        .expect("cargo runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).expect("UTF-8");
    text.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// The bounds of docs/dependencies.md.
#[test]
fn trees_stay_small() {
    let trees = [
        (&["-p", "sam3i", "--no-default-features"][..], 44),
        (&["-p", "sam3i"], 64),
        (&["-p", "sam3i-capi"], 45),
        (&["-p", "sam3i-cli"], 150),
    ];
    for (options, most) in trees {
        let tree = tree(options);
        assert!(tree.len() <= most, "{options:?}: {} crates, at most {most}:\n{tree:#?}", tree.len());
        println!("{options:?}: {}", tree.len());
    }
}

#[test]
fn nothing_that_is_built_for_users_compiles_c() {
    let tree = tree(&["-p", "sam3i-cli", "-p", "sam3i-capi"]);
    let compilers = ["cc ", "cmake ", "bindgen ", "onig_sys ", "esaxx-rs ", "pkg-config "];
    let found: Vec<_> = tree.iter().filter(|name| compilers.iter().any(|c| name.starts_with(c))).collect();
    assert!(found.is_empty(), "{found:?}");
}
