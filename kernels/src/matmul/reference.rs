//! The plain product: one dot product an element, summed in f64.

use super::{Activation, Epilogue};

/// `out[i, j] = activation(sum_p a[i, p] w[j, p] + bias[j]) + residual[i, j]`. See the [module](super).
pub fn run(k: usize, a: &[f32], w: &[f32], epilogue: &Epilogue, out: &mut [f32]) {
    assert!(k > 0);
    let (m, n) = (a.len() / k, w.len() / k);
    assert_eq!((a.len(), w.len(), out.len()), (m * k, n * k, m * n));
    epilogue.check(m, n);
    for i in 0..m {
        for j in 0..n {
            let (a, w) = (&a[i * k..][..k], &w[j * k..][..k]);
            let dot: f64 = a.iter().zip(w).map(|(&a, &w)| f64::from(a) * f64::from(w)).sum();
            let bias = epilogue.bias.map_or(0.0, |b| f64::from(b[j]));
            let residual = epilogue.residual.map_or(0.0, |r| r[i * n + j]);
            out[i * n + j] = activate(dot + bias, epilogue.activation) as f32 + residual;
        }
    }
}

/// The activation in f64.
pub(crate) fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu if x < 0.0 => 0.0,
        Activation::Relu => x,
        Activation::Gelu => crate::elementwise::reference::gelu(x),
    }
}
