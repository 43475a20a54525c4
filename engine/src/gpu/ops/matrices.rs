//! Products on matrix units, where the GPU has them and they compute what they should.

use super::products::{Operands, tiles};
use super::{Buffer, Call, Gpu};
use crate::Result;
use crate::gpu::Weight;
use sam3i_kernels::gpu::{Constant, line};
use sam3i_kernels::matmul::gpu::{
    HALVE, HalveParams, LARGEST_TILE, MATRICES, MatricesParams, half_stride, matrices_tile,
};

/// How products run on matrix units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixUnits {
    side: u32,
    lanes: u32,
}

impl MatrixUnits {
    fn constants(self, each: u32) -> [Constant; 3] {
        [("SIDE", self.side), ("LANES", self.lanes), ("EACH", each)]
    }

    /// The form that is used where nobody knows better: tiles of 128, or of 32.
    pub fn usual_form(self) -> &'static str {
        if self.side == 16 { "matrices_4" } else { "matrices_2" }
    }

    /// Matrices of a subgroup along either axis, of a form on matrix units.
    pub fn each(form: &str) -> Option<u32> {
        match form {
            "matrices_2" => Some(2),
            "matrices_4" => Some(4),
            _ => None,
        }
    }
}

/// The matrix units of a GPU, tried on a small product first: drivers have been wrong about them.
///
/// Only where all subgroups are of one size: nothing else says how many threads share a matrix.
pub(crate) fn tried(gpu: &Gpu) -> Option<MatrixUnits> {
    let facts = gpu.facts();
    let [lanes, most] = facts.subgroups?;
    let side = *facts.matrices.iter().max()?;
    if lanes != most || lanes < 4 {
        return None;
    }
    let units = MatrixUnits { side, lanes };
    let each_works = |each| gpu.fits(&MATRICES, &units.constants(each)) && is_right(gpu, units, each);
    let works = gpu.fits(&HALVE, &[]) && [2, 4].into_iter().all(each_works);
    if !works {
        tracing::warn!("the matrix units of {} do not compute what they should: not used", facts.name);
    }
    works.then_some(units)
}

/// Whether a small product of odd sizes comes out right.
fn is_right(gpu: &Gpu, units: MatrixUnits, each: u32) -> bool {
    let (m, n, k) = (67, 41, 53);
    let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 64.0; // whole 64ths: exact in f16
    let a: Vec<f32> = (0..m * k).map(number).collect();
    let w: Vec<f32> = (0..n * k).map(|i| number(i + 17)).collect();
    let product = || -> Result<Vec<f32>> {
        let left = gpu.upload(&a)?;
        let weight = Weight::new(gpu, k, &w, true)?;
        let output = gpu.buffer(m * n)?;
        let operands = Operands { left: (&left, 0), bias: None, residual: None };
        product(gpu, units, each, &operands, &weight, ("ACTIVATION", 0), [m, n, k], &output)?;
        gpu.read(&output, 0, m * n)
    };
    let Ok(got) = product() else { return false };
    got.iter().enumerate().all(|(i, &v)| {
        let (a, w) = (&a[i / n * k..][..k], &w[i % n * k..][..k]);
        let exact: f32 = a.iter().zip(w).map(|(a, w)| a * w).sum();
        (v - exact).abs() < 1e-3
    })
}

/// A product with an f16 weight: the left operand is brought to f16 first. `each` matrices of a subgroup along either axis.
#[allow(clippy::too_many_arguments)] // as many as a product has
pub(super) fn product(
    gpu: &Gpu,
    units: MatrixUnits,
    each: u32,
    operands: &Operands,
    w: &Weight,
    activation: Constant,
    [m, n, k]: [usize; 3],
    output: &Buffer,
) -> Result<()> {
    let (left, a_at) = operands.left;
    let rows = m.next_multiple_of(LARGEST_TILE);
    let stride = half_stride(k);
    let halves = gpu.buffer(rows * stride)?;
    let params = HalveParams {
        words: (rows * stride) as u32,
        m: m as u32,
        k: k as u32,
        a_at,
        stride: stride as u32,
        unused: [0; 3],
    };
    gpu.dispatch(&Call {
        kernel: &HALVE,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(left)],
        output: &halves,
        groups: line(rows * stride, HALVE.threads),
        work: (8 * rows * stride) as u64,
    })?;
    let params = MatricesParams {
        m: m as u32,
        n: n as u32,
        k: 2 * stride as u32,
        w_stride: 2 * w.stride as u32,
        a_stride: 2 * stride as u32,
        bias_at: operands.bias.map_or(0, |(_, at)| at),
        residual_at: operands.residual.map_or(0, |(_, at)| at),
        flags: operands.flags(),
        ..MatricesParams::default()
    };
    let [side, lanes, matrices] = units.constants(each);
    let constants = [side, lanes, matrices, activation];
    let inputs = [
        Some(&halves),
        Some(&w.buffer),
        operands.bias.map(|(buffer, _)| buffer),
        operands.residual.map(|(buffer, _)| buffer),
    ];
    let tile = matrices_tile(units.side, each);
    tiles(gpu, (&MATRICES, tile), &constants, &inputs, output, [m, n, k], |first_tile| MatricesParams {
        first_tile,
        ..params
    })
}
