//! Cases of doubling and of bilinear resampling.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops::resize};
use sam3i_kernels::resize::bilinear_flops;

/// A map doubled, alone or added to a finer one.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// Height, width, channels of the coarse map.
    pub shape: [usize; 3],
    /// Those of the fine one, if there is one.
    pub fine: Option<[usize; 3]>,
    /// How the operands lie.
    pub form: Form,
    /// Whether somebody else holds the fine map, so that it may not be overwritten.
    pub shared: bool,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Nearest {
    /// A copy, or one rounding.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let map = |shape: &[usize], seed| {
            self.form.place(device, shape, &seeded(shape.iter().product(), seed, &EXTREMES))
        };
        let coarse = map(&self.shape, self.seed)?;
        let Some(fine) = self.fine else { return resize::nearest_2x(&coarse) };
        let fine = map(&fine, self.seed ^ 1)?;
        let _held = self.shared.then(|| fine.clone());
        resize::add_nearest_2x(fine, &coarse)
    }
}

/// Odd and empty maps.
pub fn any_nearest() -> impl Strategy<Value = Nearest> {
    (0usize..12, 0usize..12, 0usize..40, any::<bool>(), any_form(), any::<bool>(), any::<u32>()).prop_map(
        |(h, w, c, add, form, shared, seed)| Nearest {
            shape: [h, w, c],
            fine: add.then_some([2 * h, 2 * w, c]),
            form,
            shared,
            seed,
        },
    )
}

/// Planes at another size; or, with a threshold, where they are above it.
#[derive(Clone, Debug)]
pub struct Bilinear {
    /// Planes, height, width.
    pub shape: [usize; 3],
    /// Height and width of the result.
    pub to: [usize; 2],
    /// The threshold, if the mask is wanted.
    pub threshold: Option<f32>,
    /// How the operand lies.
    pub form: Form,
    /// Seed of the values.
    pub seed: u32,
}

impl Bilinear {
    /// The planes.
    ///
    /// # Errors
    /// Those of the tensor's making.
    pub fn planes(&self, device: &Device) -> Result<Tensor> {
        let values = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        self.form.place(device, &self.shape, &values)
    }
}

impl Case for Bilinear {
    /// The order of the arithmetic is part of the contract.
    const TOLERANCE: Tolerance = EXACT;

    /// Compilers for GPUs may fuse products and sums, which moves where a pixel lies by an ulp of up to 80 pixels (4e-6) and
    /// its value, of up to 4, by as much each way. A mask has to be the same bit for bit: no random value is that near
    /// to its threshold.
    fn gpu_tolerance(&self) -> Tolerance {
        if self.threshold.is_some() { EXACT } else { Tolerance { absolute: 4e-5, relative: 0.0 } }
    }

    fn run(&self, device: &Device) -> Result<Tensor> {
        let (planes, [h, w]) = (self.planes(device)?, self.to);
        let Some(threshold) = self.threshold else { return resize::bilinear(&planes, h, w) };
        let mask = resize::bilinear_threshold(&planes, h, w, threshold)?;
        Tensor::from_vec(device, &[self.shape[0], h, w], mask.into_iter().map(f32::from).collect())
    }
}

/// Growing and shrinking, by any ratio, each axis by its own.
pub fn any_bilinear() -> impl Strategy<Value = Bilinear> {
    let threshold = prop::option::of(prop::sample::select(vec![0.0, -0.5, 1.25, f32::NAN]));
    (0usize..4, (1usize..30, 1usize..30), (0usize..80, 0usize..80), threshold, any_form(), any::<u32>())
        .prop_map(|(n, (h, w), (out_h, out_w), threshold, form, seed)| Bilinear {
            shape: [n, h, w],
            to: [out_h, out_w],
            threshold,
            form,
            seed,
        })
}

/// Calls of the published model at 1008 pixels.
pub fn published_bilinear() -> Vec<Job> {
    let (from, [h, w]) = (288, [427, 640]);
    let plane = move |device: &Device| Tensor::from_vec(device, &[1, from, from], sequence(from * from, 1));
    let flops = bilinear_flops(h * w);
    let whole = Job::new("a mask's logits [1, 288, 288] to 427 x 640", flops, from * from + h * w, {
        move |device| {
            let x = plane(device)?;
            Ok(Box::new(move || resize::bilinear(&x, h, w)))
        }
    });
    let bits = Job::new("a mask's bits [1, 288, 288] to 427 x 640", flops, from * from + h * w / 4, {
        move |device| {
            let x = plane(device)?;
            let nothing = Tensor::zeros(device, &[0])?;
            Ok(Box::new(move || resize::bilinear_threshold(&x, h, w, 0.0).map(|_| nothing.clone())))
        }
    });
    vec![whole, bits]
}

/// Calls of the published model at 1008 pixels.
pub fn published_nearest() -> Vec<Job> {
    let job = |what, side: usize| {
        let coarse = side * side * 256;
        Job::new(what, 4 * coarse as u64, 9 * coarse, move |device| {
            let x = Tensor::from_vec(device, &[side, side, 256], sequence(coarse, 1))?;
            let fine = Tensor::from_vec(device, &[2 * side, 2 * side, 256], sequence(4 * coarse, 2))?;
            Ok(Box::new(move || resize::add_nearest_2x(fine.clone(), &x)))
        })
    };
    vec![
        job("pixel decoder [144, 144, 256] + [72, 72, 256]", 72),
        job("pixel decoder [288, 288, 256] + [144, 144, 256]", 144),
    ]
}
