//! Cases of max pool.

use super::Case;
use super::form::{EXTREMES, Form, any_form, seeded};
use crate::compare::{EXACT, Tolerance};
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};

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
