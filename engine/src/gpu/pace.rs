//! How much a submission may hold: what the GPU does in a quarter of a second, going by what it did so far.
//!
//! Drivers give a submission two seconds or so before they take the GPU for hung and reset it.

use std::time::{Duration, Instant};

/// What a submission is to take at most.
const TARGET: Duration = Duration::from_millis(250);
/// Flops of a submission while nothing is known: a third of a second on a GPU that does 100 GFLOP/s.
const FIRST: u64 = 32_000_000_000;
/// The least and the most there may be in one, whatever was measured.
const LEAST: u64 = 8_000_000_000;
const MOST: u64 = 2_000_000_000_000;

/// What is known of the GPU's speed.
pub(super) struct Pace {
    most: u64,
    /// When the last submission that was waited for was done.
    ended: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { most: FIRST, ended: None }
    }
}

impl Pace {
    /// Flops of a submission.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Learns that a submission of so much work, sent then, was done at a moment. Quick ones prove that the GPU is fast, never that it
    /// is slow: what they took may be the way there and back.
    pub fn learn(&mut self, work: u64, sent: Instant, done: Instant) {
        // The GPU came to it when it was done with the one before.
        let began = self.ended.map_or(sent, |ended| ended.max(sent));
        self.ended = Some(done);
        let took = done.saturating_duration_since(began);
        let affordable = work as f64 * TARGET.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let affordable = (affordable as u64).clamp(LEAST, MOST);
        if affordable > self.most || 2 * took > TARGET {
            self.most = affordable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GPU of this speed is given submissions as large as allowed, two in flight; the largest and the last.
    fn run(flops_a_second: f64, submissions: usize) -> (u64, u64) {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (mut free_at, mut largest) = (0.0_f64, 0);
        for i in 0..submissions {
            let (work, sent) = (pace.most(), 1e-3 * i as f64);
            largest = largest.max(work);
            free_at = free_at.max(sent) + work as f64 / flops_a_second;
            pace.learn(work, start + Duration::from_secs_f64(sent), start + Duration::from_secs_f64(free_at));
        }
        (largest, pace.most())
    }

    #[test]
    fn submissions_take_a_quarter_of_a_second_whatever_the_gpu() {
        let (largest, last) = run(100e9, 20);
        assert!(largest <= FIRST && (24_000_000_000..=26_000_000_000).contains(&last), "{largest} {last}");
        let (_, last) = run(4e12, 20);
        assert!((900_000_000_000..=1_100_000_000_000).contains(&last), "{last}");
        assert_eq!(run(1e9, 20).1, LEAST);
        assert_eq!(run(1e15, 20).1, MOST);
    }

    #[test]
    fn small_submissions_do_not_make_a_gpu_slow() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.learn(1_000, now, now + Duration::from_millis(2));
        assert_eq!(pace.most(), FIRST);
    }
}
