//! Scaled dot-product attention.

use super::rope::rope;
use super::same_device;
use crate::gpu::on_gpu;
#[cfg(feature = "gpu")]
use crate::gpu::ops::attention::Seen;
use crate::second::{Second, second};
use crate::{Backend, Error, Result, Tensor, trace};
use sam3i_kernels::attention::{self as kernel, Options, Shape, View, cpu, reference};
use sam3i_kernels::isa::Precision;

/// What is added to the scaled scores before the softmax.
#[derive(Clone, Copy, Default)]
pub enum Bias<'a> {
    /// Nothing.
    #[default]
    None,
    /// `[heads, queries, keys]`.
    Full(&'a Tensor),
    /// Keys are the pixels of a map, row by row; pixel `(y, x)` gets `rows[.., y] + columns[.., x]`.
    Factored {
        /// `[heads, queries, map rows]`.
        rows: &'a Tensor,
        /// `[heads, queries, map columns]`.
        columns: &'a Tensor,
    },
}

/// How attention is to run.
#[derive(Clone, Copy)]
pub struct AttentionOptions<'a> {
    /// Heads; channels are split evenly, head by head.
    pub heads: usize,
    /// Query `i` sees keys `0..=i` only.
    pub causal: bool,
    /// `[batch * keys]`; keys that are `true` are not seen.
    pub key_padding: Option<&'a [bool]>,
    /// Added to the scaled scores.
    pub bias: Bias<'a>,
    /// Products stay f32 whatever the device's type.
    pub in_f32: bool,
}

impl AttentionOptions<'_> {
    /// Plain attention with this many heads.
    #[must_use]
    pub fn heads(heads: usize) -> Self {
        Self { heads, causal: false, key_padding: None, bias: Bias::None, in_f32: false }
    }
}

/// `softmax(q kᵀ / sqrt(head_dim) + bias) v`, head by head. Never stores the scores whole.
///
/// # Shapes
/// `q [b, n, heads * d]`, `k, v [b, m, heads * d]` to `[b, n, heads * d]`. The operands may be views whose last axis
/// has no gaps, such as the thirds of a fused projection. A query that sees no key gets zeros.
///
/// # Errors
/// [`Error::Shape`], [`Error::DeviceMismatch`], [`Error::DType`].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, options: AttentionOptions) -> Result<Tensor> {
    if let Some(second) = second("attention", q.device(), [q.shape(), k.shape(), v.shape()]) {
        return second.compare(attention(q, k, v, options), |on| again(on, [q, k, v], options));
    }
    same_device("attention", &[q, k, v])?;
    let shape = shape_of(q, k, v, options.heads)?;
    check_options(&shape, &options)?;
    let _trace = trace::op("attention", shape.flops(), [q.shape(), k.shape(), v.shape()]);

    let [q, k, v] = [with_dense_channels(q)?, with_dense_channels(k)?, with_dense_channels(v)?];
    on_gpu!(q.device(), |gpu| {
        let AttentionOptions { causal, key_padding, bias, in_f32, .. } = options;
        let seen = Seen { causal, key_padding, bias, in_f32 };
        crate::gpu::ops::attention::attention(gpu, &shape, [&q, &k, &v], &seen)
    });
    let (q_view, k_view, v_view) = (view(&q)?, view(&k)?, view(&v)?);
    let dense = match options.bias {
        Bias::None => Vec::new(),
        Bias::Full(bias) => vec![bias.contiguous()?],
        Bias::Factored { rows, columns } => vec![rows.contiguous()?, columns.contiguous()?],
    };
    let bias = match dense.as_slice() {
        [] => kernel::Bias::None,
        [bias] => kernel::Bias::Full(super::values(bias)?),
        [rows, columns, ..] => kernel::Bias::Factored {
            rows: super::values(rows)?,
            columns: super::values(columns)?,
            width: columns.last_dim(),
        },
    };
    let precision = if options.in_f32 { Precision::F32 } else { q.device().precision() };
    let scale = 1.0 / (shape.head_dim as f32).sqrt();
    let options = Options { scale, causal: options.causal, key_padding: options.key_padding, bias };
    let device = q.device();
    Tensor::build(device, q.shape(), |backend, out| match backend {
        Backend::Reference => reference::run(&shape, q_view, k_view, v_view, &options, out),
        Backend::Cpu(isa) => {
            let mut scratch = device.pool().take(cpu::scratch_len(isa, precision, &shape));
            let call = cpu::Call { isa, precision, shape: &shape, options: &options };
            cpu::run(call, q_view, k_view, v_view, &mut scratch.values, out);
        }
    })
}

