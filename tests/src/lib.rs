//! What the tests and benches share: the cases of every op, and how results are compared.

pub mod cases;
pub mod compare;
pub mod goldens;
