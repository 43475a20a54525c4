//! How a verb ended.

/// How a verb ended that did not fail at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All went well.
    Done,
    /// All went well, and nothing was found where something had to be (`--fail-empty`).
    NothingFound,
    /// Some of a batch failed; the reasons have been told.
    SomeFailed,
    /// Ctrl-C was pressed; what was done until then is in order.
    Interrupted,
}
