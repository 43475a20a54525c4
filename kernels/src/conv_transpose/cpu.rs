//! One matrix product for each of the four pixels an input pixel becomes, stored straight to its place.

use super::Shape;
use crate::isa::{Isa, Precision};
use crate::matmul::cpu::driver::{Output, RowMap, product};
use crate::matmul::cpu::pack::{MatrixRows, Packed};
use crate::matmul::{Activation, Epilogue};

/// A weight `[channels, out_channels, 2, 2]`, one packed matrix for each of the four output pixels.
#[derive(Debug)]
pub struct PackedTaps([Packed; 4]);

impl PackedTaps {
    /// Packs a weight for [`run`].
    #[must_use]
    pub fn new(isa: Isa, precision: Precision, channels: usize, out_channels: usize, w: &[f32]) -> Self {
        assert_eq!(w.len(), channels * out_channels * 4);
        Self([0, 1, 2, 3].map(|tap| {
            Packed::from_fn(isa, precision, out_channels, channels, |o, c| {
                w[(c * out_channels + o) * 4 + tap]
            })
        }))
    }

    /// Bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Packed::bytes).sum()
    }
}

/// `activation(conv_transpose(input, w) + bias)`. See the [module](super) for the contract.
pub fn run(
    isa: Isa,
    shape: &Shape,
    input: &[f32],
    w: &PackedTaps,
    bias: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    shape.check(input, out);
    let rows = MatrixRows { values: input, stride: shape.channels };
    let epilogue = Epilogue { bias: Some(bias), activation, residual: None };
    for (tap, w) in w.0.iter().enumerate() {
        assert_eq!((w.n(), w.k()), (shape.out_channels, shape.channels));
        let map = RowMap::Doubled { width: shape.width, dy: tap / 2, dx: tap % 2 };
        let mut out = Output { values: out, map };
        product(isa, &rows, shape.height * shape.width, w, &epilogue, &mut out);
    }
}
