//! Attention.

use super::{Call, Gpu};
use crate::gpu::Site;
use crate::ops::attention::Bias;
use crate::{Error, Result, Tensor};
use sam3i_kernels::attention::Shape;
use sam3i_kernels::attention::gpu::{
    FLASH, MOST_CHANNELS, Params, Split, queries_of_a_group, shared, shorter, split,
};

/// Flops of a dispatch, so that even a slow GPU is done with it in a fraction of a second.
const MOST_WORK: u64 = 32_000_000_000;

/// What is seen, and what is added to the scores.
pub(crate) struct Seen<'a> {
    pub causal: bool,
    pub key_padding: Option<&'a [bool]>,
    pub bias: Bias<'a>,
}

/// Attention of `q` over `k` and `v`, whose channels lie side by side.
pub(crate) fn attention(gpu: &Gpu, shape: &Shape, [q, k, v]: [&Tensor; 3], seen: &Seen) -> Result<Tensor> {
    let output = gpu.buffer(q.len())?;
    let forms = forms(shape.head_dim);
    if forms.is_empty() {
        let problem = format!("heads of {} channels; the GPU takes {MOST_CHANNELS} at most", shape.head_dim);
        return Err(Error::shape("attention", problem, [q.shape()]));
    }
    let names: Vec<_> = forms.iter().map(|(name, _)| *name).collect();
    let form = gpu.form(Site::Attention(*shape), &names, None);
    let split = forms.iter().find(|(name, _)| *name == form).map_or(forms[0].1, |(_, split)| *split);
    let dense = match seen.bias {
        Bias::None => Vec::new(),
        Bias::Full(bias) => vec![bias.contiguous()?],
        Bias::Factored { rows, columns } => vec![rows.contiguous()?, columns.contiguous()?],
    };
    let biases = dense.iter().map(|t| t.on_gpu("attention")).collect::<Result<Vec<_>>>()?;
    let padding = seen.key_padding.map(|flags| {
        let words: Vec<u32> = flags.iter().map(|&padding| u32::from(padding)).collect();
        gpu.upload(&words)
    });
    let padding = padding.transpose()?;
    let operands = [q.on_gpu("attention")?, k.on_gpu("attention")?, v.on_gpu("attention")?];
    let stride = |t: &Tensor, axis: usize| t.strides()[axis] as u32;
    let params = Params {
        queries: shape.queries as u32,
        keys: shape.keys as u32,
        heads: shape.heads as u32,
        head_dim: shape.head_dim as u32,
        q_at: operands[0].1,
        q_batch: stride(q, 0),
        q_token: stride(q, 1),
        k_at: operands[1].1,
        k_batch: stride(k, 0),
        k_token: stride(k, 1),
        v_at: operands[2].1,
        v_batch: stride(v, 0),
        v_token: stride(v, 1),
        bias_at: biases.first().map_or(0, |(_, at)| *at),
        columns_at: biases.get(1).map_or(0, |(_, at)| *at),
        map_width: dense.get(1).map_or(1, |t| t.last_dim() as u32),
        scale: 1.0 / (shape.head_dim as f32).sqrt(),
        first_block: 0,
        first_problem: 0,
        unused: 0,
    };
    let constants = [
        split[0],
        split[1],
        split[2],
        ("BIAS", biases.len() as u32),
        ("CAUSAL", u32::from(seen.causal)),
        ("PADDED", u32::from(padding.is_some())),
    ];
    let inputs = [
        Some(operands[0].0),
        Some(operands[1].0),
        Some(operands[2].0),
        padding.as_ref(),
        biases.first().map(|(buffer, _)| *buffer),
        biases.get(1).map(|(buffer, _)| *buffer),
    ];
    for part in parts(shape, queries_of_a_group(&split)) {
        let params = Params { first_block: part.first_block, first_problem: part.first_problem, ..params };
        gpu.dispatch(&Call {
            kernel: &FLASH,
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            inputs: &inputs,
            output: &output,
            groups: part.groups,
            work: part.work,
        })?;
    }
    Ok(Tensor::from_gpu(q.device(), q.shape(), output))
}

/// The forms of attention for heads of this size; none if they are too large.
pub(crate) fn forms(head_dim: usize) -> Vec<(&'static str, Split)> {
    let Some(whole) = split(head_dim) else { return Vec::new() };
    let shared = shared(whole).map(|split| ("shared", split));
    [("whole", whole), ("short", shorter(whole))].into_iter().chain(shared).collect()
}

/// Some of the queries of some of the problems, all heads.
struct Part {
    first_block: u32,
    first_problem: u32,
    groups: [u32; 3],
    work: u64,
}

/// All queries in parts of bounded work: whole problems, or blocks of queries of one.
fn parts(shape: &Shape, block: usize) -> Vec<Part> {
    let blocks = shape.queries.div_ceil(block);
    if blocks == 0 || shape.batch == 0 {
        return Vec::new();
    }
    let work_of_block = 4 * (block * shape.keys) as u64 * shape.width() as u64;
    let blocks_each = (MOST_WORK / work_of_block.max(1)).clamp(1, 65_535) as usize;
    let problems_each = (blocks_each / blocks).max(1);
    let mut parts = Vec::new();
    for problem in (0..shape.batch).step_by(problems_each) {
        let problems = problems_each.min(shape.batch - problem);
        for first in (0..blocks).step_by(blocks_each) {
            let count = blocks_each.min(blocks - first);
            parts.push(Part {
                first_block: first as u32,
                first_problem: problem as u32,
                groups: [count as u32, shape.heads as u32, problems as u32],
                work: work_of_block * (count * problems) as u64,
            });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_query_of_every_problem_once() {
        for (batch, queries, keys) in [(1, 5184, 5184), (9, 576, 576), (3, 1, 1), (2, 65, 40_000), (1, 0, 4)]
        {
            let shape = Shape { batch, heads: 16, head_dim: 64, queries, keys };
            let mut seen = vec![0; batch * queries.div_ceil(64)];
            for part in parts(&shape, 64) {
                assert!(part.work <= MOST_WORK || part.groups[0] * part.groups[2] == 1);
                for z in 0..part.groups[2] {
                    for x in 0..part.groups[0] {
                        let problem = (part.first_problem + z) as usize;
                        seen[problem * queries.div_ceil(64) + (part.first_block + x) as usize] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{batch} {queries} {keys}");
        }
    }
}
