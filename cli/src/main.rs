//! The sam3i command.

// The verbs draw and write through these.
#[allow(dead_code)]
mod output;
#[allow(dead_code)]
mod overlay;
mod palette;
mod tags;

fn main() {}
