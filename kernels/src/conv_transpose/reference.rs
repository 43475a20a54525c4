//! The plain transposed convolution, summed in f64.

use super::Shape;
use crate::matmul::Activation;
use crate::matmul::reference::activate;

/// `activation(conv_transpose(input, w) + bias)`. See the [module](super) for the contract.
pub fn run(shape: &Shape, input: &[f32], w: &[f32], bias: &[f32], activation: Activation, out: &mut [f32]) {
    shape.check(input, out);
    let (c, n) = (shape.channels, shape.out_channels);
    for (at, value) in out.iter_mut().enumerate() {
        let (o, x, y) = (at % n, at / n % (2 * shape.width), at / n / (2 * shape.width));
        let pixel = &input[(y / 2 * shape.width + x / 2) * c..][..c];
        let weight = |c: usize| f64::from(w[((c * n + o) * 2 + y % 2) * 2 + x % 2]);
        let sum: f64 = pixel.iter().enumerate().map(|(c, &v)| f64::from(v) * weight(c)).sum();
        *value = activate(sum + f64::from(bias[o]), activation) as f32;
    }
}
