//! What is said about a picture, as JSON. Its form is a contract: fields keep their names and order.

use sam3i::Model;
use sam3i::mask::Rle;
use serde::{Deserialize, Serialize};

/// Version of [`Report`]'s form.
pub const SCHEMA: u32 = 1;

/// Everything about one picture: a line of `--json`, or `<stem>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The picture.
    pub image: ImageReport,
    /// The model.
    pub model: ModelReport,
    /// The device that computed.
    pub device: String,
    /// The type that was computed in.
    pub dtype: String,
    /// How long each stage took.
    pub timings_ms: Timings,
    /// One for each prompt, in the order they were given.
    pub prompts: Vec<PromptReport>,
}

/// The picture of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageReport {
    /// Its file, as it was given.
    pub file: String,
    /// Pixels across, after the EXIF orientation.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// How it was cut, if it was looked at piece by piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<TileReport>,
}

/// The tiles of a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileReport {
    /// The side of a tile in pixels.
    pub side: usize,
    /// What neighbours share at least, in pixels.
    pub overlap: usize,
    /// How many there are.
    pub count: usize,
}

/// The model of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Its configuration's name.
    pub name: String,
    /// Its number of parameters.
    pub params: u64,
}

impl ModelReport {
    /// Of a loaded model.
    pub fn new(model: &Model) -> Self {
        Self { name: model.config().name.clone(), params: model.checkpoint().param_count() as u64 }
    }
}

/// Milliseconds of the stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Reading the weights; 0 for all pictures of a batch but the first.
    pub load: f64,
    /// Decoding and resizing the picture.
    pub preprocess: f64,
    /// The image trunk.
    pub image: f64,
    /// The text encoder.
    pub text: f64,
    /// Fusion, decoder and heads.
    pub grounding: f64,
    /// Masks at the picture's size.
    pub masks: f64,
}

/// One prompt and what it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptReport {
    /// Its place among the prompts, from 0.
    pub index: usize,
    /// Its text; null for boxes alone.
    pub text: Option<String>,
    /// `concept`, `simple` or `complex`.
    pub level: String,
    /// Its example boxes.
    pub boxes: Vec<BoxReport>,
    /// Its example points; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<PointReport>,
    /// Its own least score; left out where the one of all prompts holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Tokens of the whole text, start and end included.
    pub tokens: usize,
    /// Whether the model saw only the text's beginning.
    pub truncated: bool,
    /// How sure the model is that the picture shows it at all.
    pub presence: f32,
    /// What was found, highest score first.
    pub instances: Vec<InstanceReport>,
}

/// An example box.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxReport {
    /// x0, y0, x1, y1 in pixels.
    pub r#box: [f32; 4],
    /// Whether it shows what is meant, or what is not.
    pub positive: bool,
}

/// An example point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointReport {
    /// x, y in pixels.
    pub point: [f32; 2],
    /// Whether it lies on what is meant, or on what is not.
    pub positive: bool,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Its place among the prompt's instances, from 0.
    pub id: usize,
    /// The query that found it.
    pub query: usize,
    /// Its score.
    pub score: f32,
    /// x0, y0, x1, y1 in pixels, perhaps beyond the picture.
    pub r#box: [f32; 4],
    /// Pixels of the mask.
    pub area: usize,
    /// The mask at the picture's size.
    pub rle: Rle,
}

#[cfg(test)]
mod tests {
    use super::*;
    use sam3i::mask::Mask;

    #[test]
    fn the_report_has_the_contracts_fields_in_order() {
        let mask = Mask::new(5, 4, vec![1; 20]).expect("5 x 4");
        let rle = mask.to_rle().expect("a small mask");
        let instance =
            InstanceReport { id: 0, query: 17, score: 0.91, r#box: [0.0, 0.5, 5.0, 4.0], area: 20, rle };
        let prompt = PromptReport {
            index: 0,
            text: Some("the mug".to_owned()),
            level: "simple".to_owned(),
            boxes: vec![],
            points: vec![],
            threshold: None,
            tokens: 4,
            truncated: false,
            presence: 0.98,
            instances: vec![instance],
        };
        let report = Report {
            schema: SCHEMA,
            image: ImageReport { file: "a.png".to_owned(), width: 5, height: 4, tiles: None },
            model: ModelReport { name: "sam3i".to_owned(), params: 840_509_750 },
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            timings_ms: Timings::default(),
            prompts: vec![prompt],
        };
        let expected = concat!(
            r#"{"schema":1,"image":{"file":"a.png","width":5,"height":4},"model":{"name":"sam3i","params":840509750},"#,
            r#""device":"cpu","dtype":"f32","timings_ms":{"load":0.0,"preprocess":0.0,"image":0.0,"text":0.0,"#,
            r#""grounding":0.0,"masks":0.0},"prompts":[{"index":0,"text":"the mug","level":"simple","boxes":[],"#,
            r#""tokens":4,"truncated":false,"presence":0.98,"instances":[{"id":0,"query":17,"score":0.91,"#,
            r#""box":[0.0,0.5,5.0,4.0],"area":20,"rle":{"size":[4,5],"counts":"0d0"}}]}]}"#,
        );
        assert_eq!(serde_json::to_string(&report).expect("plain data"), expected);
        assert_eq!(serde_json::from_str::<Report>(expected).expect("its own form"), report);
    }
}
