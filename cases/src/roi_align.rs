//! Cases of RoI align.

use super::form::{Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::Tolerance;
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::roi_align::flops;

/// Boxes of a map averaged into bins.
#[derive(Clone, Debug)]
pub struct RoiAlign {
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// x1, y1, x2, y2 of every box.
    pub boxes: Vec<[f32; 4]>,
    /// Bins along each side of a box.
    pub size: usize,
    /// How the map lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for RoiAlign {
    /// f32 sums of up to 500 terms whose weights add up to 1, of values of up to 4.
    const TOLERANCE: Tolerance = Tolerance { absolute: 2e-5, relative: 1e-5 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let map = seeded(self.shape.iter().product(), self.seed, &[0.0, 1e-40]);
        let boxes = Form::Whole.place(device, &[self.boxes.len(), 4], self.boxes.as_flattened())?;
        ops::roi_align::roi_align(&self.form.place(device, &self.shape, &map)?, &boxes, self.size)
    }
}

/// Boxes inside, across the border, beside the map, huge, and without extent.
pub fn any_roi_align() -> impl Strategy<Value = RoiAlign> {
    let coordinate = prop_oneof![6 => -6.0f32..26.0, 2 => -1.0f32..1.0, 1 => -1e6f32..1e6];
    let corners = [coordinate.clone(), coordinate.clone(), coordinate.clone(), coordinate];
    let size = prop::sample::select(vec![7, 7, 1, 3]);
    let boxes = prop::collection::vec(corners, 0..4);
    (1usize..20, 1usize..20, 0usize..40, boxes, size, any_form(), any::<u32>())
        .prop_map(|(h, w, c, boxes, size, form, seed)| RoiAlign { shape: [h, w, c], boxes, size, form, seed })
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let len = 72 * 72 * 256;
    let boxes = vec![8.0, 10.5, 40.0, 30.0, 30.0, 2.0, 70.0, 60.0];
    let flops = flops(2 * 7 * 7 * 256);
    vec![Job::new("2 example boxes of [72, 72, 256]", flops, len + 8 + 2 * 49 * 256, move |device| {
        let x = Tensor::from_vec(device, &[72, 72, 256], sequence(len, 1))?;
        let boxes = Tensor::from_vec(device, &[2, 4], boxes.clone())?;
        Ok(Box::new(move || ops::roi_align::roi_align(&x, &boxes, 7)))
    })]
}
