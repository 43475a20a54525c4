//! What goes to stdout and how errors read.

use anyhow::Result;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing_subscriber::EnvFilter;

/// Writes a text to stdout. A reader that has gone (`| head`) is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
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
    let _ = write!(std::io::stderr().lock(), "\r{text}\x1b[K");
    *status = Some(text.to_owned());
}

/// Takes that line away.
pub fn clear_status() {
    if status().take().is_some() {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
    }
}

/// Writes a line to stderr, above the one at the bottom.
pub fn line(text: &str) {
    let status = status();
    let _ = match &*status {
        Some(status) => write!(std::io::stderr().lock(), "\r\x1b[K{text}\n{status}"),
        None => writeln!(std::io::stderr().lock(), "{text}"),
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
        eprintln!("warning: RUST_LOG is not understood ({problem}); logging at the level {level}");
        EnvFilter::new(level)
    });
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
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
