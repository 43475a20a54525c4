//! The spellings of a mask in JSON.

use super::polygon::polygons_to_runs;
use super::runs::Runs;
use crate::mask::Rle;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A mask as an annotation's `segmentation` or a prediction's `rle` spells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Shape {
    /// No mask: null, `{}`, `[]`, or no such key.
    #[default]
    Absent,
    /// Compressed run lengths. Empty `counts` are a mask without pixels.
    Packed(Rle),
    /// Run lengths as a list.
    Listed {
        /// Height and width.
        size: [usize; 2],
        /// The run lengths, zeros first.
        counts: Vec<u32>,
    },
    /// Polygons `[x0, y0, x1, y1, ..]` in pixels, united.
    Polygons(Vec<Vec<f64>>),
}

impl Shape {
    /// The mask; `None` if there is none. Polygons are drawn into a picture of `size` (height and width).
    ///
    /// # Errors
    /// [`Error::Rle`] when it is malformed, or has polygons while `size` is not known.
    pub fn runs(&self, size: Option<[usize; 2]>) -> Result<Option<Runs>> {
        match self {
            Self::Absent => Ok(None),
            Self::Packed(rle) => Runs::from_rle(rle).map(Some),
            Self::Listed { size: [height, width], counts } => {
                Runs::new(*height, *width, counts.clone()).map(Some)
            }
            Self::Polygons(polygons) => {
                let [height, width] = size.ok_or_else(|| {
                    Error::rle(
                        "it has polygons, which need the picture's height and width; these are not known",
                    )
                })?;
                polygons_to_runs(polygons, height, width).map(Some)
            }
        }
    }
}

impl From<Rle> for Shape {
    fn from(rle: Rle) -> Self {
        Self::Packed(rle)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shape(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn shape(value: Value) -> Result<Shape, String> {
    if is_nothing(&value) {
        return Ok(Shape::Absent);
    }
    match value {
        Value::Array(_) => serde_json::from_value(value)
            .map(Shape::Polygons)
            .map_err(|e| format!("a list of polygons, each a list of numbers, was expected: {e}")),
        Value::Object(mut fields) => {
            let (size, counts) = (fields.remove("size"), fields.remove("counts").unwrap_or_default());
            run_lengths(size, counts)
        }
        other => Err(format!("{other} is no mask: neither run lengths nor polygons")),
    }
}

/// What Python takes for false.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn run_lengths(size: Option<Value>, counts: Value) -> Result<Shape, String> {
    let known = |size| {
        serde_json::from_value::<[usize; 2]>(size).map_err(|e| format!("`size` must be [height, width]: {e}"))
    };
    if is_nothing(&counts) {
        let size = size.map_or(Ok([0, 0]), known)?;
        return Ok(Rle { size, counts: String::new() }.into());
    }
    let size = size.ok_or("run lengths without their `size`").map(known)??;
    match counts {
        Value::String(counts) => Ok(Rle { size, counts }.into()),
        Value::Array(_) => serde_json::from_value(counts)
            .map(|counts| Shape::Listed { size, counts })
            .map_err(|e| format!("`counts` must be a string or a list of run lengths: {e}")),
        other => Err(format!("`counts` must be a string or a list of run lengths, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<Vec<u32>>, String> {
        let shape: Shape = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let runs = shape.runs(Some([10, 12])).map_err(|e| e.to_string())?;
        Ok(runs.map(|runs| runs.lengths().to_vec()))
    }

    #[test]
    fn every_spelling_is_read() {
        struct Case(&'static str, Option<&'static [u32]>);
        let cases = [
            Case("null", None),
            Case("{}", None),
            Case("[]", None),
            Case("false", None),
            Case(r#"{"size":[4,5],"counts":"c01"}"#, Some(&[19, 1])),
            Case(r#"{"size":[4,5],"counts":[19,1]}"#, Some(&[19, 1])),
            Case(r#"{"size":[4,5],"counts":""}"#, Some(&[20])),
            Case(r#"{"size":[4,5],"counts":[]}"#, Some(&[20])),
            Case(r#"{"size":[4,5],"counts":null}"#, Some(&[20])),
            Case(r#"{"size":[4,5]}"#, Some(&[20])),
            Case(r#"{"counts":""}"#, Some(&[0])),
            Case("[[0,0,1,0,1,10,0,10]]", Some(&[0, 10, 110])),
        ];
        for Case(json, expected) in cases {
            assert_eq!(read(json).expect(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn other_spellings_are_errors() {
        let cases = [
            ("7", "is no mask"),
            ("\"c01\"", "is no mask"),
            ("[1,2,3]", "list of polygons"),
            ("[[1,2]]", "three points"),
            (r#"{"size":[4,5],"counts":[19,-1]}"#, "list of run lengths"),
            (r#"{"size":[4,5],"counts":[19,2]}"#, "add up to 21"),
            (r#"{"size":[4],"counts":"c01"}"#, "[height, width]"),
            (r#"{"size":[-4,5],"counts":"c01"}"#, "[height, width]"),
            (r#"{"counts":"c01"}"#, "without their `size`"),
            (r#"{"size":[4,5],"counts":7}"#, "not 7"),
            (r#"{"size":[4,5],"counts":"~"}"#, "not of this encoding"),
        ];
        for (json, words) in cases {
            let message = read(json).expect_err(json);
            assert!(message.contains(words), "{json}: {message}");
        }
    }

    #[test]
    fn polygons_need_a_size() {
        let shape: Shape = serde_json::from_str("[[0,0,1,0,1,10]]").expect("polygons");
        assert!(shape.runs(None).expect_err("no size").to_string().contains("height and width"));
    }
}
