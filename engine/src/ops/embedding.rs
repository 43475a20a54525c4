//! Rows of a table by their number.

use super::{dims, values};
use crate::gpu::on_gpu;
use crate::second::second;
use crate::{Backend, DType, Error, Result, Tensor, trace};
use sam3i_kernels::embedding::{cpu, reference};

/// `out[i] = table[ids[i]]`. A table in half storage is widened row by row, only where it is read. Spec section 5.
///
/// # Shapes
/// `table [v, c]`, `ids` n numbers; out `[n, c]`.
///
/// # Errors
/// [`Error::Shape`] if the table has other axes; [`Error::Value`] for an id that is not below `v`.
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    if let Some(second) = second("embedding", table.device(), [table.shape(), &[ids.len()]]) {
        return second.compare(embedding(table, ids), |on| embedding(&on.tensor(table)?, ids));
    }
    let [v, c] = dims("embedding", "[v, c]", table)?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= v) {
        let problem = format!("the table has no row {id} (given {:?})", table.shape());
        return Err(Error::Value { op: "embedding", problem });
    }
    let _trace = trace::op("embedding", 0, [table.shape(), &[ids.len()]]);
    let shape = [ids.len(), c];
    if table.dtype() != DType::F32 && !table.device().is_shapes_only() {
        return widened(table, ids, &shape);
    }
    on_gpu!(table.device(), |gpu| crate::gpu::ops::rows::embedding(gpu, table, ids));
    let table = table.contiguous()?;
    let input = values(&table)?;
    Tensor::build(table.device(), &shape, |backend, out| match backend {
        Backend::Reference => reference::run(c, input, ids, out),
        Backend::Cpu(_) => cpu::run(c, input, ids, out),
    })
}

fn widened(table: &Tensor, ids: &[u32], shape: &[usize]) -> Result<Tensor> {
    let mut rows = Vec::with_capacity(shape.iter().product());
    for &id in ids {
        rows.extend(table.narrow(0, id as usize, 1)?.to_vec()?);
    }
    Tensor::from_vec(table.device(), shape, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn a_half_table_is_widened_where_it_is_read() {
        let bits = [0x3f80, 0x4000, 0x4040, 0x4080].to_vec(); // 1, 2, 3, 4
        let table =
            Tensor::from_half_bits(&Device::reference(), &[2, 2], DType::Bf16, bits).expect("4 values");
        let rows = embedding(&table, &[1, 1, 0]).expect("rows exist").to_vec().expect("host");
        assert_eq!(rows, [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    }
}
