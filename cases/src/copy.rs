//! Cases of the copy of strided views.

use super::form::{EXTREMES, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};

/// A view with its axes in some order, narrowed, and perhaps repeated along a new axis.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Shape of the whole tensor.
    pub shape: Vec<usize>,
    /// Order of the axes of the view.
    pub order: Vec<usize>,
    /// What is cut off at the start and at the end of an axis.
    pub cut: (usize, usize, usize),
    /// How often it is repeated along a new outermost axis.
    pub repeat: Option<usize>,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Copy {
    /// A copy.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let values = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        let mut view = Tensor::from_vec(device, &self.shape, values)?.permute(&self.order)?;
        let (axis, before, after) = self.cut;
        if let Some(left) = view.shape().get(axis).and_then(|n| n.checked_sub(before + after)) {
            view = view.narrow(axis, before, left)?;
        }
        if let Some(times) = self.repeat {
            view = view.expand(&[&[times], view.shape()].concat())?;
        }
        ops::copy::contiguous(&view)
    }
}

/// Every order of up to four axes, with tiles that are full and tiles that are not.
pub fn any_copy() -> impl Strategy<Value = Copy> {
    let shapes = prop_oneof![
        3 => prop::collection::vec(0usize..12, 0..5),
        2 => prop::collection::vec(30usize..140, 2..3),
        1 => prop::collection::vec(10usize..36, 3..4),
    ];
    let cut = (0usize..4, 0usize..3, 0usize..3);
    let repeat = prop::option::weighted(0.2, 0usize..4);
    (shapes, cut, repeat, any::<u32>()).prop_flat_map(|(shape, cut, repeat, seed)| {
        let axes: Vec<_> = (0..shape.len()).collect();
        Just(axes).prop_shuffle().prop_map(move |order| Copy {
            shape: shape.clone(),
            order,
            cut,
            repeat,
            seed,
        })
    })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let len = 5184 * 1024;
    vec![Job::new("tokens and channels swapped [1024, 5184]", 0, 2 * len, move |device| {
        let x = Tensor::from_vec(device, &[5184, 1024], sequence(len, 1))?.permute(&[1, 0])?;
        Ok(Box::new(move || ops::copy::contiguous(&x)))
    })]
}
