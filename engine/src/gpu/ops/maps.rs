//! Ops over channels-last maps and planes.

use super::rows::subgroup_forms;
use super::{Buffer, Call, Gpu, Line};
use crate::gpu::Site;
use crate::{Result, Tensor};
use sam3i_kernels::gpu::Kernel;
use sam3i_kernels::grid_sample::gpu::{Params as WeightedParams, WEIGHTED, Weighted};
use sam3i_kernels::group_norm::gpu::{
    APPLY, ApplyParams, CHUNK, MERGE, MergeParams, STATISTICS, STATISTICS_SUBGROUPS, StatisticsParams,
};
use sam3i_kernels::resize::gpu::{BILINEAR, BilinearParams, NEAREST, NearestParams};
use sam3i_kernels::{group_norm, pool, resize, window};

/// The maximum of each 2 x 2 square; the result has this shape.
pub(crate) fn max_pool(gpu: &Gpu, x: &Tensor, shape: &[usize; 3]) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("max_pool_2x2")?;
    let items = shape.iter().product();
    let (width, channels) = (x.shape()[1] as u32, x.last_dim() as u32);
    let params = pool::gpu::Params { len: items as u32, x_at, width, channels };
    Line {
        device: x.device(),
        kernel: &pool::gpu::POOL,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input)],
        items,
    }
    .run(gpu, shape)
}

/// A map to windows or back; the result has this shape.
pub(crate) fn windows(
    gpu: &Gpu,
    p: window::Params,
    merge: bool,
    x: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("window")?;
    let items = shape.iter().product();
    let params = window::gpu::Params::new(p, items, x_at as usize);
    Line {
        device: x.device(),
        kernel: &window::gpu::WINDOW,
        constants: &[("MERGE", u32::from(merge))],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input)],
        items,
    }
    .run(gpu, shape)
}

/// A map doubled, alone or added to a finer one.
pub(crate) fn nearest(gpu: &Gpu, fine: Option<&Tensor>, coarse: &Tensor) -> Result<Tensor> {
    let [h, w, c] = coarse.dims()?;
    let coarse = coarse.contiguous()?;
    let fine = fine.map(Tensor::contiguous).transpose()?;
    let (source, coarse_at) = coarse.on_gpu("nearest_2x")?;
    let target = fine.as_ref().map(|fine| fine.on_gpu("nearest_2x")).transpose()?;
    let items = 4 * h * w * c;
    let params = NearestParams {
        len: items as u32,
        fine_at: target.map_or(0, |(_, at)| at),
        coarse_at,
        width: w as u32,
        channels: c as u32,
        unused: [0; 3],
    };
    Line {
        device: coarse.device(),
        kernel: &NEAREST,
        constants: &[("ADD", u32::from(target.is_some()))],
        params: bytemuck::bytes_of(&params),
        inputs: &[target.map(|(buffer, _)| buffer), Some(source)],
        items,
    }
    .run(gpu, &[2 * h, 2 * w, c])
}

/// Planes at another size.
pub(crate) fn bilinear(gpu: &Gpu, sizes: resize::Params, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("bilinear")?;
    let shape = [x.shape()[0], sizes.to[0], sizes.to[1]];
    let params = BilinearParams::new(sizes, shape[0], x_at as usize, 0.0);
    Line {
        device: x.device(),
        kernel: &BILINEAR,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input)],
        items: shape.iter().product(),
    }
    .run(gpu, &shape)
}

/// Where planes at another size are above a threshold, one byte a pixel.
pub(crate) fn bilinear_threshold(
    gpu: &Gpu,
    sizes: resize::Params,
    threshold: f32,
    x: &Tensor,
) -> Result<Vec<u8>> {
    let words = bilinear_bits(gpu, sizes, threshold, x)?;
    Ok(bytes(&words, 0, x.shape()[0] * sizes.to[0] * sizes.to[1]))
}

/// So many bits from a first one on, a byte each.
pub(crate) fn bytes(words: &[u32], first: usize, len: usize) -> Vec<u8> {
    (first..first + len).map(|i| (words[i / 32] >> (i % 32) & 1) as u8).collect()
}

