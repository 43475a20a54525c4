//! Annotation files: pictures, what is asked of them, and the masks that answer it.
//!
//! An entry of `images` is a sample: the same picture comes again under another id for every further set of instructions.
//! All annotations that name an entry are the targets of its instructions. Source: evaluation spec, section 2.

use super::id::Id;
use super::shape::Shape;
use crate::level::Level;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// An annotation file. Keys that are not listed here are passed over.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Annotations {
    /// The samples.
    pub images: Vec<Image>,
    /// Their targets.
    pub annotations: Vec<Annotation>,
}

/// A sample: a picture and its instructions.
#[derive(Clone, Debug, Deserialize)]
pub struct Image {
    /// The sample's id.
    pub id: Id,
    /// The picture, relative to the folder of pictures.
    #[serde(default)]
    pub file_name: Option<String>,
    /// The picture's width in pixels.
    #[serde(default)]
    pub width: Option<usize>,
    /// The picture's height in pixels.
    #[serde(default)]
    pub height: Option<usize>,
    /// What is asked.
    #[serde(default, deserialize_with = "null_as_default")]
    pub text_inst_input: Instructions,
}

impl Image {
    /// Height and width, if both are there.
    #[must_use]
    pub fn size(&self) -> Option<[usize; 2]> {
        Some([self.height?, self.width?])
    }
}

/// The instructions of a sample, by level; each list may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// Noun phrases.
    #[serde(default, deserialize_with = "null_as_default")]
    pub concept: Vec<String>,
    /// Referring phrases, ways of saying the same.
    #[serde(default, deserialize_with = "null_as_default")]
    pub simple_query: Vec<String>,
    /// Instructions that name no noun, ways of saying the same.
    #[serde(default, deserialize_with = "null_as_default")]
    pub complex_query: Vec<String>,
}

impl Instructions {
    /// The instructions of a level.
    #[must_use]
    pub fn of(&self, level: Level) -> &[String] {
        match level {
            Level::Concept => &self.concept,
            Level::Simple => &self.simple_query,
            Level::Complex => &self.complex_query,
        }
    }

    /// The instructions of a level, to change.
    pub(super) fn of_mut(&mut self, level: Level) -> &mut Vec<String> {
        match level {
            Level::Concept => &mut self.concept,
            Level::Simple => &mut self.simple_query,
            Level::Complex => &mut self.complex_query,
        }
    }
}

/// A target.
#[derive(Clone, Debug, Deserialize)]
pub struct Annotation {
    /// Its id.
    #[serde(default)]
    pub id: Option<Id>,
    /// The sample it belongs to.
    pub image_id: Id,
    /// Whether it stands for a crowd, which average precision neither asks for nor counts against.
    #[serde(default, deserialize_with = "flag")]
    pub iscrowd: bool,
    /// Its size in pixels; the mask's when it is not there.
    #[serde(default)]
    pub area: Option<f64>,
    /// Its mask.
    #[serde(default)]
    pub segmentation: Shape,
}

impl Annotation {
    /// What messages call it.
    pub(super) fn name(&self) -> String {
        match &self.id {
            Some(id) => format!("annotation {id}"),
            None => format!("an annotation without id (of image {})", self.image_id),
        }
    }
}

impl Annotations {
    /// Reads an annotation file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] when it is not of this form.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::from_json(&bytes).map_err(|problem| Error::data(path.display().to_string(), problem))
    }

    /// Reads an annotation file that is in memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| {
            format!("not an annotation file (an object with the lists `images` and `annotations`): {e}")
        })
    }

    /// The samples by id; of several with one id, the last.
    pub(super) fn images_by_id(&self) -> HashMap<&Id, &Image> {
        self.images.iter().map(|image| (&image.id, image)).collect()
    }
}

/// Null reads like a key that is not there.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// 0, 1, false, true or null.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Number(f64),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => false,
        Some(Flag::Bool(value)) => value,
        Some(Flag::Number(value)) => value != 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_may_be_absent() {
        let json = br#"{"images":[{"id":3,"more":[1]},{"id":"a","height":2,"width":5,"text_inst_input":{"concept":null}}],
            "annotations":[{"image_id":3,"iscrowd":1,"area":null},{"id":4,"image_id":3,"iscrowd":false,"bbox":[]}]}"#;
        let file = Annotations::from_json(json).expect("an annotation file");
        assert_eq!(file.images[0].text_inst_input, Instructions::default());
        assert_eq!((file.images[0].size(), file.images[1].size()), (None, Some([2, 5])));
        let [first, second] = &file.annotations[..] else { panic!("two annotations") };
        assert!(first.iscrowd && !second.iscrowd);
        assert_eq!(first.name(), "an annotation without id (of image 3)");
        assert_eq!(second.segmentation, Shape::Absent);
    }

    #[test]
    fn other_files_are_refused_with_the_place() {
        struct Case(&'static [u8], &'static str);
        let cases = [
            Case(b"", "EOF"),
            Case(b"[]", "not an annotation file"),
            Case(br#"{"images":[]}"#, "missing field `annotations`"),
            Case(br#"{"images":[{}],"annotations":[]}"#, "missing field `id`"),
            Case(br#"{"images":[],"annotations":[{"image_id":1,"segmentation":7}]}"#, "7 is no mask"),
            Case(br#"{"images":[{"id":1,"width":-3}],"annotations":[]}"#, "line 1"),
            Case(b"\xff\xfe", "line 1"),
        ];
        for Case(json, words) in cases {
            let message = Annotations::from_json(json).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
