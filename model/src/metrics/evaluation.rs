//! What an evaluation is of, and what it gives.

use super::annotations::Annotations;
use super::id::Id;
use super::predictions::Record;
use super::runs::Overlap;
use super::{multi_inst, one_to_one};
use crate::Result;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How predictions are held against annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every record against its annotation: one instruction means one thing.
    OneToOne,
    /// Every record of a sample against the union of the sample's annotations: one instruction means several things.
    MultiInst,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneToOne => "1to1",
            Self::MultiInst => "multi_inst",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "1to1" => Ok(Self::OneToOne),
            "multi-inst" | "multi_inst" => Ok(Self::MultiInst),
            _ => Err("the modes are 1to1 and multi-inst".to_owned()),
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a sample without target is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoTarget {
    /// Always 0, whatever is predicted, as the reference has it.
    #[default]
    Zero,
    /// 1 when it was asked and nothing was predicted, else 0, as gRefCOCO has it. A sample without record was not
    /// asked.
    Abstain,
}

impl FromStr for NoTarget {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "zero" => Ok(Self::Zero),
            "abstain" => Ok(Self::Abstain),
            _ => Err("a sample without target can count as zero or abstain".to_owned()),
        }
    }
}

/// The numbers of an evaluation: percentages where nothing else is said; NaN (null in JSON) where there is nothing to
/// take the mean of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// How it was made.
    pub mode: Mode,
    /// What samples without target were worth.
    pub no_target: NoTarget,
    /// Scored records ([`Mode::OneToOne`]) or samples.
    pub count: usize,
    /// Mean of the IoUs.
    pub giou: f64,
    /// All shared pixels over all pixels. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ciou: Option<f64>,
    /// The same as `ciou`, under the reference's misleading name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miou: Option<f64>,
    /// Share of IoUs of at least 0.5.
    pub p_50: f64,
    /// COCO's average precision over the IoUs 0.50, 0.55, .. 0.95; -100 without ground truth. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap: Option<f64>,
    /// COCO's average precision at an IoU of 0.5. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap_50: Option<f64>,
    /// The pixels `ciou` is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Overlap>,
    /// Whether the model knows when to say nothing.
    pub abstention: Abstention,
    /// Records that were not scored: of unknown annotations ([`Mode::OneToOne`]) or samples.
    pub skipped: usize,
    /// Samples without a record, which score 0. [`Mode::MultiInst`] only.
    pub unanswered: usize,
    /// Apart by the level that was asked. Samples without record belong to none.
    pub by_level: Vec<Group>,
    /// Apart by the number of things that are meant: `none`, `one`, `several`.
    pub by_targets: Vec<Group>,
    /// Every record ([`Mode::OneToOne`]) or sample.
    pub samples: Vec<Sample>,
}

/// Answers with and without anything in them, counted by record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Abstention {
    /// Records where nothing is meant.
    pub no_target: usize,
    /// Those of them that predict nothing.
    pub no_target_silent: usize,
    /// Records where something is meant.
    pub target: usize,
    /// Those of them that predict something.
    pub target_answered: usize,
}

impl Abstention {
    pub(super) fn count(&mut self, meant: bool, answered: bool) {
        let (all, right) = match meant {
            true => (&mut self.target, &mut self.target_answered),
            false => (&mut self.no_target, &mut self.no_target_silent),
        };
        *all += 1;
        *right += usize::from(meant == answered);
    }

    /// Share of the records without target that predict nothing, in percent.
    #[must_use]
    pub fn n_acc(&self) -> f64 {
        100.0 * self.no_target_silent as f64 / self.no_target as f64
    }

    /// Share of the records with a target that predict something, in percent.
    #[must_use]
    pub fn t_acc(&self) -> f64 {
        100.0 * self.target_answered as f64 / self.target as f64
    }
}

/// The numbers of a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Mean of the IoUs, in percent.
    pub giou: f64,
    /// All shared pixels over all pixels, in percent. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ciou: Option<f64>,
    /// Share of IoUs of at least 0.5, in percent.
    pub p_50: f64,
}

/// One sample's numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// The annotation. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_id: Option<Id>,
    /// The sample.
    pub image_id: Id,
    /// The level that was asked. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// How many things are meant: `none`, `one`, `several`.
    pub targets: &'static str,
    /// How many records were scored.
    pub records: usize,
    /// The IoU, 0 to 1: the mean over the records.
    pub iou: f64,
    /// Whether it is at least 0.5: the mean over the records.
    pub hit: f64,
    /// The pixels of the IoU. [`Mode::OneToOne`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Overlap>,
}

