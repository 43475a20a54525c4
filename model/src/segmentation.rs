//! From queries to answers: which are kept, their boxes and masks at the picture's size (spec section 15).

use crate::Result;
use crate::grounding::Grounded;
use crate::level::Level;
use crate::mask::{Mask, Rle};
use crate::watch::Steps;
use sam3i_engine::{Tensor, ops};
use std::time::Duration;

/// What counts as an answer. [`SegmentOptions::default`] is what the published code does: both thresholds 0.5, everything kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// Queries with a score (0 to 1) above this are kept. Default 0.5.
    pub threshold: f32,
    /// Pixels with a probability (0 to 1) above this belong to a mask; 1 and more leave masks empty, less than 0 is 0. Default 0.5.
    pub mask_threshold: f32,
    /// Keep at most this many, best first. Default: all.
    pub top_k: Option<usize>,
    /// Drop masks of fewer pixels of the picture. Default 0.
    pub min_area: usize,
    /// Hand out the logits that masks are made of, in [`Instance::logits`]. Default: no.
    pub keep_logits: bool,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self { threshold: 0.5, mask_threshold: 0.5, top_k: None, min_area: 0, keep_logits: false }
    }
}

impl SegmentOptions {
    /// Keeps queries with a score above this.
    #[must_use]
    pub fn threshold(mut self, threshold: f32) -> Self {
        self.threshold = threshold;
        self
    }

    /// Gives pixels with a probability above this to a mask.
    #[must_use]
    pub fn mask_threshold(mut self, threshold: f32) -> Self {
        self.mask_threshold = threshold;
        self
    }

    /// Keeps at most this many, best first.
    #[must_use]
    pub fn top_k(mut self, most: usize) -> Self {
        self.top_k = Some(most);
        self
    }

    /// Drops masks of fewer pixels.
    #[must_use]
    pub fn min_area(mut self, pixels: usize) -> Self {
        self.min_area = pixels;
        self
    }

    /// Hands out the logits that masks are made of, in [`Instance::logits`].
    #[must_use]
    pub fn keep_logits(mut self, keep: bool) -> Self {
        self.keep_logits = keep;
        self
    }

    /// The queries that are kept, best score first, ties by query.
    pub(crate) fn keep(&self, scores: &[f32]) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..scores.len()).filter(|&q| scores[q] > self.threshold).collect();
        kept.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        kept.truncate(self.top_k.unwrap_or(usize::MAX));
        kept
    }

    /// The logit a mask's pixel must be above.
    fn mask_logit(&self) -> f32 {
        let p = f64::from(self.mask_threshold).clamp(0.0, 1.0);
        (p / (1.0 - p)).ln() as f32
    }
}

/// The answer to a prompt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Segmentation {
    /// The level it ran at.
    pub level: Level,
    /// How sure the model is that the picture shows anything that is meant, 0 to 1.
    pub presence: f32,
    /// Tokens of the sentence, start and end included, before any cut.
    pub tokens: usize,
    /// Whether the sentence was longer than the model reads.
    pub truncated: bool,
    /// What was found, best first.
    pub instances: Vec<Instance>,
    /// How long the stages took.
    pub timings: Timings,
}

/// Time spent on a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Text encoder (next to nothing for a sentence seen before).
    pub text: Duration,
    /// Geometry, fusion, decoder, scores.
    pub grounding: Duration,
    /// Pixel features, mask logits, masks at the picture's size.
    pub masks: Duration,
}

/// One thing that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Instance {
    /// The query that found it, from 0 on.
    pub query: usize,
    /// How well it matches, 0 to 1: its probability times the presence (spec section 15).
    pub score: f32,
    /// `x0, y0, x1, y1` in pixels of the picture, not clipped to it.
    pub box_xyxy: [f32; 4],
    /// Pixels of the mask, at the picture's size.
    pub area: usize,
    /// The mask at the picture's size, in COCO's run-length code.
    pub rle: Rle,
    /// What the mask was made of, if [`SegmentOptions::keep_logits`] asked for it.
    pub logits: Option<MaskLogits>,
}

/// A mask before it is brought to the picture's size: where a value is above 0, the probability is above a half.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MaskLogits {
    /// Rows: four times the model's grid of patches.
    pub height: usize,
    /// Columns, likewise.
    pub width: usize,
    /// The values `[height, width]`, row by row.
    pub values: Vec<f32>,
}

impl Instance {
    /// The mask at the picture's size, one byte a pixel.
    ///
    /// # Errors
    /// Never for an instance the model made.
    pub fn mask(&self) -> Result<Mask> {
        self.rle.decode()
    }
}

/// The kept queries as instances; `logits [kept, h, w]`.
pub(crate) fn instances(
    grounded: &Grounded,
    kept: &[usize],
    logits: Option<&Tensor>,
    size: [usize; 2],
    options: &SegmentOptions,
    steps: &Steps,
) -> Result<Vec<Instance>> {
    let Some(logits) = logits else { return Ok(Vec::new()) };
    let [width, height] = size;
    let mut masks = ops::resize::Masks::new(logits, height, width, options.mask_logit());
    let mut found = Vec::with_capacity(kept.len());
    for (i, &query) in kept.iter().enumerate() {
        steps.next()?;
        let mask = Mask::new(width, height, masks.plane(i)?)?;
        let area = mask.area();
        if area < options.min_area {
            continue;
        }
        let box_xyxy = to_pixels(grounded.boxes_cxcywh[query], size);
        let logits = options.keep_logits.then(|| to_logits(&logits.narrow(0, i, 1)?)).transpose()?;
        found.push(Instance {
            query,
            score: grounded.scores[query],
            box_xyxy,
            area,
            rle: mask.to_rle()?,
            logits,
        });
    }
    Ok(found)
}

/// `[1, h, w]` as values on the host.
fn to_logits(plane: &Tensor) -> Result<MaskLogits> {
    let [_, height, width] = plane.dims()?;
    Ok(MaskLogits { height, width, values: plane.to_vec()? })
}

/// `cx, cy, w, h` in fractions to `x0, y0, x1, y1` in pixels.
fn to_pixels([cx, cy, w, h]: [f32; 4], [width, height]: [usize; 2]) -> [f32; 4] {
    let (width, height) = (width as f32, height as f32);
    [(cx - 0.5 * w) * width, (cy - 0.5 * h) * height, (cx + 0.5 * w) * width, (cy + 0.5 * h) * height]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_queries_are_sorted_by_score_then_query() {
        let options = SegmentOptions::default();
        assert_eq!(options.keep(&[0.5, 0.6, 0.9, 0.6, f32::NAN]), [2, 1, 3]);
        assert_eq!(options.top_k(1).keep(&[0.5, 0.6, 0.9]), [2]);
    }

    #[test]
    fn half_probability_is_logit_zero() {
        assert_eq!(SegmentOptions::default().mask_logit(), 0.0);
        let of = |p: f32| SegmentOptions::default().mask_threshold(p).mask_logit();
        assert_eq!([of(1.0), of(2.0)], [f32::INFINITY; 2]);
        assert_eq!([of(0.0), of(-1.0)], [f32::NEG_INFINITY; 2]);
    }
}
