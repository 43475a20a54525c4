//! Attention.

use super::matrices::{self, MatrixUnits, UnitForm};
use super::{Buffer, Call, Gpu, Line, elementwise};
use crate::gpu::Site;
use crate::ops::attention::Bias;
use crate::{DType, Error, Result, Tensor};
use sam3i_kernels::attention::Shape;
use sam3i_kernels::attention::gpu::{
    CAUSAL, FLASH, FLASH_HALVES, MAP_BIAS, MATRICES_KEYS, MERGE, MOST_CHANNELS, MatricesParams, MergeParams,
    PACK, PADDED, PackParams, Params, Split, WHOLE_BIAS, halves, matrices_head, parts as key_parts,
    queries_of_a_group, shared, shorter, split,
};
use sam3i_kernels::gpu::{Constant, Kernel};
use sam3i_kernels::rope;

/// Queries and keys from which on matrix units pay: below, most of their work would be padding.
const WORTH_IT: usize = 32;

/// What is seen, and what is added to the scores.
pub(crate) struct Seen<'a> {
    pub causal: bool,
    pub key_padding: Option<&'a [bool]>,
    pub bias: Bias<'a>,
    pub in_f32: bool,
}

/// Attention of `q` over `k` and `v`, whose channels lie side by side.
pub(crate) fn attention(gpu: &Gpu, shape: &Shape, qkv: [&Tensor; 3], seen: &Seen) -> Result<Tensor> {
    let [q, ..] = qkv;
    match chosen(gpu, shape, seen.in_f32)? {
        Chosen::Flash(how) => flash(gpu, shape, &how, qkv, seen),
        Chosen::Units(units, form) => {
            let packed = Packed::of(gpu, shape, form, qkv, None)?;
            let output = gpu.buffer(q.len())?;
            packed.attend(gpu, units, form, shape, seen, &output)?;
            Ok(Tensor::from_gpu(q.device(), q.shape(), output))
        }
    }
}

/// Self-attention over the thirds of a fused projection `[b, n, 3 width]`, whose q and k are rotated by the table's angles on the
/// way to where the kernel wants them.
pub(crate) fn rotary(gpu: &Gpu, params: rope::Params, qkv: Tensor, table: &Tensor) -> Result<Tensor> {
    let (qkv, table) = (qkv.contiguous()?, table.contiguous()?);
    let [batch, tokens, _] = qkv.dims()?;
    let (heads, head_dim) = (params.heads, params.head_dim);
    let shape = Shape { batch, heads, head_dim, queries: tokens, keys: tokens };
    let width = shape.width();
    let seen = Seen { causal: false, key_padding: None, bias: Bias::None, in_f32: false };
    let third = |t: &Tensor, i: usize| t.narrow(2, i * width, width);
    match chosen(gpu, &shape, false)? {
        Chosen::Flash(how) => {
            let rotated = elementwise::rotated_thirds(gpu, params, &qkv, &table)?;
            let (q, k, v) = (third(&rotated, 0)?, third(&rotated, 1)?, third(&qkv, 2)?);
            flash(gpu, &shape, &how, [&q, &k, &v], &seen)
        }
        Chosen::Units(units, form) => {
            let device = qkv.device().clone();
            let (q, k, v) = (third(&qkv, 0)?, third(&qkv, 1)?, third(&qkv, 2)?);
            let packed = Packed::of(gpu, &shape, form, [&q, &k, &v], Some(&table))?;
            drop((q, k, v, qkv)); // its memory serves the result
            let output = gpu.buffer(batch * tokens * width)?;
            packed.attend(gpu, units, form, &shape, &seen, &output)?;
            Ok(Tensor::from_gpu(&device, &[batch, tokens, width], output))
        }
    }
}

