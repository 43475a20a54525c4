//! How far the ops of a whole pass of a model may be from the reference.

use crate::compare::Difference;
use crate::list::find;
use sam3i_engine::{Compared, DType};

/// The difference of an op that ran on two devices, measured against what it may be.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// The difference; a share above 1 leaves the tolerance.
    pub difference: Difference,
    /// The root of the mean square of what the second device computed: the size of its values.
    pub size: f32,
    /// The tolerance, as a part of the size of the values.
    pub tolerance: f32,
}

/// The tolerance of ops that round, in f32: sums of up to 4736 products round to 1e-6 of their size, a few of them in one
/// op. A wrong epsilon or a missing term is hundreds of times that.
const F32: f32 = 2e-5;
/// In bf16 each operand is rounded by up to 2^-9 of itself, and six deviations are a hundredth and more of a sum's size.
const BF16: f32 = 3e-2;
/// In f16 weights are rounded by up to 2^-12 of themselves, an eighth of that.
const F16: f32 = 4e-3;

/// In int8 a weight is off by up to 3 % of itself in the root of the mean square (one that is further off is not rounded), a row by
/// about 1 %, and so is a sum of their products; six deviations, of which the judging allows two for a value of the usual size.
const INT8: f32 = 1e-1;

/// Judges an op. Values may be off by `tolerance` times the size of their row (the last axis) and of all values together.
///
/// # Errors
/// Those of reading the tensors.
pub fn judge(compared: &Compared) -> sam3i_engine::Result<Judged> {
    let (actual, expected) = (compared.actual.to_vec()?, compared.expected.to_vec()?);
    let device = compared.actual.device();
    let exact = find(compared.op).is_some_and(|op| op.exact.on(device));
    let tolerance = match device.dtype() {
        _ if exact => 0.0,
        DType::F32 => F32,
        DType::F16 => F16,
        DType::Int8 if find(compared.op).is_some_and(|op| op.cpu.has_int8()) => INT8,
        _ => BF16,
    };
    let columns = compared.expected.last_dim().max(1);
    let rows: Vec<f32> = expected.chunks(columns).map(size).collect();
    let size = size(&expected);
    let difference = Difference::of(&actual, &expected, |i, _| tolerance * (size + rows[i / columns]));
    Ok(Judged { difference, size, tolerance })
}

/// The root of the mean square of the finite values.
fn size(values: &[f32]) -> f32 {
    let squares: f64 = values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v) * f64::from(v)).sum();
    (squares / values.len().max(1) as f64).sqrt() as f32
}
