//! The plain attention: one row of scores at a time, in f64.

use super::{Bias, Options, Shape, View};

/// `softmax(scale q kᵀ + bias) v`. See the [module](super) for the contract.
pub fn run(shape: &Shape, q: View, k: View, v: View, options: &Options, out: &mut [f32]) {
    super::check(shape, &q, &k, &v, options, out);
    for b in 0..shape.batch {
        for i in 0..shape.queries {
            for h in 0..shape.heads {
                let scores: Vec<f64> = (0..shape.keys)
                    .map(|j| {
                        let (q, k) = (q.token(shape, b, i, h), k.token(shape, b, j, h));
                        let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                        let seen = is_seen(shape, options, b, i, j);
                        if seen {
                            dot * f64::from(options.scale) + bias(shape, options, h, i, j)
                        } else {
                            f64::NEG_INFINITY
                        }
                    })
                    .collect();
                let weights = softmax(&scores);
                let at = (b * shape.queries + i) * shape.width() + h * shape.head_dim;
                for (c, out) in out[at..][..shape.head_dim].iter_mut().enumerate() {
                    let seen = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
                    *out = seen.map(|(j, w)| w * f64::from(v.token(shape, b, j, h)[c])).sum::<f64>() as f32;
                }
            }
        }
    }
}

fn is_seen(shape: &Shape, options: &Options, b: usize, i: usize, j: usize) -> bool {
    let padding = options.key_padding.is_some_and(|p| p[b * shape.keys + j]);
    !(padding || options.causal && j > i)
}

fn bias(shape: &Shape, options: &Options, h: usize, i: usize, j: usize) -> f64 {
    let row = h * shape.queries + i;
    match options.bias {
        Bias::None => 0.0,
        Bias::Full(bias) => f64::from(bias[row * shape.keys + j]),
        Bias::Factored { rows, columns, width } => {
            let height = shape.keys / width;
            f64::from(rows[row * height + j / width]) + f64::from(columns[row * width + j % width])
        }
    }
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    let exp: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}
