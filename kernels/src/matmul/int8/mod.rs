//! The product in int8: `out = activation(a wᵀ + bias) + residual` with both operands rounded to 8 bits.
//!
//! | operand | shape | rounded to |
//! |---|---|---|
//! | `w` | `[n, k]` | `s8`, one scale a row (an output channel): `w ≈ scale q`, `q` in -127..=127 ([`QuantisedWeight`]) |
//! | `a` | `[m, k]` | `u8`, a scale and a zero point a row (a token), found anew in each call: `a ≈ scale (q - zero)` ([`Row`]) |
//!
//! Products and sums are whole numbers in `i32` and exact, so a result does not depend on the order of the sum, the
//! instruction set or the number of threads. What is left is rounded as written here, left to right:
//! `f32(sum_p (q_a - zero) q_w) * scale_a * scale_w`, then the [`Epilogue`](super::Epilogue).
//!
//! **Rows with outliers.** One scale a row is fine while the row's values are of one size. Where one value dwarfs the
//! rest (a ViT's "massive activations"), 255 steps from smallest to largest leave the rest a step or two. Such a row,
//! found by [`Row::is_wide`], gets a second part: what the first rounds away, in steps 256 times as fine. Its product is
//! computed twice and added: 16 bits for the rows that need it, at twice the cost for those alone.
//!
//! **Weights with outliers** are not rounded: [`QuantisedWeight::new_if_close`] looks at what rounding would take.
//!
//! A row with a value that is not finite, or whose span is beyond `f32`, gives NaN throughout; a span below 1e-30 counts
//! as zero. `k` is at most [`LONGEST`], so that `i32` holds every sum. `2 m n k` operations.

mod driver;
mod pack;
pub mod reference;
mod rows;
mod tile;
mod weight;

pub use driver::run;
pub use pack::Packed;
pub use rows::{Row, WIDE};
pub use weight::QuantisedWeight;

/// The longest `k`: `255 * 128 * k` stays below 2^31.
pub const LONGEST: usize = 65_536;

/// The most that rounding may take from a weight ([`QuantisedWeight::error`]).
///
/// For channels of 1024 normally distributed values it is 0.010, for Laplace's distribution 0.017, for Student's with 5 degrees of
/// freedom 0.021; one value a hundred times as large as the rest makes it 0.25 in its channel.
pub const MOST_ERROR: f64 = 0.03;

/// Channels of a packed panel and columns of a tile.
const COLUMNS: usize = 32;

/// Rows of a full tile.
const ROWS: usize = 14;
