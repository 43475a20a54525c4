//! Cases of max pool.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::pool::flops;

/// Max pool 2 x 2 of a map.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// Height, width, channels.
    pub shape: Vec<usize>,
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for MaxPool {
    /// A choice.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let values = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        ops::pool::max_pool_2x2(&self.form.place(device, &self.shape, &values)?)
    }
}

/// Even and odd maps, maps too small for a result.
pub fn any_max_pool() -> impl Strategy<Value = MaxPool> {
    (0usize..20, 0usize..20, 0usize..40, any_form(), any::<u32>()).prop_map(|(h, w, c, form, seed)| MaxPool {
        shape: vec![h, w, c],
        form,
        seed,
    })
}

/// Calls of the published model at 1008 pixels. Its fourth level is never used, so the model runs no max pool; this is its size.
pub fn published() -> Vec<Job> {
    let len = 72 * 72 * 256;
    vec![Job::new("the unused fourth level [72, 72, 256]", flops(len / 4), len + len / 4, move |device| {
        let x = Tensor::from_vec(device, &[72, 72, 256], sequence(len, 1))?;
        Ok(Box::new(move || ops::pool::max_pool_2x2(&x)))
    })]
}
