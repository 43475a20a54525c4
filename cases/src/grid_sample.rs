//! Cases of bilinear samples.

use super::form::{Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::Tolerance;
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::grid_sample::flops;

/// Samples of a map at points.
#[derive(Clone, Debug)]
pub struct GridSample {
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// x, y of every point.
    pub points: Vec<[f32; 2]>,
    /// How the map lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for GridSample {
    /// Four f32 terms of up to 4 that may cancel.
    const TOLERANCE: Tolerance = Tolerance { absolute: 1e-6, relative: 1e-6 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let map = seeded(self.shape.iter().product(), self.seed, &[0.0, 1e-40]);
        let points = Form::Whole.place(device, &[self.points.len(), 2], self.points.as_flattened())?;
        ops::grid_sample::grid_sample(&self.form.place(device, &self.shape, &map)?, &points)
    }
}

/// Points inside, on pixels, on the border and far away; empty maps.
pub fn any_grid_sample() -> impl Strategy<Value = GridSample> {
    let far = prop::sample::select(vec![0.0, -1.0, 3.0, 1e30, -1e30]);
    let coordinate = prop_oneof![4 => -3.0f32..20.0, 1 => far];
    let points = prop::collection::vec([coordinate.clone(), coordinate], 0..20);
    (0usize..16, 0usize..16, 0usize..40, points, any_form(), any::<u32>())
        .prop_map(|(h, w, c, points, form, seed)| GridSample { shape: [h, w, c], points, form, seed })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let len = 72 * 72 * 256;
    vec![Job::new("2 example points of [72, 72, 256]", flops(2 * 256), 10 * 256, move |device| {
        let x = Tensor::from_vec(device, &[72, 72, 256], sequence(len, 1))?;
        let points = Tensor::from_vec(device, &[2, 2], vec![10.3, 20.6, 50.1, 7.7])?;
        Ok(Box::new(move || ops::grid_sample::grid_sample(&x, &points)))
    })]
}
