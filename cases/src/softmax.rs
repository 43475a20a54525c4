//! Cases of softmax.

use super::{Case, extreme_values, sequence};
use crate::compare::Tolerance;
use crate::job::{Job, Sizes};
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::softmax::flops;

/// Softmax of a `[rows, cols]` tensor.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The operand.
    pub x: Vec<f32>,
}

impl Case for Softmax {
    /// Results are at most 1; the fast exp is within 1.2e-7, the f32 sum of up to 300 terms within 1e-6.
    const TOLERANCE: Tolerance = Tolerance { absolute: 1e-7, relative: 2e-6 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        ops::softmax::softmax(&Tensor::from_vec(device, &self.shape, self.x.clone())?)
    }
}

/// Odd shapes, empty and length-1 axes, extreme values.
pub fn any_softmax() -> impl Strategy<Value = Softmax> {
    (0usize..40, 0usize..300).prop_flat_map(|(rows, cols)| {
        extreme_values(rows * cols).prop_map(move |x| Softmax { shape: [rows, cols], x })
    })
}

/// The model has softmax inside attention; these are that softmax's sizes at 1008 pixels.
pub fn published() -> Vec<Job> {
    let job = |what, rows: usize, cols: usize| {
        Job::new(what, flops(rows, cols), 2 * rows * cols, move |device| {
            let x = Tensor::from_vec(device, &[rows, cols], sequence(rows * cols, 1))?;
            Ok(Box::new(move || ops::softmax::softmax(&x)))
        })
        .of_sizes(Sizes::Softmax { rows, columns: cols })
    };
    vec![
        job("a window's scores, 16 heads [9216, 576]", 9216, 576),
        job("a global head's scores [5184, 5184]", 5184, 5184),
        job("text scores, 16 heads [512, 32]", 512, 32),
    ]
}
