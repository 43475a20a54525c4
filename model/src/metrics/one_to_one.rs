//! The mode `1to1`: every record against its annotation. Source: evaluation spec, section 6.1.

use super::annotations::{Annotation, Annotations, Image};
use super::average_precision::{Detection, average_precision};
use super::evaluation::{
    Abstention, Evaluation, Mode, NoTarget, Sample, Scored, ciou, groups, hit, level_of, mean, targets,
};
use super::id::Id;
use super::predictions::{Record, Score};
use super::runs::{Overlap, Runs};
use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap};

/// What messages call a record.
pub(super) fn record_name(index: usize, record: &Record) -> String {
    match &record.annotation_id {
        Some(id) => format!("record {} (annotation {id})", index + 1),
        None => format!("record {}", index + 1),
    }
}

/// The sample of a record.
pub(super) fn image_of(index: usize, record: &Record) -> Result<&Id> {
    let missing = || Error::data(record_name(index, record), "has no `image_id`; is this a prediction file?");
    record.image_id.as_ref().ok_or_else(missing)
}

/// Everything a record predicts, as one mask; `None` if it predicts no mask.
pub(super) fn predicted(index: usize, record: &Record) -> Result<Option<Runs>> {
    let masks: Result<Vec<Option<Runs>>> = record.predictions.iter().map(|p| p.rle.runs(None)).collect();
    let union = masks.and_then(|masks| Runs::union(masks.iter().flatten()));
    union.map_err(|e| Error::data(record_name(index, record), e.to_string()))
}

/// An annotation's mask; it must have one.
pub(super) fn truth_mask(annotation: &Annotation, size: Option<[usize; 2]>) -> Result<Runs> {
    let refuse = |problem: String| Error::data(annotation.name(), problem);
    let mask = annotation.segmentation.runs(size).map_err(|e| refuse(e.to_string()))?;
    mask.ok_or_else(|| refuse("has no mask (`segmentation`)".to_owned()))
}

pub(super) fn evaluate(truth: &Annotations, records: &[Record], no_target: NoTarget) -> Result<Evaluation> {
    let targets = Targets::new(truth)?;
    let mut seen = BTreeSet::new();
    let (mut detections, mut samples, mut abstention) = (Vec::new(), Vec::new(), Abstention::default());
    for (index, record) in records.iter().enumerate() {
        let refuse = |problem: &str| Error::data(record_name(index, record), problem);
        let id = record.annotation_id.as_ref().ok_or_else(|| {
            refuse("has no `annotation_id`, which the mode 1to1 needs; use the mode multi-inst")
        })?;
        let image_id = image_of(index, record)?;
        seen.insert(image_id);
        let Some(&annotation) = targets.annotations.get(id) else { continue };
        let target = targets.mask(annotation)?;
        let [height, width] = target.size();
        let mask = predicted(index, record)?.map_or_else(|| Runs::zeros(height, width), Ok)?;
        let pixels = mask.overlap(&target).ok_or_else(|| refuse(&other_size(&mask, &target)))?;

        abstention.count(target.area() > 0, mask.area() > 0);
        let iou = score(pixels, no_target);
        samples.push(Sample {
            annotation_id: Some(id.clone()),
            image_id: image_id.clone(),
            level: Some(level_of(record)),
            targets: targets.count(annotation, &target),
            records: 1,
            iou,
            hit: hit(iou),
            pixels: Some(pixels),
        });
        if !record.predictions.is_empty() {
            let score = best_score(record).ok_or_else(|| refuse("has a score that is null"))?;
            detections.push(Detection { record: index, image_id, mask, score });
        }
    }
    let ap = average_precision(truth, &seen, &detections)?;
    Ok(summary(samples, abstention, ap, records.len(), no_target))
}

/// The annotations by what they are looked up by.
struct Targets<'a> {
    /// By id; of several with one id, the last.
    annotations: HashMap<&'a Id, &'a Annotation>,
    images: HashMap<&'a Id, &'a Image>,
    per_image: HashMap<&'a Id, usize>,
}

impl<'a> Targets<'a> {
    fn new(truth: &'a Annotations) -> Result<Self> {
        let (mut annotations, mut per_image) = (HashMap::new(), HashMap::new());
        for annotation in &truth.annotations {
            let missing = || Error::data(annotation.name(), "the mode 1to1 needs the ids of annotations");
            annotations.insert(annotation.id.as_ref().ok_or_else(missing)?, annotation);
            *per_image.entry(&annotation.image_id).or_default() += 1;
        }
        Ok(Self { annotations, images: truth.images_by_id(), per_image })
    }

    fn mask(&self, annotation: &Annotation) -> Result<Runs> {
        let image = self.images.get(&annotation.image_id);
        truth_mask(annotation, image.and_then(|image| image.size()))
    }

    /// How many things are meant.
    fn count(&self, annotation: &Annotation, mask: &Runs) -> &'static str {
        targets(mask.area(), self.per_image.get(&annotation.image_id).copied().unwrap_or(0))
    }
}

/// The IoU, or what stands for it when nothing is meant: then nothing is shared, and the union is what was predicted.
fn score(pixels: Overlap, no_target: NoTarget) -> f64 {
    match no_target {
        NoTarget::Abstain if pixels.union == 0 => 1.0,
        NoTarget::Abstain | NoTarget::Zero => pixels.iou(),
    }
}

fn other_size(mask: &Runs, target: &Runs) -> String {
    let ([h, w], [target_h, target_w]) = (mask.size(), target.size());
    format!(
        "its masks are {w} x {h} (width x height), the annotation's {target_w} x {target_h}; predictions must have \
         their picture's size"
    )
}

/// The highest score of a record, where a missing one counts as 1; `None` if one is null.
fn best_score(record: &Record) -> Option<f64> {
    let mut best = f64::NEG_INFINITY;
    for prediction in &record.predictions {
        best = best.max(match prediction.score {
            Score::Value(score) => score,
            Score::Missing => 1.0,
            Score::Null => return None,
        });
    }
    Some(best)
}

fn summary(
    samples: Vec<Sample>,
    abstention: Abstention,
    [ap, ap_50]: [f64; 2],
    records: usize,
    no_target: NoTarget,
) -> Evaluation {
    let scored: Vec<Scored> = samples.iter().enumerate().map(scored).collect();
    let pixels = samples.iter().filter_map(|sample| sample.pixels).sum();
    Evaluation {
        mode: Mode::OneToOne,
        no_target,
        count: samples.len(),
        giou: 100.0 * mean(samples.iter().map(|sample| sample.iou)),
        ciou: Some(ciou(pixels)),
        miou: Some(ciou(pixels)),
        p_50: 100.0 * mean(samples.iter().map(|sample| sample.hit)),
        ap: Some(100.0 * ap),
        ap_50: Some(100.0 * ap_50),
        pixels: Some(pixels),
        abstention,
        skipped: records - samples.len(),
        unanswered: 0,
        by_level: groups(&scored, |one| one.level.as_deref()),
        by_targets: groups(&scored, |one| Some(one.targets)),
        samples,
    }
}

fn scored((index, sample): (usize, &Sample)) -> Scored {
    Scored {
        sample: index,
        level: sample.level.clone(),
        targets: sample.targets,
        iou: sample.iou,
        pixels: sample.pixels,
    }
}
