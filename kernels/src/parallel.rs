//! Static splits of rows over the current rayon pool.
//!
//! Rows are independent in every kernel that uses these helpers, so the result is the same for any split.

use rayon::prelude::*;

/// Work (in elements touched) below which a split costs more than it gains.
const SERIAL_WORK: usize = 16 * 1024;

/// Calls `f(first_row, rows)` for consecutive chunks of `out`, in parallel when there is enough work.
///
/// `row_len` is the number of elements of a row of `out`; `work_per_row` the elements a row costs to compute
/// (read and written). `out.len()` must be a multiple of `row_len`.
pub fn for_rows<T: Send>(
    out: &mut [T],
    row_len: usize,
    work_per_row: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    if out.is_empty() || row_len == 0 {
        return;
    }
    assert_eq!(out.len() % row_len, 0, "for_rows: {} is not a multiple of {row_len}", out.len());
    let rows = out.len() / row_len;
    let rows_per_task = rows_per_task(rows, work_per_row);
    if rows_per_task >= rows {
        return f(0, out);
    }
    out.par_chunks_mut(rows_per_task * row_len)
        .enumerate()
        .for_each(|(task, chunk)| f(task * rows_per_task, chunk));
}

/// How many consecutive rows one task takes: four tasks a thread, none smaller than the serial limit.
#[must_use]
pub fn rows_per_task(rows: usize, work_per_row: usize) -> usize {
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return rows.max(1);
    }
    let least = SERIAL_WORK.div_ceil(work_per_row.max(1));
    rows.div_ceil(threads * 4).max(least).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_with_its_own_number() {
        let mut out = vec![0usize; 3 * 1000];
        for_rows(&mut out, 3, 1000, |first, rows| {
            for (i, row) in rows.chunks_mut(3).enumerate() {
                row.fill(first + i + 1);
            }
        });
        assert!(out.chunks(3).enumerate().all(|(i, row)| row.iter().all(|&v| v == i + 1)));
    }

    #[test]
    fn nothing_to_do_is_no_error() {
        for_rows::<f32>(&mut [], 0, 1, |_, _| panic!("no rows"));
    }
}
