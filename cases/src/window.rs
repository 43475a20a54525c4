//! Cases of the cut into windows and back.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};

/// A map cut into windows.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// Edge of a window.
    pub window: usize,
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Partition {
    /// The map.
    ///
    /// # Errors
    /// Those of the tensor's making.
    pub fn map(&self, device: &Device) -> Result<Tensor> {
        let values = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        self.form.place(device, &self.shape, &values)
    }
}

impl Case for Partition {
    /// A copy.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        ops::window::partition(&self.map(device)?, self.window)
    }
}

/// Windows put together again.
#[derive(Clone, Debug)]
pub struct Merge {
    /// Windows, tokens, channels.
    pub shape: [usize; 3],
    /// Height and width of the map.
    pub map: [usize; 2],
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Merge {
    /// A copy.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let values = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        ops::window::merge(&self.form.place(device, &self.shape, &values)?, self.map[0], self.map[1])
    }
}

/// Maps that are multiples of the window and maps that are not.
pub fn any_partition() -> impl Strategy<Value = Partition> {
    (0usize..20, 0usize..20, 0usize..30, 1usize..8, any_form(), any::<u32>())
        .prop_map(|(h, w, c, window, form, seed)| Partition { shape: [h, w, c], window, form, seed })
}

/// The windows of any such map.
pub fn any_merge() -> impl Strategy<Value = Merge> {
    any_partition().prop_map(|Partition { shape: [h, w, c], window, form, seed }| Merge {
        shape: [h.div_ceil(window) * w.div_ceil(window), window * window, c],
        map: [h, w],
        form,
        seed,
    })
}

/// Calls of the published model at 1008 pixels.
pub fn published_partition() -> Vec<Job> {
    let len = 72 * 72 * 1024;
    vec![Job::new("ViT [72, 72, 1024] to 9 windows", 0, 2 * len, move |device| {
        let x = Tensor::from_vec(device, &[72, 72, 1024], sequence(len, 1))?;
        Ok(Box::new(move || ops::window::partition(&x, 24)))
    })]
}

/// Calls of the published model at 1008 pixels.
pub fn published_merge() -> Vec<Job> {
    let len = 72 * 72 * 1024;
    vec![Job::new("ViT 9 windows [9, 576, 1024]", 0, 2 * len, move |device| {
        let x = Tensor::from_vec(device, &[9, 576, 1024], sequence(len, 1))?;
        Ok(Box::new(move || ops::window::merge(&x, 72, 72)))
    })]
}
