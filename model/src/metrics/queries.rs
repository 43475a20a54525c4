//! From annotations to what a model is asked.
//!
//! Annotations are gone through in the file's order; each gives, for the requested levels, one query per concept, one for
//! its first simple instruction and one for its first complex one. A sample with three annotations gives the same query three
//! times; [`Query::question`] tells what has to be computed only once. Source: evaluation spec, section 3.

use super::annotations::{Annotations, Image};
use super::id::Id;
use super::predictions::{AskedPrompt, Prediction, Record, prompt_type};
use crate::level::Level;
use crate::{Error, Result};

/// Which queries are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Select {
    /// The levels; their order does not matter.
    pub levels: Vec<Level>,
    /// Also ask samples that have no annotation, which the reference never does. Their records have no `annotation_id`.
    pub unannotated: bool,
}

impl Select {
    /// Queries of these levels, as the reference asks them.
    #[must_use]
    pub fn levels(levels: &[Level]) -> Self {
        Self { levels: levels.to_vec(), unannotated: false }
    }

    /// With or without samples that have no annotation.
    #[must_use]
    pub fn unannotated(mut self, ask: bool) -> Self {
        self.unannotated = ask;
        self
    }
}

/// Something a model is asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// The annotation it comes from.
    pub annotation_id: Option<Id>,
    /// The sample.
    pub image_id: Id,
    /// Its picture, relative to the folder of pictures.
    pub file_name: String,
    /// The instruction as a record keeps it.
    pub prompt: AskedPrompt,
    /// The level it runs at.
    pub level: Level,
    /// The instruction.
    pub text: String,
}

/// What decides an answer: queries with equal questions have equal answers.
pub type Question<'a> = (&'a str, Level, &'a str);

impl Query {
    /// Picture, level and text.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        (&self.file_name, self.level, &self.text)
    }

    /// The record of this query with its answer.
    #[must_use]
    pub fn answered(self, predictions: Vec<Prediction>) -> Record {
        Record {
            annotation_id: self.annotation_id,
            image_id: Some(self.image_id),
            file_name: Some(self.file_name),
            prompt: Some(self.prompt),
            prompt_type: Some(prompt_type(self.level).to_owned()),
            predictions,
        }
    }
}

/// The queries of an annotation file, in its order.
///
/// # Errors
/// [`Error::Data`] for an annotation without id or of a sample that is not there, and for a sample that is asked without a
/// picture or with an empty instruction.
pub fn queries(file: &Annotations, select: &Select) -> Result<Vec<Query>> {
    let images = file.images_by_id();
    let mut queries = Vec::new();
    for annotation in &file.annotations {
        let image = images.get(&annotation.image_id).ok_or_else(|| {
            let problem = format!("names image {}, which `images` does not have", annotation.image_id);
            Error::data(annotation.name(), problem)
        })?;
        if annotation.id.is_none() {
            return Err(Error::data(annotation.name(), "needs an id to be asked for"));
        }
        ask(image, annotation.id.as_ref(), &select.levels, &mut queries)?;
    }
    if select.unannotated {
        let annotated: std::collections::HashSet<&Id> =
            file.annotations.iter().map(|a| &a.image_id).collect();
        for image in file.images.iter().filter(|image| !annotated.contains(&image.id)) {
            ask(image, None, &select.levels, &mut queries)?;
        }
    }
    Ok(queries)
}

/// Adds the queries of one annotation.
fn ask(image: &Image, annotation_id: Option<&Id>, levels: &[Level], queries: &mut Vec<Query>) -> Result<()> {
    for level in Level::ALL.into_iter().filter(|level| levels.contains(level)) {
        let texts = image.text_inst_input.of(level);
        let used = if level == Level::Concept { texts } else { &texts[..texts.len().min(1)] };
        for text in used {
            let refuse = |problem: &str| Error::data(format!("image {}", image.id), problem);
            if text.trim().is_empty() {
                return Err(refuse(&format!("has an empty {level} instruction")));
            }
            queries.push(Query {
                annotation_id: annotation_id.cloned(),
                image_id: image.id.clone(),
                file_name: image.file_name.clone().ok_or_else(|| refuse("has no `file_name`"))?,
                prompt: asked_prompt(image, level, text),
                level,
                text: text.clone(),
            });
        }
    }
    Ok(())
}

fn asked_prompt(image: &Image, level: Level, text: &str) -> AskedPrompt {
    if level == Level::Concept {
        return AskedPrompt::Text(text.to_owned());
    }
    let mut lists = image.text_inst_input.clone();
    *lists.of_mut(level) = vec![text.to_owned(); 2];
    AskedPrompt::Lists(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(images: &str, annotations: &str) -> Annotations {
        let json = format!(r#"{{"images":[{images}],"annotations":[{annotations}]}}"#);
        Annotations::from_json(json.as_bytes()).expect("an annotation file")
    }

    #[test]
    fn samples_without_annotation_are_asked_only_on_request() {
        let image = |id: i64| {
            format!(r#"{{"id":{id},"file_name":"{id}.png","text_inst_input":{{"simple_query":["a","b"]}}}}"#)
        };
        let file = file(&[image(1), image(2)].join(","), r#"{"id":5,"image_id":2},{"id":6,"image_id":2}"#);
        let select = Select::levels(&[Level::Simple, Level::Concept]);
        let asked = queries(&file, &select).expect("queries");
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0].question(), asked[1].question());
        let asked = queries(&file, &select.unannotated(true)).expect("queries");
        assert_eq!(asked[2].question(), ("1.png", Level::Simple, "a"));
        assert_eq!(asked[2].annotation_id, None);
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let text = r#""text_inst_input":{"concept":["cup"]}"#;
        let (asked, blank) = (r#"{"id":5,"image_id":1}"#, r#""text_inst_input":{"concept":[" "]}"#);
        let cases = [
            (format!(r#"{{"id":1,{text}}}"#), asked, "image 1: has no `file_name`"),
            (format!(r#"{{"id":1,"file_name":"a",{blank}}}"#), asked, "empty concept instruction"),
            (String::new(), asked, "annotation 5: names image 1"),
            (format!(r#"{{"id":1,"file_name":"a",{text}}}"#), r#"{"image_id":1}"#, "needs an id"),
        ];
        for (images, annotations, words) in cases {
            let refused = queries(&file(&images, annotations), &Select::levels(&Level::ALL));
            let message = refused.expect_err(words).to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
