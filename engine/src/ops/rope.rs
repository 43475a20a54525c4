//! Axial rotary position encoding.

use super::{check_f32, check_shape, dims, overwrite, same_device, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, Device, Error, Result, Tensor, trace};
use sam3i_kernels::rope::{self, Params, cpu, flops, reference};

/// Rotates the pairs (2m, 2m + 1) of every head of q and k by the angles of their token; v stays. Overwrites `qkv` if
/// nobody else holds it. Spec section 6 (RoPE).
///
/// # Shapes
/// `qkv [b, n, 3 * heads * d]` in the order q, k, v; `table [n, d / 2, 2]`, see [`rope_table()`]; out as `qkv`.
///
/// # Errors
/// [`Error::Shape`] if the last axis is not `3 * heads * d` for an even `d`, or the table has another shape;
/// [`Error::DType`] for half storage; [`Error::DeviceMismatch`].
pub fn rope(qkv: Tensor, table: &Tensor, heads: usize) -> Result<Tensor> {
    if let Some(second) = second("rope", qkv.device(), [qkv.shape(), table.shape()]) {
        let x = second.tensor(&qkv)?;
        return second.compare(rope(qkv, table, heads), |on| rope(x, &on.tensor(table)?, heads));
    }
    same_device("rope", &[&qkv, table])?;
    let params = checked("rope", &qkv, table, heads)?;
    let [b, n, _] = qkv.dims()?;
    let _trace = trace::op("rope", flops(b * n, params), [qkv.shape(), table.shape()]);
    on_gpu!(qkv.device(), |gpu| crate::gpu::ops::elementwise::rotate(gpu, params, &qkv, table));
    let table = table.contiguous()?;
    let table = values(&table)?;
    overwrite("rope", qkv, |backend, x, out| {
        if let Some(x) = x {
            sam3i_kernels::copy::cpu::flat(x, out);
        }
        match backend {
            Backend::Reference => reference::run(params, table, out),
            Backend::Cpu(isa) => cpu::run(isa, params, table, out),
        }
    })
}

/// The parameters of a call whose operands fit.
pub(super) fn checked(op: &'static str, qkv: &Tensor, table: &Tensor, heads: usize) -> Result<Params> {
    let [_, n, width] = dims(op, "[b, n, 3 * heads * d]", qkv)?;
    if heads == 0 || !width.is_multiple_of(6 * heads) {
        let problem = format!("the last axis is not three times {heads} heads of even size");
        return Err(Error::shape(op, problem, [qkv.shape(), table.shape()]));
    }
    let params = Params { heads, head_dim: width / (3 * heads) };
    check_shape(op, "the table", table, &[n, params.head_dim / 2, 2], qkv)?;
    check_f32(op, qkv)?;
    Ok(params)
}

/// The table of [`rope()`] for a grid of tokens numbered row by row: cosine and sine of `scale x w_j` for the first half of
/// the pairs, of `scale y w_j` for the second; `w_j = theta^(-4 j / head_dim)`, `j < head_dim / 4`. Spec section 6.
///
/// # Shapes
/// Out `[grid_h * grid_w, head_dim / 2, 2]`.
///
/// # Errors
/// [`Error::Value`] if `head_dim` is not a multiple of 4.
pub fn rope_table(
    device: &Device,
    grid_h: usize,
    grid_w: usize,
    head_dim: usize,
    theta: f64,
    scale: f64,
) -> Result<Tensor> {
    if !head_dim.is_multiple_of(4) {
        let problem = format!("the head dimension must be a multiple of 4, not {head_dim}");
        return Err(Error::Value { op: "rope_table", problem });
    }
    let _trace = trace::op("rope_table", 0, []);
    Tensor::build(device, &[grid_h * grid_w, head_dim / 2, 2], |_, out| {
        rope::table(grid_w, head_dim, theta, scale, out);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_meets_the_check_values_of_the_spec() {
        let device = Device::reference();
        let table = |grid, scale| {
            rope_table(&device, grid, grid, 64, 10_000.0, scale)
                .expect("a multiple of 4")
                .to_vec()
                .expect("host")
        };
        let (global, window) = (table(72, 1.0 / 3.0), table(24, 1.0));
        let (token_73, token_27) = (&global[73 * 64..][..64], &window[27 * 64..][..64]);
        for (got, expected) in [
            (&token_73[..4], [0.944_957_f32, 0.327_194_7, 0.982_483_1, 0.186_351_3]),
            (&token_27[..2], [-0.989_992_5, 0.141_12, 0.0, 0.0]),
            (&token_27[32..34], [0.540_302_3, 0.841_471, 0.0, 0.0]),
        ] {
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-6, "{got} {expected}");
            }
        }
        assert_eq!(token_73[..2], token_73[32..34]);
    }
}
