//! Cases of group norm.

use super::form::{Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::Tolerance;
use crate::job::{Job, Sizes};
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::group_norm::flops;

/// Group norm of a `[h, w, c]` map.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// Groups.
    pub groups: usize,
    /// What is added to every value.
    pub mean: f32,
    /// Values among the ordinary ones.
    pub special: Vec<f32>,
    /// Whether negative results become zero.
    pub relu: bool,
    /// How the operand lies.
    pub form: Form,
    /// Whether somebody else holds the operand, so that it may not be overwritten.
    pub shared: bool,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for GroupNorm {
    /// f32 sums of up to 16384 squares, pairwise by channel: a scale within 2e-6, of results of up to 100 times a gamma of
    /// up to 4, which beta may cancel.
    const TOLERANCE: Tolerance = Tolerance { absolute: 5e-5, relative: 1e-5 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let [h, w, c] = self.shape;
        let x: Vec<_> = seeded(h * w * c, self.seed, &self.special).iter().map(|v| v + self.mean).collect();
        let gamma = Form::Whole.place(device, &[c], &seeded(c, 1, &[]))?;
        let beta = Form::Whole.place(device, &[c], &seeded(c, 2, &[]))?;
        let x = self.form.place(device, &self.shape, &x)?;
        let _held = self.shared.then(|| x.clone());
        ops::group_norm::group_norm(x, self.groups, &gamma, &beta, 1e-5, self.relu)
    }
}

/// Odd shapes of one chunk and of several, large means, infinities.
pub fn any_group_norm() -> impl Strategy<Value = GroupNorm> {
    let means = prop::sample::select(vec![0.0, 0.0, 100.0, -1e4]);
    let specials = vec![vec![], vec![], vec![0.0, 1e-40, 100.0], vec![f32::INFINITY], vec![f32::NAN]];
    let form = (any_form(), any::<bool>(), any::<u32>());
    (0usize..40, 0usize..40, 1usize..9, 0usize..6, means, prop::sample::select(specials), any::<bool>(), form)
        .prop_map(|(h, w, groups, per_group, mean, special, relu, (form, shared, seed))| GroupNorm {
            shape: [h, w, groups * per_group],
            groups,
            mean,
            special,
            relu,
            form,
            shared,
            seed,
        })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let job = |what, side: usize| {
        let len = side * side * 256;
        Job::new(what, flops(len), 2 * len, move |device| {
            let x = Tensor::from_vec(device, &[side, side, 256], sequence(len, 1))?;
            let gamma = Tensor::from_vec(device, &[256], sequence(256, 2))?;
            Ok(Box::new(move || ops::group_norm::group_norm(x.clone(), 8, &gamma, &gamma, 1e-5, true)))
        })
        .of_sizes(Sizes::GroupNorm { pixels: side * side, channels: 256, groups: 8 })
    };
    vec![job("pixel decoder [144, 144, 256]", 144), job("pixel decoder [288, 288, 256]", 288)]
}
