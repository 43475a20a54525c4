//! Work that is done one step ahead of whoever takes it.

use crate::stop;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// How often a wait looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(50);

/// Items that a thread makes one at a time: it holds at most one that nobody has taken yet.
pub struct Ahead<T>(Receiver<T>);

impl<T: Send + 'static> Ahead<T> {
    /// Makes items of `from` on a thread of its own, which ends when nobody takes them any more. It is never waited for:
    /// it may be reading from a pipe that stays silent.
    pub fn start(from: impl Iterator<Item = T> + Send + 'static) -> Self {
        let (give, take) = sync_channel(0);
        thread::spawn(move || {
            for item in from {
                if give.send(item).is_err() {
                    return;
                }
            }
        });
        Self(take)
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    /// The next item; none when there are no more, or Ctrl-C was pressed.
    fn next(&mut self) -> Option<T> {
        while !stop::asked() {
            match self.0.recv_timeout(LOOK) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn items_come_in_order_and_only_one_is_ahead() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let mut ahead = Ahead::start((0..100).inspect(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        for expected in 0..100 {
            assert_eq!(ahead.next(), Some(expected));
            assert!(made.load(Ordering::SeqCst) <= expected + 2, "one taken, one waiting");
        }
        assert_eq!(ahead.next(), None);
    }
}
