//! What goes to stdout and to stderr, and how errors read. Nothing else in this program writes there.

use anyhow::Result;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing_subscriber::EnvFilter;

/// Whoever read stdout has gone (`| head`): there is nobody left to work for, and that is no error.
#[derive(Clone, Copy, Debug)]
pub struct ReaderLeft;

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads stdout any more")
    }
}

impl std::error::Error for ReaderLeft {}

/// Writes a text to stdout.
///
/// # Errors
/// [`ReaderLeft`] when its reader has gone, with which a verb ends in silence; others when it cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(ReaderLeft.into()),
        done => Ok(done?),
    }
}

/// The line that stays at the bottom of the terminal, if any. A process has one terminal.
static STATUS: Mutex<Option<String>> = Mutex::new(None);

fn status() -> MutexGuard<'static, Option<String>> {
    STATUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows a line at the bottom of the terminal, in place of the one before.
pub fn show_status(text: &str) {
    let mut status = status();
    // A terminal that has gone is no reason to stop.
    let _ = write!(io::stderr().lock(), "\r{text}\x1b[K");
    *status = Some(text.to_owned());
}

/// Takes that line away.
pub fn clear_status() {
    if status().take().is_some() {
        let _ = write!(io::stderr().lock(), "\r\x1b[K");
    }
}

/// Writes a line, or several, to stderr, above the one at the bottom. When stderr is closed or full, nobody can be told,
/// and the run goes on.
pub fn line(text: &str) {
    let status = status();
    let _ = match &*status {
        Some(status) => write!(io::stderr().lock(), "\r\x1b[K{text}\n{status}"),
        None => writeln!(io::stderr().lock(), "{text}"),
    };
}

/// Tells an error; every one starts the same way, so that scripts can find it.
pub fn error(message: &str) {
    line(&format!("sam3i: {message}"));
}

/// What a verb says on stderr besides errors.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    quiet: bool,
    verbose: bool,
}

impl Messages {
    /// Only warnings if `quiet`; details too if `verbose`.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, verbose }
    }

    /// Something the results must not be read without.
    pub fn warn(self, message: &str) {
        line(&format!("warning: {message}"));
    }

    /// Progress, and what was chosen.
    pub fn say(self, message: &str) {
        if !self.quiet {
            line(message);
        }
    }

    /// What helps to understand a run.
    pub fn detail(self, message: &str) {
        if self.verbose {
            line(message);
        }
    }
}

/// Sends log events to stderr: what `RUST_LOG` asks for, else warnings, and more with each `-v`.
pub fn start_logging(verbose: u8) {
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(level)).unwrap_or_else(|problem| {
        line(&format!("warning: RUST_LOG is not understood ({problem}); logging at the level {level}"));
        EnvFilter::new(level)
    });
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(|| LogWriter).init();
}

/// Takes log events, a line each, to stderr as everything else goes there.
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        line(String::from_utf8_lossy(bytes).trim_end_matches('\n'));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error with its causes, without those that its own message already repeats.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

/// 1154195510 as 1,154,195,510.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_154_195_510, "1,154,195,510")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::anyhow!("disk full").context("a.txt: disk full").context("cannot convert");
        assert_eq!(describe(&error), "cannot convert: a.txt: disk full");
    }
}
