//! The plain softmax: sums in f64.

/// Softmax of each row of `cols` elements. See the [module](super) for the contract.
pub fn run(cols: usize, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    if cols == 0 {
        return;
    }
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        let max = x.iter().fold(f32::NEG_INFINITY, |m, &v| if v.is_nan() { v } else { m.max(v) });
        if max == f32::NEG_INFINITY {
            out.fill(0.0);
            continue;
        }
        let sum: f64 = x.iter().map(|&v| f64::from(v - max).exp()).sum();
        for (o, &v) in out.iter_mut().zip(x) {
            *o = (f64::from(v - max).exp() / sum) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn softmax_of_all_masked_row_is_zero() {
        let mut out = [1.0; 3];
        super::run(3, &[f32::NEG_INFINITY; 3], &mut out);
        assert_eq!(out, [0.0; 3]);
    }
}
