//! The `sam3i` command as a user runs it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The binary that `SAM3I_BINARY` names, else that of the profile the tests were built with; built by the first test that asks.
///
/// # Panics
/// If it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("SAM3I_BINARY") {
            return Some(named.into());
        }
        let test = std::env::current_exe().expect("this test's own path");
        let profile_dir = test.ancestors().nth(2).expect("a test lies in <target>/<profile>/deps");
        let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let target = profile_dir.parent().expect("a profile lies in the target directory");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // With an example beside it cargo takes the features that the tests have, and nothing is compiled a second time.
        let wanted = ["build", "-q", "--workspace", "--bin", "sam3i", "--example", "embedded"];
        let built = Command::new(cargo)
            .args(wanted)
            .args(["--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        let success = built.expect("cargo runs").success();
        success.then(|| profile_dir.join(format!("sam3i{}", std::env::consts::EXE_SUFFIX)))
    });
    built.as_deref().expect("sam3i-cli builds; cargo's reasons are above")
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

/// The command in `folder`, with none of the user's settings.
pub fn command<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).current_dir(folder);
    for variable in ["SAM3I_MODEL", "SAM3I_ISA", "RUST_LOG", "COLUMNS"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the command in `folder` to its end, with nothing on stdin and none of the user's settings.
///
/// # Panics
/// If it cannot be run, is ended by a signal, or prints something other than UTF-8.
pub fn sam3i<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Run {
    finished(command(folder, args).stdin(Stdio::null()).output().expect("the command runs"))
}

/// As [`sam3i()`], with bytes on stdin.
///
/// # Panics
/// As [`sam3i()`].
pub fn sam3i_with_input<S: AsRef<OsStr>>(folder: &Path, args: &[S], input: &[u8]) -> Run {
    let mut command = command(folder, args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input))); // it may not want all of it
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    finished(output)
}

/// What a process left behind.
///
/// # Panics
/// If it was ended by a signal, or printed something other than UTF-8.
pub fn finished(Output { status, stdout, stderr }: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: status.code().expect("no signal"), stdout: text(stdout), stderr: text(stderr) }
}
