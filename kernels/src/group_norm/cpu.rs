//! Group norm, vectorised along the channels: statistics of fixed chunks of pixels in parallel, their union in
//! order, then one pass that scales.

use super::{Params, relu};
use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Elements of a chunk, about: it stays in the second-level cache between its two passes.
const CHUNK: usize = 16 * 1024;

/// Group norm of a map of `gamma.len()` channels. See the [module](super) for the contract.
///
/// With `x` absent, `out` holds the operand and is overwritten by the result.
pub fn run(isa: Isa, params: Params, x: Option<&[f32]>, gamma: &[f32], beta: &[f32], out: &mut [f32]) {
    let (c, groups) = (gamma.len(), params.groups);
    assert!(groups > 0 && c.is_multiple_of(groups) && beta.len() == c);
    if out.is_empty() {
        return;
    }
    let moments = statistics(isa, groups, c, x.unwrap_or(out));
    let (mean, scale, shift) = per_channel(params, &moments, gamma, beta);
    for_rows(out, c, 2 * c, |first, rows| {
        let block = (CHUNK / c).max(1) * c;
        for (i, rows) in rows.chunks_mut(block).enumerate() {
            if let Some(x) = x {
                rows.copy_from_slice(&x[first * c + i * block..][..rows.len()]);
            }
            scale_rows(isa, params.relu, &mean, &scale, &shift, rows);
        }
    });
}

/// Mean and biased variance of each group.
fn statistics(isa: Isa, groups: usize, c: usize, x: &[f32]) -> Vec<(f64, f64)> {
    let pixels = (CHUNK / c).max(1);
    let chunks = (x.len() / c).div_ceil(pixels);
    let mut parts = vec![(0f64, 0f64); chunks * groups];
    for_rows(&mut parts, groups, 2 * pixels * c, |first, parts| {
        let mut scratch = vec![0f32; 3 * c];
        for (i, part) in parts.chunks_exact_mut(groups).enumerate() {
            let at = (first + i) * pixels * c;
            chunk_statistics(isa, c, &x[at..x.len().min(at + pixels * c)], &mut scratch, part);
        }
    });
    (0..groups).map(|g| union(pixels, c / groups, x.len() / c, parts[g..].iter().step_by(groups))).collect()
}

/// Mean and variance of one group from the means and squared deviations of its chunks (Chan, Golub, LeVeque 1979).
fn union<'a>(
    pixels: usize,
    per_group: usize,
    all_pixels: usize,
    parts: impl Iterator<Item = &'a (f64, f64)>,
) -> (f64, f64) {
    let (mut count, mut mean, mut squares) = (0f64, 0f64, 0f64);
    for (i, &(part_mean, part_squares)) in parts.enumerate() {
        let part = (pixels.min(all_pixels - i * pixels) * per_group) as f64;
        let delta = part_mean - mean;
        squares += part_squares + delta * delta * count * part / (count + part);
        count += part;
        mean += delta * part / count;
    }
    (mean, squares / count)
}

multiversion!(
    fn chunk_statistics = chunk_statistics_body(c: usize, x: &[f32], scratch: &mut [f32], out: &mut [(f64, f64)])
);

/// Mean and sum of squared deviations of each group of a chunk; `scratch` is three values a channel.
///
/// The mean of the first pass is off by the rounding of its f32 sums; the second pass measures by how much.
#[inline(always)]
fn chunk_statistics_body(c: usize, x: &[f32], scratch: &mut [f32], out: &mut [(f64, f64)]) {
    let per_group = c / out.len();
    let count = (x.len() / out.len()) as f64;
    let (about, sums) = scratch.split_at_mut(c);
    let (sums, squares) = sums.split_at_mut(c);
    column_sums(x, sums);
    for (about, sums) in about.chunks_exact_mut(per_group).zip(sums.chunks_exact(per_group)) {
        about.fill((sum_f64(sums) / count) as f32);
    }
    column_deviations(x, about, sums, squares);
    for (group, part) in out.iter_mut().enumerate() {
        let channels = group * per_group..(group + 1) * per_group;
        let rest = sum_f64(&sums[channels.clone()]) / count;
        let squares = sum_f64(&squares[channels]) - count * rest * rest;
        let squares = if squares < 0.0 { 0.0 } else { squares };
        *part = (f64::from(about[group * per_group]) + rest, squares);
    }
}

#[inline(always)]
fn column_sums(x: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in x.chunks_exact(sums.len()) {
        for (sum, &v) in sums.iter_mut().zip(row) {
            *sum += v;
        }
    }
}

#[inline(always)]
fn column_deviations(x: &[f32], about: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    sums.fill(0.0);
    squares.fill(0.0);
    for row in x.chunks_exact(sums.len()) {
        for (((sum, square), &v), &about) in sums.iter_mut().zip(&mut *squares).zip(row).zip(about) {
            *sum += v - about;
            *square += (v - about) * (v - about);
        }
    }
}

#[inline(always)]
fn sum_f64(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v)).sum()
}

/// Mean, scale and shift of every channel; what rounding takes off the mean goes into the shift.
fn per_channel(
    params: Params,
    moments: &[(f64, f64)],
    gamma: &[f32],
    beta: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let per_group = gamma.len() / params.groups;
    let mut channels = (Vec::new(), Vec::new(), Vec::new());
    for (i, (&g, &b)) in gamma.iter().zip(beta).enumerate() {
        let (mean, variance) = moments[i / per_group];
        let scale = f64::from(g) / (variance + f64::from(params.eps)).sqrt();
        let rounding = mean - f64::from(mean as f32);
        channels.0.push(mean as f32);
        channels.1.push(scale as f32);
        channels.2.push((f64::from(b) - rounding * scale) as f32);
    }
    channels
}

multiversion!(
    fn scale_rows = scale_rows_body(floor: bool, mean: &[f32], scale: &[f32], shift: &[f32], rows: &mut [f32])
);

#[inline(always)]
fn scale_rows_body(floor: bool, mean: &[f32], scale: &[f32], shift: &[f32], rows: &mut [f32]) {
    for row in rows.chunks_exact_mut(mean.len()) {
        for (((v, &m), &s), &t) in row.iter_mut().zip(mean).zip(scale).zip(shift) {
            let normal = (*v - m) * s + t;
            *v = if floor { relu(normal) } else { normal };
        }
    }
}