/// Evaluates predictions.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming the annotation, sample or record that cannot be used: spec section 6.5.
pub fn evaluate(
    truth: &Annotations,
    records: &[Record],
    mode: Mode,
    no_target: NoTarget,
) -> Result<Evaluation> {
    match mode {
        Mode::OneToOne => one_to_one::evaluate(truth, records, no_target),
        Mode::MultiInst => multi_inst::evaluate(truth, records, no_target),
    }
}

/// The score of a record, for the parts.
pub(super) struct Scored {
    /// Which of the samples it belongs to.
    pub(super) sample: usize,
    /// The level that was asked; `None` if nothing was.
    pub(super) level: Option<String>,
    /// See [`Sample::targets`].
    pub(super) targets: &'static str,
    pub(super) iou: f64,
    pub(super) pixels: Option<Overlap>,
}

/// Whether an IoU counts as found.
pub(super) fn hit(iou: f64) -> f64 {
    f64::from(u8::from(iou >= 0.5))
}

/// The mean; NaN of nothing.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}

/// What is printed for `pixels`, in percent: 0 when there are none.
pub(super) fn ciou(pixels: Overlap) -> f64 {
    100.0 * pixels.iou()
}

/// How many things are meant, from the pixels and the annotations of a sample.
pub(super) fn targets(area: u64, annotations: usize) -> &'static str {
    match (area, annotations) {
        (0, _) => "none",
        (_, 0..=1) => "one",
        _ => "several",
    }
}

/// The level of a record by its `prompt_type`.
pub(super) fn level_of(record: &Record) -> String {
    let name = record.prompt_type.as_deref().unwrap_or("unknown");
    name.strip_suffix("_query_0").unwrap_or(name).to_owned()
}

/// The parts with one key, each the mean over samples of the mean over its records.
pub(super) fn groups(scored: &[Scored], key: impl Fn(&Scored) -> Option<&str>) -> Vec<Group> {
    let mut parts: BTreeMap<&str, BTreeMap<usize, Vec<&Scored>>> = BTreeMap::new();
    for one in scored {
        if let Some(key) = key(one) {
            parts.entry(key).or_default().entry(one.sample).or_default().push(one);
        }
    }
    let group = |(name, samples): (&str, BTreeMap<usize, Vec<&Scored>>)| {
        let per_sample = |score: fn(&Scored) -> f64| {
            100.0 * mean(samples.values().map(|records| mean(records.iter().map(|one| score(one)))))
        };
        let pixels: Option<Vec<Overlap>> = samples.values().flatten().map(|one| one.pixels).collect();
        Group {
            name: name.to_owned(),
            count: samples.len(),
            giou: per_sample(|one| one.iou),
            ciou: pixels.map(|pixels| ciou(pixels.into_iter().sum())),
            p_50: per_sample(|one| hit(one.iou)),
        }
    };
    parts.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_take_the_mean_within_a_sample_first() {
        let scored = |sample, level: &str, iou| Scored {
            sample,
            level: Some(level.to_owned()),
            targets: "one",
            iou,
            pixels: None,
        };
        let all = [scored(0, "simple", 1.0), scored(0, "simple", 0.5), scored(1, "simple", 0.25)];
        let [group] = &groups(&all, |one| one.level.as_deref())[..] else { panic!("one level") };
        assert_eq!((group.count, group.giou, group.p_50, group.ciou), (2, 50.0, 50.0, None));
    }

    #[test]
    fn silence_is_right_where_nothing_is_meant() {
        let mut abstention = Abstention::default();
        for (meant, answered) in [(true, true), (true, false), (false, false), (false, false), (false, true)]
        {
            abstention.count(meant, answered);
        }
        let expected = Abstention { no_target: 3, no_target_silent: 2, target: 2, target_answered: 1 };
        assert_eq!(abstention, expected);
        assert_eq!(abstention.t_acc(), 50.0);
        assert!(Abstention::default().n_acc().is_nan());
    }

    #[test]
    fn the_mean_of_nothing_is_not_a_number() {
        assert!(mean([]).is_nan());
        assert_eq!(mean([1.0, 2.0]), 1.5);
    }
}
