//! The mode `multi_inst`: every record of a sample against the union of the sample's annotations. Source: evaluation spec,
//! section 6.2.

use super::annotations::{Annotation, Annotations, Image};
use super::evaluation::{
    Abstention, Evaluation, Mode, NoTarget, Sample, Scored, groups, hit, level_of, mean, targets,
};
use super::id::Id;
use super::one_to_one::{image_of, predicted};
use super::predictions::Record;
use super::runs::Runs;
use crate::{Error, Result};
use std::collections::HashMap;

/// What one record predicts, and at which level it was asked.
struct Answer {
    mask: Option<Runs>,
    level: String,
}

pub(super) fn evaluate(truth: &Annotations, records: &[Record], no_target: NoTarget) -> Result<Evaluation> {
    let mut annotations: HashMap<&Id, Vec<&Annotation>> = HashMap::new();
    truth.annotations.iter().for_each(|a| annotations.entry(&a.image_id).or_default().push(a));
    let (answers, skipped) = answers(truth, records)?;

    let (mut samples, mut scored, mut abstention) = (Vec::new(), Vec::new(), Abstention::default());
    for image in &truth.images {
        let annotations = annotations.get(&image.id).map_or(&[][..], Vec::as_slice);
        let answers = answers.get(&image.id).map_or(&[][..], Vec::as_slice);
        let target = union_of_targets(image, annotations)?;
        let meant = targets(target.area(), annotations.len());
        let one = |level, iou| Scored { sample: samples.len(), level, targets: meant, iou, pixels: None };

        let before = scored.len();
        for Answer { mask, level } in answers {
            abstention.count(target.area() > 0, mask.as_ref().is_some_and(|mask| mask.area() > 0));
            scored.push(one(Some(level.clone()), score(mask.as_ref(), &target, no_target)));
        }
        if answers.is_empty() {
            scored.push(one(None, 0.0));
        }
        let ious = || scored[before..].iter().map(|one| one.iou);
        let (iou, hit) = (mean(ious()), mean(ious().map(hit)));
        samples.push(Sample {
            annotation_id: None,
            image_id: image.id.clone(),
            level: None,
            targets: meant,
            records: answers.len(),
            iou,
            hit,
            pixels: None,
        });
    }
    Ok(summary(samples, &scored, abstention, skipped, no_target))
}

/// What the records predict, by sample, and how many belong to no sample.
fn answers<'a>(
    truth: &'a Annotations,
    records: &'a [Record],
) -> Result<(HashMap<&'a Id, Vec<Answer>>, usize)> {
    let known = truth.images_by_id();
    let mut answers: HashMap<&Id, Vec<Answer>> = HashMap::new();
    let mut skipped = 0;
    for (index, record) in records.iter().enumerate() {
        let id = image_of(index, record)?;
        if known.contains_key(id) {
            let answer = Answer { mask: predicted(index, record)?, level: level_of(record) };
            answers.entry(id).or_default().push(answer);
        } else {
            skipped += 1;
        }
    }
    Ok((answers, skipped))
}

/// The union of a sample's annotations. Those without mask are passed over.
fn union_of_targets(image: &Image, annotations: &[&Annotation]) -> Result<Runs> {
    let mut union: Option<Runs> = None;
    for annotation in annotations {
        let refuse = |e: Error| Error::data(annotation.name(), e.to_string());
        let Some(mask) = annotation.segmentation.runs(image.size()).map_err(refuse)? else { continue };
        union = Runs::union(union.iter().chain([&mask])).map_err(refuse)?;
    }
    if let Some(union) = union {
        return Ok(union);
    }
    let name = || format!("image {}", image.id);
    let [height, width] = image.size().ok_or_else(|| {
        Error::data(name(), "has neither a mask nor both `height` and `width`, one of which is needed")
    })?;
    Runs::zeros(height, width).map_err(|e| Error::data(name(), e.to_string()))
}

/// The IoU of one record: 0 when the sizes differ.
fn score(mask: Option<&Runs>, target: &Runs, no_target: NoTarget) -> f64 {
    let silent = mask.is_none_or(|mask| mask.area() == 0);
    if no_target == NoTarget::Abstain && silent && target.area() == 0 {
        return 1.0;
    }
    mask.and_then(|mask| mask.overlap(target)).map_or(0.0, |pixels| pixels.iou())
}

fn summary(
    samples: Vec<Sample>,
    scored: &[Scored],
    abstention: Abstention,
    skipped: usize,
    no_target: NoTarget,
) -> Evaluation {
    Evaluation {
        mode: Mode::MultiInst,
        no_target,
        count: samples.len(),
        giou: 100.0 * mean(samples.iter().map(|sample| sample.iou)),
        ciou: None,
        miou: None,
        p_50: 100.0 * mean(samples.iter().map(|sample| sample.hit)),
        ap: None,
        ap_50: None,
        pixels: None,
        abstention,
        skipped,
        unanswered: samples.iter().filter(|sample| sample.records == 0).count(),
        by_level: groups(scored, |one| one.level.as_deref()),
        by_targets: groups(scored, |one| Some(one.targets)),
        samples,
    }
}
