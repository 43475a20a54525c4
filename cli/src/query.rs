//! One question: a sentence, examples, or both.

use crate::examples::Examples;
use crate::report::PromptReport;
use sam3i::{Level, Prompt, SegmentOptions};
use std::borrow::Cow;

/// Most characters of a prompt in messages.
const LONGEST_TITLE: usize = 80;

/// What is asked of a picture.
#[derive(Clone, Debug)]
pub struct Query {
    /// The sentence; `None` for examples alone.
    pub text: Option<String>,
    /// Its level.
    pub level: Level,
    /// The example boxes and points.
    pub examples: Examples,
    /// All of it, as the model takes it.
    pub prompt: Prompt,
    /// Its own least score, if it has one.
    pub threshold: Option<f32>,
}

impl Query {
    /// A sentence, examples, or both.
    pub fn new(text: Option<String>, level: Level, examples: &Examples) -> Self {
        let start = text.clone().map_or_else(Prompt::examples, Prompt::text).level(level);
        Self { text, level, prompt: examples.added_to(start), examples: examples.clone(), threshold: None }
    }

    /// With a least score of its own.
    pub fn with_threshold(self, threshold: Option<f32>) -> Self {
        Self { threshold, ..self }
    }

    /// What counts as found: the options of all prompts, but for its own threshold.
    pub fn options<'a>(&self, common: &'a SegmentOptions) -> Cow<'a, SegmentOptions> {
        match self.threshold {
            Some(threshold) => Cow::Owned(common.clone().threshold(threshold)),
            None => Cow::Borrowed(common),
        }
    }

    /// What a person calls it: the sentence in quotes, or the examples.
    pub fn title(&self) -> String {
        title(self.text.as_deref(), &self.examples)
    }

    /// What its finds are called.
    pub fn label(&self) -> &str {
        label(self.text.as_deref())
    }

    /// Whether a report's prompt asked this.
    pub fn is_of(&self, prompt: &PromptReport) -> bool {
        (&self.text, self.level.to_string()) == (&prompt.text, prompt.level.clone())
            && self.examples == Examples::of(prompt)
            && self.threshold == prompt.threshold
    }
}

impl PromptReport {
    /// As [`Query::title`].
    pub fn title(&self) -> String {
        title(self.text.as_deref(), &Examples::of(self))
    }
}

fn title(text: Option<&str>, examples: &Examples) -> String {
    text.map_or_else(|| examples.title(), |text| format!("\"{}\"", shortened(text)))
}

/// What the things are called that a text, or examples alone, found.
pub fn label(text: Option<&str>) -> &str {
    text.map_or("like the example", str::trim)
}

/// A sentence on one line, its end cut off when it is very long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_TITLE) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_one_line() {
        assert_eq!(shortened(" the mug\n left "), "the mug left");
        assert_eq!(shortened(&"é".repeat(99)), "é".repeat(80) + "…");
    }
}
