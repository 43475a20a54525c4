//! The plain convolution: every output value summed by itself, in f64.

use super::Shape;
use crate::matmul::Activation;
use crate::matmul::reference::activate;

/// `activation(conv(input, w) + bias)`; `w` as checkpoints store it. See the [module](super) for the contract.
pub fn run(
    shape: &Shape,
    input: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    assert_eq!(input.len(), shape.height * shape.width * shape.channels);
    assert_eq!((w.len(), out.len()), (shape.out_channels * shape.fan_in(), shape.out_len()));
    let (_, out_width) = shape.out_size();
    for (at, pixel) in out.chunks_exact_mut(shape.out_channels.max(1)).enumerate() {
        let (y, x) = (at / out_width, at % out_width);
        for (o, value) in pixel.iter_mut().enumerate() {
            let sum = dot(shape, input, &w[o * shape.fan_in()..], y, x);
            *value = activate(sum + bias.map_or(0.0, |b| f64::from(b[o])), activation) as f32;
        }
    }
}

fn dot(shape: &Shape, input: &[f32], w: &[f32], y: usize, x: usize) -> f64 {
    let mut sum = 0.0;
    for i in 0..shape.kernel {
        for j in 0..shape.kernel {
            let (y, x) = (y * shape.stride + i, x * shape.stride + j);
            let inside = (shape.padding..shape.height + shape.padding).contains(&y)
                && (shape.padding..shape.width + shape.padding).contains(&x);
            if !inside {
                continue;
            }
            let pixel = ((y - shape.padding) * shape.width + x - shape.padding) * shape.channels;
            for c in 0..shape.channels {
                sum += f64::from(input[pixel + c]) * f64::from(w[(c * shape.kernel + i) * shape.kernel + j]);
            }
        }
    }
    sum
}
