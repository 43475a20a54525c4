//! COCO's mask average precision, all classes as one. Source: evaluation spec, section 6.3; pycocotools 2.0.11.

use super::annotations::{Annotation, Annotations};
use super::id::Id;
use super::one_to_one::truth_mask;
use super::runs::Runs;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// IoU thresholds: 0.50, 0.55, .. 0.95.
const THRESHOLDS: usize = 10;
/// Recall levels: 0, 0.01, .. 1.
const RECALL_LEVELS: usize = 101;
/// Most detections of an image.
const MOST_DETECTIONS: usize = 100;
/// Ground truth with more pixels is ignored.
const LARGEST_AREA: f64 = 1e10;

/// One record's prediction.
pub(super) struct Detection<'a> {
    /// The record's place, for messages.
    pub(super) record: usize,
    pub(super) image_id: &'a Id,
    pub(super) mask: Runs,
    pub(super) score: f64,
}

struct Truth {
    mask: Runs,
    crowd: bool,
    ignored: bool,
    /// pycocotools marks a matched detection with the id of its ground truth, and reads the mark 0 as unmatched.
    never_credited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    Ignored,
}

/// A detection with its outcome at each threshold.
struct Judged {
    score: f64,
    outcomes: [Outcome; THRESHOLDS],
}

