//! The plain product in int8: the same whole numbers, one dot product an element.

use super::{QuantisedWeight, Row};
use crate::isa::Isa;
use crate::matmul::Epilogue;
use crate::matmul::reference::activate;

/// `out = activation(a wᵀ + bias) + residual` with `a` and `w` rounded as the [module](super) says.
pub fn run(a: &[f32], w: &QuantisedWeight, epilogue: &Epilogue, out: &mut [f32]) {
    let (n, k) = (w.n, w.k);
    assert!(k > 0 && k <= super::LONGEST);
    let m = a.len() / k;
    assert_eq!((a.len(), out.len()), (m * k, m * n));
    epilogue.check(m, n);
    for i in 0..m {
        let parts = parts(&a[i * k..][..k]);
        for j in 0..n {
            let part = |(row, q): &(Row, Vec<i32>)| {
                let w = &w.values[j * k..][..k];
                let dot: i64 = q.iter().zip(w).map(|(&q, &w)| i64::from(q - row.zero) * i64::from(w)).sum();
                dot as f32 * row.scale
            };
            // Each part as the contract says; the second is added to the first.
            let product = parts.iter().map(|p| part(p) * w.scales[j]).reduce(|x, y| x + y).expect("one part");
            let sum = product + epilogue.bias.map_or(0.0, |bias| bias[j]);
            let residual = epilogue.residual.map_or(0.0, |r| r[i * n + j]);
            out[i * n + j] = activate(f64::from(sum), epilogue.activation) as f32 + residual;
        }
    }
}

/// The one or two parts of a row, value by value.
fn parts(a: &[f32]) -> Vec<(Row, Vec<i32>)> {
    let row = Row::measure(Isa::Portable, a);
    let steps = |value: f32| value.clamp(0.0, 255.0).round_ties_even() as i32;
    if row.scale.is_nan() || row.scale == 0.0 {
        return vec![(row, vec![0; a.len()])];
    }
    let span = |values: &[f32]| {
        values.iter().fold(0f32, |x, &v| x.max(v)) - values.iter().fold(0f32, |x, &v| x.min(v))
    };
    let inverse = 255.0 / span(a);
    let first: Vec<i32> = a.iter().map(|&v| steps(v * inverse + row.zero as f32)).collect();
    if !row.is_wide() {
        return vec![(row, first)];
    }
    let rest = |(&v, &q): (&f32, &i32)| v - row.scale * (q - row.zero) as f32;
    let second = a.iter().zip(&first).map(|x| steps(rest(x) * (inverse * 256.0) + 128.0)).collect();
    vec![(row, first), (row.second(), second)]
}
