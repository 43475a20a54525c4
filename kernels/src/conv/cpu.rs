//! Convolution as a matrix product whose left operand is never stored: the rows of a tile are gathered from the map
//! while they are packed (implicit GEMM). Columns of the product run over kernel row, kernel column, channel.

use super::Shape;
use crate::isa::{Avx512Bf16, Isa, Precision};
use crate::matmul::cpu::bf16;
use crate::matmul::cpu::driver::{Output, RowMap, product};
use crate::matmul::cpu::pack::{LeftRows, MOST_ROWS, Packed, transpose, transpose_pairs};
use crate::matmul::{Activation, Epilogue};

/// Packs a weight `[out_channels, channels, kernel, kernel]` for [`run`].
#[must_use]
pub fn pack(isa: Isa, precision: Precision, shape: &Shape, w: &[f32]) -> Packed {
    assert_eq!(w.len(), shape.out_channels * shape.fan_in());
    let (channels, taps) = (shape.channels, shape.kernel * shape.kernel);
    Packed::from_fn(isa, precision, shape.out_channels, shape.fan_in(), |o, p| {
        w[o * shape.fan_in() + (p % channels) * taps + p / channels]
    })
}

/// `activation(conv(input, w) + bias)`. See the [module](super) for the contract.
pub fn run(
    isa: Isa,
    shape: &Shape,
    input: &[f32],
    w: &Packed,
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    assert_eq!(input.len(), shape.height * shape.width * shape.channels);
    assert_eq!((w.n(), w.k(), out.len()), (shape.out_channels, shape.fan_in(), shape.out_len()));
    let (height, width) = shape.out_size();
    let epilogue = Epilogue { bias, activation, residual: None };
    let mut out = Output { values: out, map: RowMap::InOrder };
    product(isa, &MapRows::new(shape, input), height * width, w, &epilogue, &mut out);
}

/// The pixels under the kernel at each output pixel, as rows.
struct MapRows<'a> {
    shape: Shape,
    input: &'a [f32],
    out_width: usize,
    /// Kernel columns taken one by one, and the neighbouring values of each: with no padding a kernel row is one run.
    columns: usize,
    run: usize,
}

impl<'a> MapRows<'a> {
    fn new(shape: &Shape, input: &'a [f32]) -> Self {
        let whole_rows = shape.padding == 0;
        let columns = if whole_rows { 1 } else { shape.kernel };
        let run = if whole_rows { shape.kernel * shape.channels } else { shape.channels };
        Self { shape: *shape, input, out_width: shape.out_size().1, columns, run }
    }

    /// `len` values from `first` on of the run under kernel cell (`i`, `j`) at output pixel `at`; `None` in the padding.
    fn run(&self, at: usize, i: usize, j: usize, first: usize, len: usize) -> Option<&'a [f32]> {
        let s = &self.shape;
        let (y, x) = (at / self.out_width * s.stride + i, at % self.out_width * s.stride + j);
        let (y, x) = (y.checked_sub(s.padding)?, x.checked_sub(s.padding)?);
        if y >= s.height || x >= s.width {
            return None;
        }
        Some(&self.input[(y * s.width + x) * s.channels + first..][..len])
    }
}

/// What lies under the kernel in the padding; as long as the longest block of `k`.
static ZEROS: [f32; 2048] = [0.0; 2048];

impl MapRows<'_> {
    /// Calls `f(done, values of each row)` for the runs that columns `first_k .. first_k + k` of these rows consist of.
    fn for_runs(
        &self,
        first: usize,
        rows: usize,
        first_k: usize,
        k: usize,
        mut f: impl FnMut(usize, &[&[f32]], usize),
    ) {
        let mut slices = [&[] as &[f32]; MOST_ROWS];
        let mut p = first_k;
        while p < first_k + k {
            let (cell, start) = (p / self.run, p % self.run);
            let len = (self.run - start).min(first_k + k - p);
            for (r, slice) in slices[..rows].iter_mut().enumerate() {
                let run = self.run(first + r, cell / self.columns, cell % self.columns, start, len);
                *slice = run.unwrap_or(&ZEROS[..len]);
            }
            f(p - first_k, &slices[..rows], len);
            p += len;
        }
    }
}

impl LeftRows for MapRows<'_> {
    fn pack(&self, isa: Isa, first: usize, rows: usize, first_k: usize, k: usize, out: &mut [f32]) {
        self.for_runs(first, rows, first_k, k, |done, values, len| {
            transpose(isa, values, len, &mut out[done * rows..], rows);
        });
    }

    fn pack_pairs(
        &self,
        isa: Isa,
        proof: Avx512Bf16,
        first: usize,
        rows: usize,
        first_k: usize,
        k: usize,
        room: &mut [f32],
        out: &mut [u32],
    ) {
        if !self.run.is_multiple_of(2) || !first_k.is_multiple_of(2) {
            // A pair may lie across two runs.
            self.pack(isa, first, rows, first_k, k, room);
            return bf16::join_rows(proof, k, rows, room, out);
        }
        let room = bytemuck::cast_slice_mut(room);
        self.for_runs(first, rows, first_k, k, |done, values, len| {
            transpose_pairs(isa, proof, values, len, room, &mut out[done / 2 * rows..], rows);
        });
    }
}
