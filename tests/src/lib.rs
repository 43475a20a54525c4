//! What the tests and benches share: the cases of every op, how results are compared, where recorded ones are, how the
//! command is run.

pub mod agreement;
pub mod cases;
pub mod command;
pub mod compare;
pub mod goldens;
pub mod gpu;
pub mod parity;
pub mod recording;