/// How a call runs.
enum Chosen {
    Flash(Flash),
    Units(MatrixUnits, &'static UnitForm),
}

/// A form without matrix units.
#[derive(Clone, Copy)]
struct Flash {
    name: &'static str,
    kernel: &'static Kernel,
    split: Split,
    /// Parts of the keys, each for a workgroup.
    parts: usize,
}

fn chosen(gpu: &Gpu, shape: &Shape, in_f32: bool) -> Result<Chosen> {
    let half = gpu.dtype() == DType::F16 && !in_f32;
    let flashes = flashes(gpu, shape, half);
    if flashes.is_empty() {
        let problem = format!("heads of {} channels; the GPU takes {MOST_CHANNELS} at most", shape.head_dim);
        return Err(Error::shape("attention", problem, [&[shape.batch, shape.queries, shape.width()][..]]));
    }
    let site = Site::Attention { shape: *shape, half };
    let form = gpu.form(site, &forms(gpu, shape, half), &rule(gpu, shape, half));
    if let Some((units, form)) = gpu.on_units("attention", form) {
        return Ok(Chosen::Units(units, form));
    }
    Ok(Chosen::Flash(*flashes.iter().find(|flash| flash.name == form).unwrap_or(&flashes[0])))
}

/// The forms that attention takes of itself, best first.
pub(crate) fn rule(gpu: &Gpu, shape: &Shape, half: bool) -> Vec<&'static str> {
    let mut rule = Vec::new();
    if on_units(shape, half) && shape.queries >= WORTH_IT && shape.keys >= WORTH_IT {
        rule.extend(matrices::usual_attentions(gpu, shape));
    }
    // Few queries leave a card idle, unless they share the keys out; no other form does.
    rule.extend(flashes(gpu, shape, half).iter().any(|flash| flash.parts > 1).then_some("split"));
    rule.extend(half.then_some("halves"));
    rule
}

/// The forms of a call, the one that every GPU runs first.
pub(crate) fn forms(gpu: &Gpu, shape: &Shape, half: bool) -> Vec<&'static str> {
    let flashes = flashes(gpu, shape, half).into_iter().map(|flash| flash.name);
    let mut forms: Vec<_> = flashes.collect();
    if on_units(shape, half) {
        // 128 channels of 32 queries would not stay in registers.
        let suits = |name: &_| *name != "matrices_128" || shape.head_dim <= 64;
        forms.extend(matrices::names(gpu, "attention").filter(suits));
    }
    forms
}

/// Whether matrix units take the call, where there are any.
fn on_units(shape: &Shape, half: bool) -> bool {
    half && matrices_head(shape.head_dim).is_some()
}

/// The forms of attention without matrix units; none if heads are too large.
fn flashes(gpu: &Gpu, shape: &Shape, half: bool) -> Vec<Flash> {
    let Some(whole) = split(shape.head_dim) else { return Vec::new() };
    let flash = |name, split| Flash { name, kernel: &FLASH, split, parts: 1 };
    let mut forms = vec![flash("whole", whole), flash("short", shorter(whole))];
    forms.extend(shared(whole).map(|split| flash("shared", split)));
    let parts = key_parts(shape, &whole);
    if parts > 1 {
        forms.push(Flash { parts, ..flash("split", whole) });
    }
    if half && gpu.fits(&FLASH_HALVES, &halves(whole)) {
        forms.push(Flash { kernel: &FLASH_HALVES, ..flash("halves", halves(whole)) });
    }
    forms
}

fn stride(t: &Tensor, axis: usize) -> u32 {
    t.strides()[axis] as u32
}

/// What is seen and added, on the GPU.
struct Added {
    padding: Option<Buffer>,
    biases: Vec<Tensor>,
}

impl Added {
    fn new(gpu: &Gpu, seen: &Seen) -> Result<Self> {
        let biases = match seen.bias {
            Bias::None => Vec::new(),
            Bias::Full(bias) => vec![bias.contiguous()?],
            Bias::Factored { rows, columns } => vec![rows.contiguous()?, columns.contiguous()?],
        };
        let padding = seen.key_padding.map(|flags| {
            let words: Vec<u32> = flags.iter().map(|&padding| u32::from(padding)).collect();
            gpu.upload(&words)
        });
        Ok(Self { padding: padding.transpose()?, biases })
    }

    /// The biases, and where each begins.
    fn biases(&self) -> Result<[Option<(&Buffer, u32)>; 2]> {
        let bias = |i: usize| self.biases.get(i).map(|t| t.on_gpu("attention")).transpose();
        Ok([bias(0)?, bias(1)?])
    }

    fn map_width(&self) -> u32 {
        self.biases.get(1).map_or(1, |t| t.last_dim() as u32)
    }

    fn kind(&self, seen: &Seen) -> u32 {
        let bias = [0, WHOLE_BIAS, MAP_BIAS][self.biases.len()];
        let flag = |there: bool, flag: u32| if there { flag } else { 0 };
        bias | flag(seen.causal, CAUSAL) | flag(self.padding.is_some(), PADDED)
    }