/// Where planes at another size are above a threshold, 32 pixels a word, without gaps between planes.
pub(crate) fn bilinear_bits(
    gpu: &Gpu,
    sizes: resize::Params,
    threshold: f32,
    x: &Tensor,
) -> Result<Vec<u32>> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("bilinear_threshold")?;
    let params = BilinearParams::new(sizes, x.shape()[0], x_at as usize, threshold);
    let pixels = params.len as usize;
    let words = pixels.div_ceil(32);
    let output = gpu.buffer(words)?;
    gpu.dispatch(&Call {
        kernel: &BILINEAR,
        constants: &[("MASK", 1)],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input)],
        output: &output,
        groups: if words == 0 { [0; 3] } else { gpu.line(words, BILINEAR.threads) },
        work: 16 * pixels as u64,
    })?;
    gpu.read(&output, 0, words)
}

/// Weighted sums of pixels of a map; the result has this shape.
pub(crate) fn weighted(gpu: &Gpu, x: &Tensor, sums: &Weighted, shape: &[usize]) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("weighted_pixels")?;
    let starts = gpu.upload(&sums.starts)?;
    let entries = gpu.upload(&sums.entries)?;
    let items = shape.iter().product();
    let params = WeightedParams { len: items as u32, channels: x.last_dim() as u32, x_at, unused: 0 };
    Line {
        device: x.device(),
        kernel: &WEIGHTED,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input), Some(&starts), Some(&entries)],
        items,
    }
    .run(gpu, shape)
}

/// Group norm of a map: statistics of chunks, of groups, then the norm.
pub(crate) fn group_norm(
    gpu: &Gpu,
    p: group_norm::Params,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
) -> Result<Tensor> {
    let [h, w, c] = x.dims()?;
    let (x, gamma, beta) = (x.contiguous()?, gamma.contiguous()?, beta.contiguous()?);
    let (input, x_at) = x.on_gpu("group_norm")?;
    let ((gammas, gamma_at), (betas, beta_at)) = (gamma.on_gpu("group_norm")?, beta.on_gpu("group_norm")?);
    let (pixels, per_group, chunks) = (h * w, c / p.groups, (h * w).div_ceil(CHUNK));
    let parts = gpu.buffer(2 * p.groups * chunks)?;
    let statistics = gpu.buffer(2 * p.groups)?;
    let step = |kernel: &'static Kernel,
                params: &[u8],
                operand: &Buffer,
                output: &Buffer,
                groups: [u32; 3]| {
        let empty = x.is_empty();
        let groups = if empty { [0; 3] } else { groups };
        let work = 16 * x.len() as u64;
        gpu.dispatch(&Call { kernel, constants: &[], params, inputs: &[Some(operand)], output, groups, work })
    };
    let params = StatisticsParams {
        pixels: pixels as u32,
        channels: c as u32,
        per_group: per_group as u32,
        chunk: CHUNK as u32,
        chunks: chunks as u32,
        x_at,
        unused: [0; 2],
    };
    let groups = [chunks as u32, p.groups as u32, 1];
    let site = Site::GroupNorm { pixels, channels: c, groups: p.groups };
    let forms = subgroup_forms(gpu, &STATISTICS_SUBGROUPS);
    let statistics_of_chunks = match gpu.form(site, &forms, &["subgroups"]) {
        "subgroups" => &STATISTICS_SUBGROUPS,
        _ => &STATISTICS,
    };
    step(statistics_of_chunks, bytemuck::bytes_of(&params), input, &parts, groups)?;
    let params = MergeParams {
        pixels: pixels as u32,
        per_group: per_group as u32,
        chunk: CHUNK as u32,
        chunks: chunks as u32,
        eps: p.eps,
        unused: [0; 3],
    };
    step(&MERGE, bytemuck::bytes_of(&params), &parts, &statistics, [p.groups as u32, 1, 1])?;
    let params = ApplyParams {
        len: x.len() as u32,
        channels: c as u32,
        per_group: per_group as u32,
        x_at,
        gamma_at,
        beta_at,
        unused: [0; 2],
    };
    Line {
        device: x.device(),
        kernel: &APPLY,
        constants: &[("RELU", u32::from(p.relu))],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input), Some(gammas), Some(betas), Some(&statistics)],
        items: x.len(),
    }
    .run(gpu, x.shape())
}
