//! A weight rounded to 8 bits, one scale an output channel.

use super::{LONGEST, MOST_ERROR};
use rayon::prelude::*;

/// `w [n, k] ≈ scales[n] * values [n, k]`; see the [module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedWeight {
    /// Output channels.
    pub n: usize,
    /// Input channels.
    pub k: usize,
    /// Row-major `[n, k]`, in -127..=127 where we made them.
    pub values: Vec<i8>,
    /// One a channel, `[n]`; finite.
    pub scales: Vec<f32>,
}

impl QuantisedWeight {
    /// Rounds a row-major `[n, k]` weight of finite values: each channel's largest magnitude becomes 127.
    #[must_use]
    pub fn new(n: usize, k: usize, w: &[f32]) -> Self {
        assert!(k > 0 && w.len() == n * k);
        let (mut values, mut scales) = (vec![0; n * k], vec![0.0; n]);
        let rows = values.par_chunks_mut(k).zip(&mut scales).zip(w.par_chunks(k));
        rows.with_min_len(16).for_each(|((values, scale), w)| *scale = quantise(w, values));
        Self { n, k, values, scales }
    }

    /// [`new`](Self::new), unless rounding takes more than [`MOST_ERROR`](super::MOST_ERROR) from the weight.
    #[must_use]
    pub fn new_if_close(n: usize, k: usize, w: &[f32]) -> Option<Self> {
        let rounded = Self::new(n, k, w);
        (k <= LONGEST && rounded.error(w) <= MOST_ERROR).then_some(rounded)
    }

    /// The weight these stand for.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.values.len()];
        self.to_f32_into(&mut out);
        out
    }

    /// [`to_f32`](Self::to_f32) into memory the caller has.
    pub fn to_f32_into(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.values.len());
        let rows = out.par_chunks_mut(self.k.max(1)).zip(self.values.par_chunks(self.k.max(1)));
        rows.zip(&self.scales).with_min_len(16).for_each(|((out, values), scale)| {
            out.iter_mut().zip(values).for_each(|(out, &value)| *out = f32::from(value) * scale);
        });
    }

    /// What rounding took from `w`: a channel's root mean square difference over its mean magnitude; of all channels, the
    /// root mean square. 0 for a weight of zeros.
    ///
    /// Over the mean magnitude and not the norm, because an outlier is the norm: a channel whose other values are lost
    /// beside it would seem to be held well.
    #[must_use]
    pub fn error(&self, w: &[f32]) -> f64 {
        assert_eq!(w.len(), self.values.len());
        let rows = self.values.par_chunks(self.k.max(1)).zip(w.par_chunks(self.k.max(1))).zip(&self.scales);
        let squares: Vec<f64> = rows
            .with_min_len(16)
            .map(|((values, w), &scale)| {
                let (mut lost, mut magnitude) = (0.0, 0.0);
                for (&value, &w) in values.iter().zip(w) {
                    let difference = f64::from(w - f32::from(value) * scale);
                    lost += difference * difference;
                    magnitude += f64::from(w.abs());
                }
                if magnitude > 0.0 { lost * self.k as f64 / (magnitude * magnitude) } else { 0.0 }
            })
            .collect();
        (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt()
    }
}

/// Rounds a channel and returns its scale.
fn quantise(w: &[f32], values: &mut [i8]) -> f32 {
    let mut lanes = [0f32; 16];
    for w in w.chunks(16) {
        lanes.iter_mut().zip(w).for_each(|(most, w)| *most = most.max(w.abs()));
    }
    let largest = lanes.into_iter().fold(0.0, f32::max);
    let (scale, inverse) = (largest / 127.0, 127.0 / largest);
    if !inverse.is_finite() {
        return 0.0; // zeros, or nearly; `values` are zeros
    }
    // Adding 1.5 * 2^23 leaves the nearest whole number (ties to even) in the low bits.
    for (value, w) in values.iter_mut().zip(w) {
        *value = (w * inverse + 12_582_912.0).to_bits() as i8;
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_step_and_to_zero_for_zeros() {
        let w = [-2.54, 0.0, 1.0, 0.011, 0.0, 0.0, 0.0, 0.0, 1e-42, 0.0, 0.0, 0.0];
        let q = QuantisedWeight::new(3, 4, &w);
        assert_eq!(q.values, [-127, 0, 50, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(q.scales[1..], [0.0, 0.0]);
        assert!((q.scales[0] - 0.02).abs() < 1e-8);
        let exact: Vec<f32> = (-127..=127).map(|i| i as f32 * 0.5).collect();
        let q = QuantisedWeight::new(1, 255, &exact);
        assert_eq!((q.to_f32(), q.error(&exact)), (exact, 0.0));
    }

    #[test]
    fn the_error_is_that_of_the_step() {
        // Evenly spread values: a step of 2 / 254 has a root mean square error of step / sqrt 12; the mean magnitude is 1/2.
        let w: Vec<f32> = (0..100_000).map(|i| (i * 7919 % 100_003) as f32 / 50_001.5 - 1.0).collect();
        let error = QuantisedWeight::new(100, 1000, &w).error(&w);
        assert!((error - 4.0 / 254.0 / 12f64.sqrt()).abs() < 1e-4, "{error}");
        assert_eq!(QuantisedWeight::new(1, 2, &[0.0; 2]).error(&[0.0; 2]), 0.0);
        assert!(QuantisedWeight::new_if_close(100, 1000, &w).is_some());
        let mut w = w;
        (0..100).for_each(|channel| w[channel * 1000] = 30.0);
        assert!(
            QuantisedWeight::new_if_close(100, 1000, &w).is_none(),
            "a channel's outlier takes its steps"
        );
    }
}
