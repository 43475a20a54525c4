//! What a GPU does at most, by its own clock where it has one.

use super::ops::matrices::MatrixUnits;
use super::{Call, Gpu};
use crate::{Error, Result};
use sam3i_kernels::peak::gpu::{
    COPY, CopyParams, MATRICES, MATRICES_A_ROUND, MULTIPLY_ADDS, MULTIPLY_ADDS_A_ROUND, MULTIPLY_ADDS_END,
    MatricesParams, MultiplyAddsParams, SUBGROUPS,
};
use std::time::Duration;

/// Workgroups: several for each part of the largest GPU.
const GROUPS: usize = 2048;
/// A run is to take this long, so that its start does not count.
const LONG: Duration = Duration::from_millis(20);
/// Runs, of which the fastest counts.
const RUNS: usize = 5;
const LEAST_ROUNDS: u32 = 64;
const MOST_ROUNDS: u32 = 1 << 18;

/// Flops a second of multiply-adds: on matrix units if weights are f16 and there are any, else in f32.
pub(crate) fn flops(gpu: &Gpu) -> Result<f64> {
    match gpu.matrix_units().filter(|_| gpu.dtype() == crate::DType::F16) {
        Some(units) => fastest(gpu, |rounds| matrices(gpu, units, rounds)),
        None => fastest(gpu, |rounds| multiply_adds(gpu, rounds)),
    }
}

/// Bytes a second, read and written, of a copy that touches about so many.
pub(crate) fn copied(gpu: &Gpu, bytes: u64) -> Result<f64> {
    let quads = (bytes / 32).clamp(1, gpu.facts().most_binding / 16) as usize;
    let (from, to) = (gpu.buffer(4 * quads)?, gpu.buffer(4 * quads)?);
    fastest(gpu, |rounds| {
        for _ in 0..rounds / LEAST_ROUNDS {
            gpu.dispatch(&Call {
                kernel: &COPY,
                constants: &[],
                params: bytemuck::bytes_of(&CopyParams { quads: quads as u32, unused: [0; 3] }),
                inputs: &[Some(&from)],
                output: &to,
                groups: gpu.line(quads, COPY.threads),
                work: 16 * quads as u64,
            })?;
        }
        Ok(32 * quads as u64 * u64::from(rounds / LEAST_ROUNDS))
    })
}

/// The highest rate of what `run` says it did.
fn fastest(gpu: &Gpu, run: impl Fn(u32) -> Result<u64>) -> Result<f64> {
    run(LEAST_ROUNDS)?; // compiles it
    let mut rounds = LEAST_ROUNDS;
    while gpu.timed(|| run(rounds))?.1 < LONG && rounds < MOST_ROUNDS {
        rounds *= 2;
    }
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let (done, took) = gpu.timed(|| run(rounds))?;
        best = best.max(done as f64 / took.as_secs_f64().max(1e-9));
    }
    Ok(best)
}

fn multiply_adds(gpu: &Gpu, rounds: u32) -> Result<u64> {
    let threads = GROUPS * MULTIPLY_ADDS.threads as usize;
    let out = gpu.buffer(threads)?;
    let flops = 2 * MULTIPLY_ADDS_A_ROUND * u64::from(rounds) * threads as u64;
    gpu.dispatch(&Call {
        kernel: &MULTIPLY_ADDS,
        constants: &[],
        params: bytemuck::bytes_of(&MultiplyAddsParams { rounds, a: 0.5, b: 0.25, unused: 0 }),
        inputs: &[],
        output: &out,
        groups: [GROUPS as u32, 1, 1],
        work: flops,
    })?;
    if rounds == LEAST_ROUNDS {
        expect(gpu.read(&out, 0, threads)?, MULTIPLY_ADDS_END)?;
    }
    Ok(flops)
}

fn matrices(gpu: &Gpu, units: MatrixUnits, rounds: u32) -> Result<u64> {
    let MatrixUnits { side, lanes } = units;
    let matrix = (side * side) as usize;
    let chains = SUBGROUPS * MATRICES_A_ROUND * GROUPS as u64 / 4;
    let sixteenth = 0x2c00_2c00_u32; // 1 / 16, two a word
    let operand = gpu.upload(&vec![sixteenth; matrix / 2])?;
    let out = gpu.buffer(chains as usize * matrix)?;
    let flops = 2 * u64::from(side).pow(3) * chains * u64::from(rounds);
    gpu.dispatch(&Call {
        kernel: &MATRICES,
        constants: &[("SIDE", side), ("LANES", lanes)],
        params: bytemuck::bytes_of(&MatricesParams { rounds, unused: [0; 3] }),
        inputs: &[Some(&operand)],
        output: &out,
        groups: [GROUPS as u32 / 4, 1, 1],
        work: flops,
    })?;
    if rounds == LEAST_ROUNDS {
        expect(gpu.read(&out, 0, chains as usize * matrix)?, (rounds * side) as f32 / 256.0)?;
    }
    Ok(flops)
}

/// Looks at what was computed: a kernel that does nothing is fast.
fn expect(values: Vec<f32>, expected: f32) -> Result<()> {
    match values.iter().find(|&&value| value != expected) {
        None => Ok(()),
        Some(wrong) => Err(Error::Gpu {
            what: "measuring the GPU's peak".to_owned(),
            reason: format!("it computed {wrong}, not {expected}"),
        }),
    }
}
