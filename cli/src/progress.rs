//! The line at the bottom of a terminal that says how far a run is.

use crate::terminal;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Width of the bar, in characters.
const WIDTH: usize = 24;
/// Its width where pictures and tiles are told: a terminal has 80 columns.
const NARROW: usize = 8;

/// Counts pictures, and the tiles of those that are at hand; shown on stderr if that is a terminal and the user is not
/// `--quiet`. The line is gone when the last copy is dropped.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

struct State {
    count: Count,
    start: Instant,
    /// When the first tile was begun.
    tiled: Option<Instant>,
    shown: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// How many pictures there are; a stream does not know.
    all: Option<usize>,
    done: usize,
    /// Done without work: they say nothing about the rate.
    skipped: usize,
    /// Of the pictures at hand.
    tiles: usize,
    tiles_done: usize,
}

impl Progress {
    /// Starts the clock.
    pub fn start(all: Option<usize>, quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let count = Count { all, ..Count::default() };
        let progress = Self(Arc::new(Mutex::new(State { count, start: Instant::now(), tiled: None, shown })));
        progress.state().show();
        progress
    }

    /// One that is never shown.
    #[cfg(all(test, feature = "gpu"))]
    pub fn hidden() -> Self {
        Self::start(None, true)
    }

    /// A picture is done, `skipped` if there was nothing to do.
    pub fn step(&self, skipped: bool) {
        let mut state = self.state();
        state.count.done += 1;
        state.count.skipped += usize::from(skipped);
        state.show();
    }

    /// Counts the tiles of a picture, as long as what is returned lives.
    pub fn tiles(&self, all: usize) -> Tiles {
        let mut state = self.state();
        state.tiled.get_or_insert_with(Instant::now);
        state.count.tiles += all;
        state.show();
        Tiles { progress: self.clone(), all, done: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tiles of a picture that is at hand.
pub struct Tiles {
    progress: Progress,
    all: usize,
    done: usize,
}

impl Tiles {
    /// A tile is done.
    pub fn step(&mut self) {
        self.done += 1;
        let mut state = self.progress.state();
        state.count.tiles_done += 1;
        state.show();
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state.count.tiles -= self.all;
        state.count.tiles_done -= self.done;
    }
}

impl State {
    fn show(&self) {
        if !self.shown {
            return;
        }
        let times =
            [Some(self.start), self.tiled].map(|start| start.map_or(Duration::ZERO, |at| at.elapsed()));
        if let Some(line) = status(&self.count, times) {
            terminal::show_status(&line);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.shown {
            terminal::clear_status();
        }
    }
}

/// The line itself; none where nothing is worth counting. `elapsed` is the time since the start and since the first tile.
fn status(count: &Count, elapsed: [Duration; 2]) -> Option<String> {
    let &Count { all, done, skipped, tiles, tiles_done } = count;
    let tile = if tiles > 1 { format!("tile {tiles_done} of {tiles}") } else { String::new() };
    if all == Some(1) {
        // One picture needs no counting, its tiles do.
        return (tiles > 1).then(|| {
            format!("[{}] {tile}{}", bar(WIDTH, tiles_done, tiles), pace(tiles_done, tiles, elapsed[1]))
        });
    }
    let (width, tile) = if tile.is_empty() { (WIDTH, tile) } else { (NARROW, format!("; {tile}")) };
    let worked = done - skipped;
    let Some(all) = all else { return Some(format!("{done} pictures{}{tile}", rate(worked, elapsed[0]))) };
    let pace = pace(worked, all.saturating_sub(skipped), elapsed[0]);
    Some(format!("[{}] {done} of {all} pictures{pace}{tile}", bar(width, done, all)))
}

fn bar(width: usize, done: usize, all: usize) -> String {
    let filled = (width * done).checked_div(all).unwrap_or(width).min(width);
    "#".repeat(filled) + &"-".repeat(width - filled)
}

/// What one takes, and how long the others will.
fn pace(done: usize, all: usize, elapsed: Duration) -> String {
    if done == 0 {
        return String::new();
    }
    let left = elapsed.as_secs_f64() / done as f64 * all.saturating_sub(done) as f64;
    format!("{}, {} left", rate(done, elapsed), clock(left))
}

fn rate(done: usize, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    match done {
        0 => String::new(),
        _ if rate < 1.0 => format!(", {:.1} s each", 1.0 / rate),
        _ => format!(", {rate:.1} a second"),
    }
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
        let line = |all, done, skipped, seconds| {
            let count = Count { all, done, skipped, ..Count::default() };
            status(&count, [seconds, 0].map(Duration::from_secs)).expect("a line")
        };
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

    #[test]
    fn tiles_are_counted_within_their_pictures() {
        let line = |all, done, tiles, tiles_done| {
            let count = Count { all, done, tiles, tiles_done, ..Count::default() };
            status(&count, [100, 20].map(Duration::from_secs))
        };
        assert_eq!(line(Some(1), 0, 0, 0), None);
        assert_eq!(line(Some(1), 0, 1, 0), None, "a picture that is one tile");
        let begun = format!("[{}] tile 0 of 2000", "-".repeat(24));
        assert_eq!(line(Some(1), 0, 2000, 0), Some(begun));
        let half = format!("[{}{}] tile 10 of 20, 2.0 s each, 20 s left", "#".repeat(12), "-".repeat(12));
        assert_eq!(line(Some(1), 0, 20, 10), Some(half));
        assert_eq!(line(None, 2, 20, 10).as_deref(), Some("2 pictures, 50.0 s each; tile 10 of 20"));
        let several = line(Some(4), 1, 20, 10).expect("a line");
        assert!(
            several.ends_with("1 of 4 pictures, 100.0 s each, 5:00 min left; tile 10 of 20"),
            "{several}"
        );
        let progress = Progress::start(Some(2), true);
        let mut one = progress.tiles(4);
        let mut other = progress.tiles(9);
        one.step();
        other.step();
        drop(one);
        let Count { tiles, tiles_done, .. } = progress.state().count;
        assert_eq!((tiles, tiles_done), (9, 1), "only those at hand");
    }
}
