//! Cases of the mean of rows.

use super::form::{Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::mean_rows::flops;

/// The mean of some rows.
#[derive(Clone, Debug)]
pub struct MeanRows {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Which rows count.
    pub keep: Vec<bool>,
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for MeanRows {
    /// f64 sums in the order of the rows, rounded once.
    const TOLERANCE: Tolerance = EXACT;

    /// f32 sums of up to 60 values of up to 4.
    fn gpu_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 2e-5, relative: 0.0 }
    }

    fn run(&self, device: &Device) -> Result<Tensor> {
        let x = seeded(self.shape.iter().product(), self.seed, &[0.0, 1e30, 1e-40, f32::INFINITY]);
        ops::mean_rows::mean_rows(&self.form.place(device, &self.shape, &x)?, &self.keep)
    }
}

/// All, some and none of the rows.
pub fn any_mean_rows() -> impl Strategy<Value = MeanRows> {
    let keep = prop_oneof![
        4 => prop::collection::vec(any::<bool>(), 0..60),
        1 => prop::collection::vec(Just(false), 0..9),
    ];
    (keep, 0usize..400, any_form(), any::<u32>()).prop_map(|(keep, c, form, seed)| MeanRows {
        shape: [keep.len(), c],
        keep,
        form,
        seed,
    })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    vec![Job::new("the prompt [33, 256]", flops(33, 256), 34 * 256, |device| {
        let x = Tensor::from_vec(device, &[33, 256], sequence(33 * 256, 1))?;
        Ok(Box::new(move || ops::mean_rows::mean_rows(&x, &[true; 33])))
    })]
}
