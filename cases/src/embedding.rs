//! Cases of the look-up of rows.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};

/// Rows of a table.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// Rows and channels.
    pub shape: [usize; 2],
    /// The rows to take.
    pub ids: Vec<u32>,
    /// How the table lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Embedding {
    /// A copy.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let table = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        ops::embedding::embedding(&self.form.place(device, &self.shape, &table)?, &self.ids)
    }
}

/// Some rows of a small table, in any order, repeatedly.
pub fn any_embedding() -> impl Strategy<Value = Embedding> {
    (1usize..30, 0usize..200).prop_flat_map(|(v, c)| {
        (prop::collection::vec(0..v as u32, 0..200), any_form(), any::<u32>())
            .prop_map(move |(ids, form, seed)| Embedding { shape: [v, c], ids, form, seed })
    })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    vec![Job::new("masks of 5 queries [200, 256]", 0, 2 * 5 * 256, |device| {
        let table = Tensor::from_vec(device, &[200, 256], sequence(200 * 256, 1))?;
        Ok(Box::new(move || ops::embedding::embedding(&table, &[17, 3, 120, 44, 8])))
    })]
}
