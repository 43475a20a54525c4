//! Cases of layer norm.

use super::form::{Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::Tolerance;
use crate::job::{Job, Sizes};
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::layer_norm::flops;

/// Layer norm of a `[rows, c]` tensor.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Rows and channels.
    pub shape: [usize; 2],
    /// Channels of gamma and beta.
    pub affine: usize,
    /// What is added to every value.
    pub mean: f32,
    /// Values among the ordinary ones.
    pub special: Vec<f32>,
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for LayerNorm {
    /// f32 sums of up to 300 terms, so a scale within 1e-6, of results of up to 17 (the root of 300) times a gamma of up
    /// to 4, which beta may cancel.
    const TOLERANCE: Tolerance = Tolerance { absolute: 5e-5, relative: 5e-6 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [rows, c] = self.shape;
        let x: Vec<_> = seeded(rows * c, self.seed, &self.special).iter().map(|v| v + self.mean).collect();
        let gamma = Form::Whole.place(device, &[self.affine], &seeded(self.affine, 1, &[]))?;
        let beta = Form::Whole.place(device, &[self.affine], &seeded(self.affine, 2, &[]))?;
        ops::layer_norm::layer_norm(&self.form.place(device, &self.shape, &x)?, &gamma, &beta, 1e-5)
    }
}

/// Odd shapes, means that are large against the spread, infinities.
pub fn any_layer_norm() -> impl Strategy<Value = LayerNorm> {
    let means = prop::sample::select(vec![0.0, 0.0, 100.0, -1e4, 1e6]);
    let specials = vec![vec![], vec![], vec![0.0, 1e-40, 1e15], vec![f32::NEG_INFINITY], vec![f32::NAN]];
    (0usize..40, 0usize..300, means, prop::sample::select(specials), any_form(), any::<u32>()).prop_map(
        |(rows, c, mean, special, form, seed)| LayerNorm {
            shape: [rows, c],
            affine: c,
            mean,
            special,
            form,
            seed,
        },
    )
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let job = |what, rows: usize, c: usize| {
        Job::new(what, flops(rows, c), 2 * rows * c, move |device| {
            let x = Tensor::from_vec(device, &[rows, c], sequence(rows * c, 1))?;
            let gamma = Tensor::from_vec(device, &[c], sequence(c, 2))?;
            Ok(Box::new(move || ops::layer_norm::layer_norm(&x, &gamma, &gamma, 1e-5)))
        })
        .of_sizes(Sizes::LayerNorm { rows, channels: c })
    };
    vec![
        job("ViT [5184, 1024]", 5184, 1024),
        job("fusion [5184, 256]", 5184, 256),
        job("decoder [201, 256]", 201, 256),
    ]
}