    fn constants(&self, seen: &Seen) -> [Constant; 3] {
        [
            ("BIAS", self.biases.len() as u32),
            ("CAUSAL", u32::from(seen.causal)),
            ("PADDED", u32::from(self.padding.is_some())),
        ]
    }
}

/// On the cores that everything runs on.
fn flash(gpu: &Gpu, shape: &Shape, how: &Flash, [q, k, v]: [&Tensor; 3], seen: &Seen) -> Result<Tensor> {
    let Flash { kernel, split, parts: key_parts, .. } = how;
    let rows = shape.batch * shape.queries * shape.heads;
    let in_parts = *key_parts > 1;
    let output = gpu.buffer(if in_parts { key_parts * rows * (shape.head_dim + 2) } else { q.len() })?;
    let added = Added::new(gpu, seen)?;
    let biases = added.biases()?;
    let operands = [q.on_gpu("attention")?, k.on_gpu("attention")?, v.on_gpu("attention")?];
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
        bias_at: biases[0].map_or(0, |(_, at)| at),
        columns_at: biases[1].map_or(0, |(_, at)| at),
        map_width: added.map_width(),
        scale: 1.0 / (shape.head_dim as f32).sqrt(),
        first_block: 0,
        first_problem: 0,
        parts: *key_parts as u32,
        problems: shape.batch as u32,
        unused: [0; 3],
    };
    let kind = [("F16", u32::from(kernel.needs.f16)), ("SPLIT", u32::from(in_parts))];
    let constants = [&kind[..], &split[..], &added.constants(seen)].concat();
    let inputs = [
        Some(operands[0].0),
        Some(operands[1].0),
        Some(operands[2].0),
        added.padding.as_ref(),
        biases[0].map(|(buffer, _)| buffer),
        biases[1].map(|(buffer, _)| buffer),
    ];
    for part in parts(shape, queries_of_a_group(split), gpu.bounds().work) {
        let params = Params { first_block: part.first_block, first_problem: part.first_problem, ..params };
        let [x, y, z] = part.groups;
        gpu.dispatch(&Call {
            kernel,
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            inputs: &inputs,
            output: &output,
            groups: [x, y, z * params.parts],
            work: part.work,
        })?;
    }
    if !in_parts {
        return Ok(Tensor::from_gpu(q.device(), q.shape(), output));
    }
    let params = MergeParams {
        len: q.len() as u32,
        head_dim: shape.head_dim as u32,
        rows: rows as u32,
        parts: params.parts,
    };
    Line {
        device: q.device(),
        kernel: &MERGE,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        inputs: &[Some(&output)],
        items: q.len(),
    }
    .run(gpu, q.shape())
}

/// Queries, keys and values as matrix units read them, f16.
pub(super) struct Packed {
    operands: [Buffer; 3],
    /// Tokens of a head, with those that fill the last block: queries and keys.
    rows: [usize; 2],
    head: usize,
}

impl Packed {
    fn of(
        gpu: &Gpu,
        shape: &Shape,
        form: &UnitForm,
        qkv: [&Tensor; 3],
        table: Option<&Tensor>,
    ) -> Result<Self> {
        let [q, k, v] = qkv;
        let operands = [q.on_gpu("attention")?, k.on_gpu("attention")?, v.on_gpu("attention")?];
        let strides = qkv.map(|t| [t.strides()[0], t.strides()[1]]);
        Self::new(gpu, shape, form, operands, strides, table.map(|t| t.on_gpu("attention")).transpose()?)
    }

