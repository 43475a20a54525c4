//! What the tests and benches share: the cases of every op, how results are compared, where recorded ones are, how the
//! command is run.

pub mod agreement;
pub mod command;
pub mod goldens;
pub mod parity;
pub mod recording;

pub use sam3i_cases as cases;
pub use sam3i_cases::{compare, gpu};
