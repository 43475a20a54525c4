//! Cases of concatenation.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};

/// Tensors one after the other.
#[derive(Clone, Debug)]
pub struct Concat {
    /// The shapes and forms of the operands.
    pub parts: Vec<(Vec<usize>, Form)>,
    /// The axis.
    pub axis: usize,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Concat {
    /// A copy.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let part = |(i, (shape, form)): (usize, &(Vec<usize>, Form))| {
            form.place(device, shape, &seeded(shape.iter().product(), self.seed ^ i as u32, &EXTREMES))
        };
        let parts = self.parts.iter().enumerate().map(part).collect::<Result<Vec<_>>>()?;
        ops::concat::concat(&parts.iter().collect::<Vec<_>>(), self.axis)
    }
}

/// One to four operands along any axis, some of them empty.
pub fn any_concat() -> impl Strategy<Value = Concat> {
    let shapes = prop_oneof![
        4 => prop::collection::vec(0usize..9, 1..5),
        1 => prop::collection::vec(60usize..120, 2..3),
    ];
    let parts = prop::collection::vec((0usize..70, any_form()), 1..5);
    (shapes, 0usize..4, parts, any::<u32>()).prop_map(|(shape, axis, parts, seed)| {
        let axis = axis % shape.len();
        let with_extent = |(n, form)| {
            let mut shape = shape.clone();
            shape[axis] = n;
            (shape, form)
        };
        Concat { parts: parts.into_iter().map(with_extent).collect(), axis, seed }
    })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    vec![Job::new("prompt [32, 256] and [1, 256]", 0, 2 * 33 * 256, |device| {
        let text = Tensor::from_vec(device, &[32, 256], sequence(32 * 256, 1))?;
        let geometry = Tensor::from_vec(device, &[1, 256], sequence(256, 2))?;
        Ok(Box::new(move || ops::concat::concat(&[&text, &geometry], 0)))
    })]
}