    /// Packs operands, which are buffers with where they begin and elements between problems and tokens; q and k are rotated by the table's angles, if there is
    /// one.
    pub(super) fn new(
        gpu: &Gpu,
        shape: &Shape,
        form: &UnitForm,
        operands: [(&Buffer, u32); 3],
        strides: [[usize; 2]; 3],
        table: Option<(&Buffer, u32)>,
    ) -> Result<Self> {
        let problem = || format!("heads of {} channels on matrix units", shape.head_dim);
        let head = matrices_head(shape.head_dim).ok_or_else(|| Error::shape("attention", problem(), []))?;
        let rows = [
            shape.queries.next_multiple_of(4 * form.each as usize),
            shape.keys.next_multiple_of(MATRICES_KEYS),
        ];
        // Weights are powers of two.
        let scale = std::f32::consts::LOG2_E / (shape.head_dim as f32).sqrt();
        let pack = |i: usize, tokens: usize, rows: usize, table: Option<(&Buffer, u32)>, scale| {
            let words = shape.batch * shape.heads * rows * head / 2;
            let output = gpu.buffer(words)?;
            let params = PackParams {
                words: words as u32,
                tokens: tokens as u32,
                rows: rows as u32,
                heads: shape.heads as u32,
                head_dim: shape.head_dim as u32,
                row_words: head as u32 / 2,
                x_at: operands[i].1,
                x_batch: strides[i][0] as u32,
                x_token: strides[i][1] as u32,
                table_at: table.map_or(0, |(_, at)| at),
                scale,
                unused: 0,
            };
            gpu.dispatch(&Call {
                kernel: &PACK,
                constants: &[("ROTATED", u32::from(table.is_some()))],
                params: bytemuck::bytes_of(&params),
                inputs: &[Some(operands[i].0), table.map(|(buffer, _)| buffer)],
                output: &output,
                groups: if words == 0 { [0; 3] } else { gpu.line(words, PACK.threads) },
                work: 16 * words as u64,
            })?;
            Ok::<_, Error>(output)
        };
        let operands = [
            pack(0, shape.queries, rows[0], table, scale)?,
            pack(1, shape.keys, rows[1], table, 1.0)?,
            pack(2, shape.keys, rows[1], None, 1.0)?,
        ];
        Ok(Self { operands, rows, head })
    }

    /// Attention of the packed operands.
    pub(super) fn attend(
        &self,
        gpu: &Gpu,
        units: MatrixUnits,
        form: &UnitForm,
        shape: &Shape,
        seen: &Seen,
        output: &Buffer,
    ) -> Result<()> {
        let UnitForm { kernel, each: rows, .. } = *form;
        let added = Added::new(gpu, seen)?;
        let biases = added.biases()?;
        let params = MatricesParams {
            queries: shape.queries as u32,
            keys: shape.keys as u32,
            heads: shape.heads as u32,
            head_dim: shape.head_dim as u32,
            q_rows: self.rows[0] as u32,
            k_rows: self.rows[1] as u32,
            bias_at: biases[0].map_or(0, |(_, at)| at),
            columns_at: biases[1].map_or(0, |(_, at)| at),
            map_width: added.map_width(),
            first_block: 0,
            first_problem: 0,
            kind: added.kind(seen),
        };
        let kind = ("PLAIN", u32::from(params.kind == 0));
        let sizes = [("HEAD", self.head as u32), ("ROWS", rows), kind];
        let constants = [&units.constants()[..], &sizes].concat();
        let [q, k, v] = &self.operands;
        let inputs = [
            Some(q),
            Some(k),
            Some(v),
            added.padding.as_ref(),
            biases[0].map(|(buffer, _)| buffer),
            biases[1].map(|(buffer, _)| buffer),
        ];
        for part in parts(shape, 4 * rows as usize, gpu.bounds().work) {
            let params =
                MatricesParams { first_block: part.first_block, first_problem: part.first_problem, ..params };
            gpu.dispatch(&Call {
                kernel,
                constants: &constants,
                params: bytemuck::bytes_of(&params),
                inputs: &inputs,
                output,
                groups: part.groups,
                work: part.work,
            })?;
        }
        Ok(())
    }
}

/// Some of the queries of some of the problems, all heads.
struct Part {
    first_block: u32,
    first_problem: u32,
    groups: [u32; 3],
    work: u64,
}

/// All queries in parts of at most so much work: whole problems, or blocks of queries of one.
fn parts(shape: &Shape, block: usize, most_work: u64) -> Vec<Part> {
    let blocks = shape.queries.div_ceil(block);
    if blocks == 0 || shape.batch == 0 {
        return Vec::new();
    }
    let work_of_block = 4 * (block * shape.keys) as u64 * shape.width() as u64;
    let blocks_each = (most_work / work_of_block.max(1)).clamp(1, 65_535) as usize;
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
            let most = crate::gpu::GpuBounds::default().work;
            for part in parts(&shape, 64, most) {
                assert!(part.work <= most || part.groups[0] * part.groups[2] == 1);
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
