//! Prediction files: what was found for each query, and how the parts of a run become one file.
//!
//! Source: evaluation spec, section 5.

use super::annotations::Instructions;
use super::id::Id;
use super::shape::Shape;
use crate::level::Level;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::Path;

/// What was found for one query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The annotation that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation_id: Option<Id>,
    /// The sample that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Id>,
    /// Its picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<AskedPrompt>,
    /// `concept`, `simple_query_0` or `complex_query_0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_type: Option<String>,
    /// What was found, in the order of the model's queries.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub predictions: Vec<Prediction>,
}

/// The instruction of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AskedPrompt {
    /// A concept.
    Text(String),
    /// All lists of the sample; the one that was used holds its first instruction twice, which makes the reference's random
    /// choice between two harmless.
    Lists(Instructions),
    /// Something else, kept as it is.
    Other(serde_json::Value),
}

/// One thing that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Its mask.
    #[serde(default)]
    pub rle: Shape,
    /// Its score.
    #[serde(default, skip_serializing_if = "Score::is_missing")]
    pub score: Score,
}

/// A score, which other tools may leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Score {
    /// There is no such key.
    #[default]
    #[serde(skip)]
    Missing,
    /// It is null.
    Null,
    /// It is there.
    Value(f64),
}

impl Score {
    fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    /// The score for [`keep_top1`]: 0 when there is none.
    fn rank(self) -> f64 {
        match self {
            Self::Value(score) => score,
            Self::Missing | Self::Null => 0.0,
        }
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Prediction>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The `prompt_type` of a level's queries.
#[must_use]
pub fn prompt_type(level: Level) -> &'static str {
    match level {
        Level::Concept => "concept",
        Level::Simple => "simple_query_0",
        Level::Complex => "complex_query_0",
    }
}

/// Reads a prediction file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Data`] when it is not of this form.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    from_json(&bytes).map_err(|problem| Error::data(path.display().to_string(), problem))
}

/// Reads a prediction file that is in memory.
///
/// # Errors
/// What is wrong with it.
pub fn from_json(bytes: &[u8]) -> Result<Vec<Record>, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("not a prediction file (a list of records): {e}"))
}

/// Sorts records by annotation, then by level; those that are equal keep their order. Records without annotation come
/// last, by sample.
pub fn sort(records: &mut [Record]) {
    let rank = |record: &Record| match record.prompt_type.as_deref() {
        Some("concept") => 0,
        Some("simple_query_0") => 1,
        Some("complex_query_0") => 3,
        _ => 99,
    };
    records.sort_by(|a, b| {
        let unnamed = |record: &Record| record.annotation_id.is_none();
        let image = |record: &'_ Record| if unnamed(record) { record.image_id.clone() } else { None };
        let ids = unnamed(a).cmp(&unnamed(b)).then_with(|| a.annotation_id.cmp(&b.annotation_id));
        ids.then_with(|| image(a).cmp(&image(b))).then_with(|| rank(a).cmp(&rank(b)))
    });
}

/// Keeps the best prediction of each record; of equal scores the first, and a missing score counts as 0.
pub fn keep_top1(records: &mut [Record]) {
    for record in records {
        let better = |best: usize, i: usize| {
            let score = |i: usize| record.predictions[i].score.rank();
            if score(i) > score(best) { i } else { best }
        };
        if let Some(best) = (0..record.predictions.len()).reduce(better) {
            record.predictions.swap(0, best);
            record.predictions.truncate(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_null_and_given_scores_differ() {
        struct Case(&'static str, Score);
        let cases = [
            Case(r#"{"rle":null}"#, Score::Missing),
            Case(r#"{"rle":null,"score":null}"#, Score::Null),
            Case(r#"{"rle":null,"score":0.5}"#, Score::Value(0.5)),
        ];
        for Case(json, score) in cases {
            let read: Prediction = serde_json::from_str(json).expect(json);
            assert_eq!(read.score, score);
            assert_eq!(serde_json::to_string(&read).expect("plain data"), json);
        }
    }

    #[test]
    fn records_come_back_as_they_were() {
        let json = concat!(
            r#"[{"annotation_id":7,"image_id":3,"file_name":"a.jpg","prompt":{"concept":["cup"],"#,
            r#""simple_query":["x","x"],"complex_query":[]},"prompt_type":"simple_query_0","predictions":"#,
            r#"[{"rle":{"size":[2,2],"counts":"04"},"score":0.91015625}]},{"image_id":3,"prompt":"cup","#,
            r#""predictions":[]},{"image_id":4,"prompt":[1],"predictions":[]}]"#,
        );
        let records = from_json(json.as_bytes()).expect("records");
        assert!(matches!(records[0].prompt, Some(AskedPrompt::Lists(_))));
        assert!(matches!(records[1].prompt, Some(AskedPrompt::Text(_))));
        assert_eq!(serde_json::to_string(&records).expect("plain data"), json);
    }

    #[test]
    fn other_files_are_refused() {
        let long_score = br#"[{"predictions":[{"score":"high"}]}]"#;
        let cases: [&[u8]; 5] = [b"", b"{}", b"[7]", br#"[{"predictions":7}]"#, long_score];
        for json in cases {
            assert!(from_json(json).expect_err("refused").contains("not a prediction file"));
        }
    }

    #[test]
    fn records_without_annotation_come_last() {
        let record = |annotation: Option<i64>, image: i64| Record {
            annotation_id: annotation.map(Id::Number),
            image_id: Some(Id::Number(image)),
            ..Record::default()
        };
        let mut records = [record(None, 2), record(None, 1), record(Some(9), 5), record(Some(2), 7)];
        sort(&mut records);
        let images: Vec<_> = records.iter().filter_map(|record| record.image_id.clone()).collect();
        assert_eq!(images, [7, 5, 1, 2].map(Id::Number));
    }
}
