//! Cases of the sine codes.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::sine::flops;

/// The code of the positions of a map.
#[derive(Clone, Debug)]
pub struct PositionMap {
    /// Height and width.
    pub grid: [usize; 2],
    /// Channels of the code.
    pub channels: usize,
}

impl Case for PositionMap {
    /// All in f64, rounded once.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        ops::sine::position_map(device, self.grid[0], self.grid[1], self.channels)
    }
}

/// Odd and empty maps.
pub fn any_position_map() -> impl Strategy<Value = PositionMap> {
    (0usize..20, 0usize..20, 0usize..20)
        .prop_map(|(h, w, quarter)| PositionMap { grid: [h, w], channels: 4 * quarter })
}

/// The code of numbers.
#[derive(Clone, Debug)]
pub struct SineCode {
    /// Shape of the numbers.
    pub shape: Vec<usize>,
    /// Channels of the code.
    pub channels: usize,
    /// How the numbers lie.
    pub form: Form,
    /// Seed of the numbers.
    pub seed: u32,
}

impl Case for SineCode {
    /// All in f64, rounded once.
    const TOLERANCE: Tolerance = EXACT;

    /// Angles of up to 4 turns in f32 are off by up to 2.4e-7 turns, 1.5e-6 radians.
    fn gpu_tolerance(&self) -> Tolerance {
        Tolerance { absolute: 3e-6, relative: 0.0 }
    }

    fn run(&self, device: &Device) -> Result<Tensor> {
        let numbers = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        ops::sine::sine_code(&self.form.place(device, &self.shape, &numbers)?, self.channels)
    }
}

/// Numbers in any shape.
pub fn any_sine_code() -> impl Strategy<Value = SineCode> {
    (prop::collection::vec(0usize..9, 0..4), 0usize..70, any_form(), any::<u32>())
        .prop_map(|(shape, pairs, form, seed)| SineCode { shape, channels: 2 * pairs, form, seed })
}

/// Calls of the published model at 1008 pixels.
pub fn published_position_map() -> Vec<Job> {
    vec![Job::new("the neck's [72 * 72, 256]", 0, 72 * 72 * 256, |device| {
        let device = device.clone();
        Ok(Box::new(move || ops::sine::position_map(&device, 72, 72, 256)))
    })]
}

/// Calls of the published model at 1008 pixels.
pub fn published_sine_code() -> Vec<Job> {
    vec![Job::new("a side of the decoder's boxes [200] to 128", flops(200 * 128), 200 * 129, |device| {
        let numbers = Tensor::from_vec(device, &[200], sequence(200, 1))?;
        Ok(Box::new(move || ops::sine::sine_code(&numbers, 128)))
    })]
}
