//! Cases of RoI align.

use super::Case;
use super::form::{Form, any_form, seeded};
use crate::compare::Tolerance;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};

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