/// AP and AP at 0.5, as fractions, on the annotations of the images `seen`: 0 without detections, -1 without ground truth.
pub(super) fn average_precision(
    truth: &Annotations,
    seen: &BTreeSet<&Id>,
    detections: &[Detection<'_>],
) -> Result<[f64; 2]> {
    if detections.is_empty() {
        return Ok([0.0; 2]);
    }
    let images = truth.images_by_id();
    let mut by_image: HashMap<&Id, Vec<&Detection<'_>>> = HashMap::new();
    for detection in detections {
        if !images.contains_key(detection.image_id) {
            let problem = format!("names image {}, which the annotations do not have", detection.image_id);
            return Err(Error::data(format!("record {}", detection.record + 1), problem));
        }
        by_image.entry(detection.image_id).or_default().push(detection);
    }
    let mut annotations: HashMap<&Id, Vec<&Annotation>> = HashMap::new();
    truth.annotations.iter().for_each(|a| annotations.entry(&a.image_id).or_default().push(a));

    let (mut judged, mut wanted) = (Vec::new(), 0);
    for id in seen {
        let size = images.get(id).and_then(|image| image.size());
        let targets = annotations.get(id).map_or(&[][..], Vec::as_slice);
        let targets = truths(targets, size)?;
        wanted += targets.iter().filter(|target| !target.ignored).count();
        judged.extend(judge(by_image.remove(id).unwrap_or_default(), &targets));
    }
    if wanted == 0 {
        return Ok([-1.0; 2]);
    }
    judged.sort_by(|a, b| descending(a.score, b.score));
    let curves: Vec<[f64; RECALL_LEVELS]> = (0..THRESHOLDS).map(|t| curve(&judged, t, wanted)).collect();
    let mean = |values: &[[f64; RECALL_LEVELS]]| {
        values.iter().flatten().sum::<f64>() / (values.len() * RECALL_LEVELS) as f64
    };
    Ok([mean(&curves), mean(&curves[..1])])
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// The ground truth of an image, what is ignored last.
fn truths(annotations: &[&Annotation], size: Option<[usize; 2]>) -> Result<Vec<Truth>> {
    let mut truths = Vec::with_capacity(annotations.len());
    for annotation in annotations {
        let mask = truth_mask(annotation, size)?;
        let crowd = annotation.iscrowd;
        let area = annotation.area.unwrap_or(mask.area() as f64);
        let ignored = crowd || !(0.0..=LARGEST_AREA).contains(&area);
        let never_credited = annotation.id == Some(Id::Number(0));
        truths.push(Truth { mask, crowd, ignored, never_credited });
    }
    truths.sort_by_key(|truth| truth.ignored);
    Ok(truths)
}

/// Matches an image's detections with its ground truth at every threshold.
fn judge(mut detections: Vec<&Detection<'_>>, truths: &[Truth]) -> Vec<Judged> {
    detections.sort_by(|a, b| descending(a.score, b.score));
    detections.truncate(MOST_DETECTIONS);
    let mut taken = vec![[false; THRESHOLDS]; truths.len()];
    let mut judged = Vec::with_capacity(detections.len());
    for detection in detections {
        let ious: Vec<f64> = truths.iter().map(|t| detection.mask.coco_iou(&t.mask, t.crowd)).collect();
        let mut outcomes = [Outcome::Wrong; THRESHOLDS];
        for (t, outcome) in outcomes.iter_mut().enumerate() {
            let free = |i: usize| !taken[i][t] || truths[i].crowd;
            let Some(found) = best_match(truths, &ious, threshold(t), free) else { continue };
            taken[found][t] = true;
            *outcome = match &truths[found] {
                Truth { ignored: true, .. } => Outcome::Ignored,
                Truth { never_credited: true, .. } => Outcome::Wrong,
                _ => Outcome::Right,
            };
        }
        judged.push(Judged { score: detection.score, outcomes });
    }
    judged
}

/// The ground truth a detection takes: the best free one, of equals the last, and an ignored one only where no other
/// will do.
fn best_match(truths: &[Truth], ious: &[f64], threshold: f64, free: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut best, mut found) = (threshold.min(1.0 - 1e-10), None);
    for (i, &iou) in ious.iter().enumerate().filter(|&(i, _)| free(i)) {
        if truths[i].ignored && found.is_some_and(|held: usize| !truths[held].ignored) {
            break;
        }
        if iou >= best {
            (best, found) = (iou, Some(i));
        }
    }
    found
}

/// As numpy's `linspace(0.5, 0.95, 10)` has them.
fn threshold(index: usize) -> f64 {
    let (first, last) = (0.5, 0.95);
    if index + 1 == THRESHOLDS {
        last
    } else {
        first + index as f64 * ((last - first) / (THRESHOLDS - 1) as f64)
    }
}

/// As numpy's `linspace(0, 1, 101)` has them.
fn recall_level(index: usize) -> f64 {
    if index + 1 == RECALL_LEVELS { 1.0 } else { index as f64 * 0.01 }
}

/// The precision at each recall level, for one threshold.
fn curve(judged: &[Judged], threshold: usize, wanted: usize) -> [f64; RECALL_LEVELS] {
    let (mut right, mut wrong) = (0.0, 0.0);
    let (mut recalls, mut precisions) = (Vec::new(), Vec::new());
    for one in judged {
        match one.outcomes[threshold] {
            Outcome::Right => right += 1.0,
            Outcome::Wrong => wrong += 1.0,
            Outcome::Ignored => {}
        }
        recalls.push(right / wanted as f64);
        precisions.push(right / (wrong + right + f64::EPSILON));
    }
    for i in (1..precisions.len()).rev() {
        precisions[i - 1] = f64::max(precisions[i - 1], precisions[i]);
    }
    std::array::from_fn(|level| {
        let at = recalls.partition_point(|&recall| recall < recall_level(level));
        precisions.get(at).copied().unwrap_or(0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_numpys() {
        let all: Vec<f64> = (0..THRESHOLDS).map(threshold).collect();
        let expected = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95];
        assert_eq!(all, expected);
        assert_eq!([recall_level(29), recall_level(100)], [0.29, 1.0]);
    }

    fn truth(lengths: &[u32], ignored: bool) -> Truth {
        let mask = Runs::new(2, 5, lengths.to_vec()).expect("10 pixels");
        Truth { mask, crowd: false, ignored, never_credited: false }
    }

    #[test]
    fn the_last_of_equals_is_taken_and_ignored_ones_come_second() {
        let truths = [truth(&[0, 10], false), truth(&[0, 10], false), truth(&[0, 10], true)];
        let best = |ious: &[f64], threshold, taken: &[usize]| {
            best_match(&truths, ious, threshold, |i| !taken.contains(&i))
        };
        assert_eq!(best(&[0.7, 0.7, 0.9], 0.5, &[]), Some(1));
        assert_eq!(best(&[0.7, 0.6, 0.9], 0.5, &[]), Some(0));
        assert_eq!(best(&[0.7, 0.7, 0.9], 0.5, &[0, 1]), Some(2));
        assert_eq!(best(&[0.7, 0.7, 0.9], 0.8, &[]), Some(2));
        assert_eq!(best(&[0.4, 0.4, 0.4], 0.5, &[]), None);
    }

    #[test]
    fn a_ground_truth_with_id_0_earns_nothing_as_in_pycocotools() {
        for (id, expected) in [(0, 0.0), (7, 1.0)] {
            let json = format!(
                r#"{{"images":[{{"id":1}}],"annotations":[
                    {{"id":{id},"image_id":1,"segmentation":{{"size":[2,5],"counts":[0,10]}}}}]}}"#
            );
            let truth = Annotations::from_json(json.as_bytes()).expect("annotations");
            let (image, mask) = (Id::Number(1), Runs::new(2, 5, vec![0, 10]).expect("10 pixels"));
            let detections = [Detection { record: 0, image_id: &image, mask, score: 0.9 }];
            let [ap, ap_50] = average_precision(&truth, &BTreeSet::from([&image]), &detections).expect("AP");
            assert!((ap - expected).abs() < 1e-12 && (ap_50 - expected).abs() < 1e-12, "{id}: {ap}, {ap_50}");
        }
    }

    #[test]
    fn precision_never_rises_with_recall() {
        let judged = |score, outcome| Judged { score, outcomes: [outcome; THRESHOLDS] };
        let all = [judged(0.9, Outcome::Wrong), judged(0.8, Outcome::Right), judged(0.7, Outcome::Ignored)];
        let curve = curve(&all, 0, 2);
        assert!((curve[0] - 0.5).abs() < 1e-12 && curve[0] == curve[50]);
        assert_eq!(curve[51], 0.0);
    }
}