/// Self-attention over the thirds of a fused projection, whose queries and keys are first rotated by the angles of their tokens: what
/// [`rope()`] and [`attention()`] make of it. A GPU rotates on the way to where its kernel wants them.
///
/// # Shapes
/// `qkv [b, n, 3 * heads * d]` in the order q, k, v; `table [n, d / 2, 2]`, see [`rope_table()`](super::rope::rope_table());
/// out `[b, n, heads * d]`.
///
/// # Errors
/// Those of [`rope()`] and [`attention()`].
pub fn rotary_attention(qkv: Tensor, table: &Tensor, heads: usize) -> Result<Tensor> {
    const OP: &str = "rotary_attention";
    if let Some(second) = second(OP, qkv.device(), [qkv.shape(), table.shape()]) {
        let x = second.tensor(&qkv)?;
        let again = |on: &Second| rotary_attention(x, &on.tensor(table)?, heads);
        return second.compare(rotary_attention(qkv, table, heads), again);
    }
    same_device(OP, &[&qkv, table])?;
    let params = super::rope::checked(OP, &qkv, table, heads)?;
    let [batch, tokens, _] = qkv.dims()?;
    let shape = Shape { batch, heads, head_dim: params.head_dim, queries: tokens, keys: tokens };
    let flops = shape.flops() + sam3i_kernels::rope::flops(batch * tokens, params);
    let _trace = trace::op(OP, flops, [qkv.shape(), table.shape()]);
    #[cfg(feature = "gpu")]
    let device = qkv.device().clone(); // of its own: qkv is given away
    on_gpu!(device, |gpu| crate::gpu::ops::attention::rotary(gpu, params, qkv, table));
    trace::unwatched(|| {
        let qkv = rope(qkv, table, heads)?;
        let third = |i: usize| qkv.narrow(2, i * shape.width(), shape.width());
        attention(&third(0)?, &third(1)?, &third(2)?, AttentionOptions::heads(heads))
    })
}

/// The same on the second device.
fn again(on: &Second, [q, k, v]: [&Tensor; 3], options: AttentionOptions) -> Result<Tensor> {
    let held = match options.bias {
        Bias::None => vec![],
        Bias::Full(bias) => vec![on.tensor(bias)?],
        Bias::Factored { rows, columns } => vec![on.tensor(rows)?, on.tensor(columns)?],
    };
    let bias = match held.as_slice() {
        [] => Bias::None,
        [bias] => Bias::Full(bias),
        [rows, columns, ..] => Bias::Factored { rows, columns },
    };
    attention(&on.tensor(q)?, &on.tensor(k)?, &on.tensor(v)?, AttentionOptions { bias, ..options })
}

fn shape_of(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Shape> {
    let shapes = [q.shape(), k.shape(), v.shape()];
    let ([batch, queries, width], [k_batch, keys, k_width]) = (q.dims()?, k.dims()?);
    if k.shape() != v.shape() || k_batch != batch || k_width != width {
        return Err(Error::shape("attention", "queries, keys and values do not fit", shapes));
    }
    if heads == 0 || width == 0 || width % heads != 0 {
        return Err(Error::shape("attention", format!("channels do not split into {heads} heads"), shapes));
    }
    Ok(Shape { batch, heads, head_dim: width / heads, queries, keys })
}

fn check_options(shape: &Shape, options: &AttentionOptions) -> Result<()> {
    let (heads, queries, keys) = (shape.heads, shape.queries, shape.keys);
    if options.key_padding.is_some_and(|p| p.len() != shape.batch * keys) {
        return Err(Error::shape(
            "attention",
            "the padding mask has not one value a key",
            [&[shape.batch, keys][..]],
        ));
    }
    match options.bias {
        Bias::None => Ok(()),
        Bias::Full(bias) if bias.shape() == [heads, queries, keys] => Ok(()),
        Bias::Full(bias) => {
            Err(Error::shape("attention", "the bias has not the scores' shape", [bias.shape()]))
        }
        Bias::Factored { rows, columns } => {
            let fits = |t: &Tensor| t.shape().len() == 3 && t.shape()[..2] == [heads, queries];
            let area = rows.last_dim() * columns.last_dim();
            if fits(rows) && fits(columns) && area == keys && keys > 0 {
                return Ok(());
            }
            Err(Error::shape(
                "attention",
                "the factored bias has not the scores' shape",
                [rows.shape(), columns.shape()],
            ))
        }
    }
}

/// The tensor itself if neighbouring channels are neighbours in memory, else a copy.
fn with_dense_channels(t: &Tensor) -> Result<Tensor> {
    if t.strides()[2] == 1 { Ok(t.clone()) } else { t.contiguous() }
}

fn view(t: &Tensor) -> Result<View<'_>> {
    let values = if t.device().is_shapes_only() { &[] } else { t.host_strided()? };
    Ok(View { values, batch_stride: t.strides()[0], token_stride: t.strides()[1] })
}
