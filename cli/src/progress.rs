//! The line at the bottom of a terminal that says how far a run is.

use crate::terminal;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Width of the bar, in characters.
const WIDTH: usize = 24;

/// Counts pictures; shown on stderr if that is a terminal and the user is not `--quiet`. Gone when it is dropped.
pub struct Progress {
    /// How many there are; a stream does not know.
    all: Option<usize>,
    done: usize,
    /// Done without work: they say nothing about the rate.
    skipped: usize,
    start: Instant,
    shown: bool,
}

impl Progress {
    /// Starts the clock.
    pub fn start(all: Option<usize>, quiet: bool) -> Self {
        // One picture needs no counting.
        let shown = !quiet && all != Some(1) && std::io::stderr().is_terminal();
        let progress = Self { all, done: 0, skipped: 0, start: Instant::now(), shown };
        progress.show();
        progress
    }

    /// A picture is done, `skipped` if there was nothing to do.
    pub fn step(&mut self, skipped: bool) {
        self.done += 1;
        self.skipped += usize::from(skipped);
        self.show();
    }

    fn show(&self) {
        if self.shown {
            terminal::show_status(&status(self.all, self.done, self.skipped, self.start.elapsed()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            terminal::clear_status();
        }
    }
}

/// The line itself.
fn status(all: Option<usize>, done: usize, skipped: usize, elapsed: Duration) -> String {
    let worked = done - skipped;
    let rate = worked as f64 / elapsed.as_secs_f64().max(1e-9);
    let rate_text = match worked {
        0 => String::new(),
        _ if rate < 1.0 => format!(", {:.1} s each", 1.0 / rate),
        _ => format!(", {rate:.1} a second"),
    };
    let Some(all) = all else { return format!("{done} pictures{rate_text}") };
    let filled = (WIDTH * done).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    let bar = "#".repeat(filled) + &"-".repeat(WIDTH - filled);
    let left = match worked {
        0 => String::new(),
        _ => format!(", {} left", clock((all.saturating_sub(done)) as f64 / rate)),
    };
    format!("[{bar}] {done} of {all} pictures{rate_text}{left}")
}

/// Seconds as people read them.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_count_rate_and_time_left() {
        let line = |all, done, skipped, seconds| status(all, done, skipped, Duration::from_secs(seconds));
        assert_eq!(line(Some(4), 0, 0, 3), format!("[{}] 0 of 4 pictures", "-".repeat(24)));
        assert_eq!(
            line(Some(4), 1, 0, 100),
            format!("[######{}] 1 of 4 pictures, 100.0 s each, 5:00 min left", "-".repeat(18))
        );
        assert_eq!(
            line(Some(8), 6, 2, 2),
            format!("[{}------] 6 of 8 pictures, 2.0 a second, 1 s left", "#".repeat(18))
        );
        assert_eq!(line(None, 30, 0, 10), "30 pictures, 3.0 a second");
        assert_eq!(clock(7261.0), "2:01 h");
    }
}
