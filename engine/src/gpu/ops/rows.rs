//! Ops over rows: norms and softmax, look-ups, means, sine codes.

use super::{Call, Gpu, Line};
use crate::gpu::Site;
use crate::{Result, Tensor};
use sam3i_kernels::gpu::Kernel;
use sam3i_kernels::{embedding, layer_norm, mean_rows, sine, softmax};

/// A kernel with a workgroup a row.
fn row_by_row(
    gpu: &Gpu,
    kernel: &'static Kernel,
    params: &[u8],
    inputs: &[&super::Buffer],
    x: &Tensor,
    rows: usize,
) -> Result<Tensor> {
    let output = gpu.buffer(x.len())?;
    let inputs: Vec<_> = inputs.iter().map(|&input| Some(input)).collect();
    gpu.dispatch(&Call {
        kernel,
        constants: &[],
        params,
        inputs: &inputs,
        output: &output,
        groups: if x.is_empty() { [0; 3] } else { gpu.line(rows, 1) },
        work: 32 * x.len() as u64,
    })?;
    Ok(Tensor::from_gpu(x.device(), x.shape(), output))
}

/// Softmax over the last axis.
pub(crate) fn softmax(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("softmax")?;
    let columns = x.last_dim();
    let rows = x.len() / columns.max(1);
    let params = softmax::gpu::Params { rows: rows as u32, columns: columns as u32, x_at, unused: 0 };
    let forms = subgroup_forms(gpu, &softmax::gpu::SUBGROUPS);
    let kernel = match gpu.form(Site::Softmax { rows, columns }, &forms, &["subgroups"]) {
        "subgroups" => &softmax::gpu::SUBGROUPS,
        _ => &softmax::gpu::SOFTMAX,
    };
    row_by_row(gpu, kernel, bytemuck::bytes_of(&params), &[input], &x, rows)
}

/// Layer norm over the last axis.
pub(crate) fn layer_norm(gpu: &Gpu, x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
    let (x, gamma, beta) = (x.contiguous()?, gamma.contiguous()?, beta.contiguous()?);
    let (input, x_at) = x.on_gpu("layer_norm")?;
    let ((gammas, gamma_at), (betas, beta_at)) = (gamma.on_gpu("layer_norm")?, beta.on_gpu("layer_norm")?);
    let channels = x.last_dim();
    let rows = x.len() / channels.max(1);
    let params = layer_norm::gpu::Params {
        rows: rows as u32,
        channels: channels as u32,
        x_at,
        gamma_at,
        beta_at,
        eps,
        unused: [0; 2],
    };
    let params = bytemuck::bytes_of(&params);
    let site = Site::LayerNorm { rows, channels };
    let forms = subgroup_forms(gpu, &layer_norm::gpu::SUBGROUPS);
    let kernel = match gpu.form(site, &forms, &["subgroups"]) {
        "subgroups" => &layer_norm::gpu::SUBGROUPS,
        _ => &layer_norm::gpu::LAYER_NORM,
    };
    row_by_row(gpu, kernel, params, &[input, gammas, betas], &x, rows)
}

/// The forms of an op whose sums subgroups may make, in this kernel.
pub(crate) fn subgroup_forms(gpu: &Gpu, kernel: &Kernel) -> Vec<&'static str> {
    let mut forms = vec!["portable"];
    if gpu.fits(kernel, &[]) {
        forms.push("subgroups");
    }
    forms
}

/// Rows of a table.
pub(crate) fn embedding(gpu: &Gpu, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let table = table.contiguous()?;
    let (rows, table_at) = table.on_gpu("embedding")?;
    let channels = table.last_dim();
    let ids_on_gpu = gpu.upload(ids)?;
    let items = ids.len() * channels;
    let params = embedding::gpu::Params { len: items as u32, channels: channels as u32, table_at, unused: 0 };
    Line {
        device: table.device(),
        kernel: &embedding::gpu::EMBEDDING,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(rows), Some(&ids_on_gpu)],
        items,
    }
    .run(gpu, &[ids.len(), channels])
}

/// The mean of the rows that count.
pub(crate) fn mean_rows(gpu: &Gpu, x: &Tensor, keep: &[bool]) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (input, x_at) = x.on_gpu("mean_rows")?;
    let columns = x.last_dim();
    let kept: Vec<u32> = keep.iter().map(|&kept| u32::from(kept)).collect();
    let kept = gpu.upload(&kept)?;
    let params = mean_rows::gpu::Params::new(keep, columns, x_at as usize);
    Line {
        device: x.device(),
        kernel: &mean_rows::gpu::MEAN_ROWS,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input), Some(&kept)],
        items: columns,
    }
    .run(gpu, &[columns])
}

/// Sine codes of numbers; the result has this shape.
pub(crate) fn sine_code(gpu: &Gpu, numbers: &Tensor, channels: usize, shape: &[usize]) -> Result<Tensor> {
    let numbers = numbers.contiguous()?;
    let (input, x_at) = numbers.on_gpu("sine_code")?;
    let frequencies = gpu.upload(&sine::gpu::frequencies(channels))?;
    let pairs = numbers.len() * channels / 2;
    let half_channels = channels as u32 / 2;
    let params = sine::gpu::Params { pairs: pairs as u32, x_at, half_channels, unused: 0 };
    Line {
        device: numbers.device(),
        kernel: &sine::gpu::SINE,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(input), Some(&frequencies)],
        items: pairs,
    }
    .run(gpu, shape)
}
