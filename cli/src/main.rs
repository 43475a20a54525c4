//! The sam3i command.
fn main() {}
