//! `--prompts FILE`: questions from a file, for every picture or for one.
//!
//! Three forms: lines of text; JSON, a list of entries; JSON Lines, an entry a line. An entry is a sentence, or an object
//! with `text`, `level`, `threshold`, `boxes`, `neg_boxes`, `points`, `neg_points` and `image`, none of which must be there.

use crate::examples::{Example, Examples};
use anyhow::{Context, Result, anyhow, ensure};
use sam3i::Level;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest prompt file that is read, in bytes.
const LONGEST: u64 = 1 << 28;

/// A question of a prompt file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The sentence; none for examples alone.
    pub text: Option<String>,
    /// Its level, if the file says.
    pub level: Option<Level>,
    /// Its own least score, if the file says.
    pub threshold: Option<f32>,
    /// Its example boxes and points.
    pub examples: Examples,
    /// The picture it is for: its file name, or the end of its path. None: all.
    pub image: Option<String>,
}

/// An entry as JSON spells it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spelled {
    Text(String),
    Object(Object),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    #[serde(default)]
    text: Option<String>,
    #[serde(default, deserialize_with = "level")]
    level: Option<Level>,
    #[serde(default, deserialize_with = "threshold")]
    threshold: Option<f32>,
    #[serde(default)]
    boxes: Vec<[f32; 4]>,
    #[serde(default)]
    neg_boxes: Vec<[f32; 4]>,
    #[serde(default)]
    points: Vec<[f32; 2]>,
    #[serde(default)]
    neg_points: Vec<[f32; 2]>,
    #[serde(default)]
    image: Option<String>,
}

impl Object {
    fn examples(&self) -> Examples {
        let boxes = [(&self.boxes, true), (&self.neg_boxes, false)];
        let points = [(&self.points, true), (&self.neg_points, false)];
        let boxes =
            boxes.iter().flat_map(|&(boxes, positive)| boxes.iter().map(move |b| Example::Box(*b, positive)));
        let points = points
            .iter()
            .flat_map(|&(points, positive)| points.iter().map(move |p| Example::Point(*p, positive)));
        boxes.chain(points).collect()
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Level>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    name.map(|name| name.parse().map_err(serde::de::Error::custom)).transpose()
}

fn threshold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    let score = Option::<f32>::deserialize(deserializer)?;
    match score {
        Some(score) if !(0.0..=1.0).contains(&score) => Err(serde::de::Error::custom(format!(
            "the threshold {score} is no score: write a number from 0 to 1"
        ))),
        score => Ok(score),
    }
}

/// Whether a path means standard input.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// What messages call a prompt file.
pub fn title(path: &Path) -> String {
    if is_stdin(path) { "--prompts -".to_owned() } else { path.display().to_string() }
}

/// Reads a prompt file; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or holds anything else; the line is named.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let name = || title(path);
    let mut text = String::new();
    let read = match is_stdin(path) {
        true => io::stdin().take(LONGEST + 1).read_to_string(&mut text),
        false => File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)),
    };
    let length = read.with_context(name)?;
    ensure!(
        length as u64 <= LONGEST,
        "{}: a prompt file of more than {LONGEST} bytes is not read; split it",
        name()
    );
    let entries = parse(text.strip_prefix('\u{feff}').unwrap_or(&text)).with_context(name)?;
    ensure!(!entries.is_empty(), "{}: no prompts in this file; write one a line", name());
    Ok(entries)
}

/// A list if it begins with `[`, JSON Lines if it begins with `{` or a quotation mark, else lines of text.
fn parse(text: &str) -> Result<Vec<Entry>> {
    match text.trim_start().chars().next() {
        Some('[') => {
            let list: Vec<serde_json::Value> =
                serde_json::from_str(text).context("not a JSON list of prompts")?;
            let numbered = list.into_iter().enumerate();
            numbered.map(|(i, value)| entry(value).with_context(|| format!("prompt {}", i + 1))).collect()
        }
        Some('{') if is_over_several_lines(text) => Err(anyhow!(
            "JSON over several lines is read if it is a list: write [ before the first prompt, ] behind the last and commas \
             between them, or put each prompt on a line of its own"
        )),
        Some('{' | '"') => numbered_lines(text).map(|(number, line)| json_line(line, number)).collect(),
        _ => {
            let lines = numbered_lines(text).filter(|(_, line)| !line.starts_with('#'));
            Ok(lines.map(|(_, line)| Entry { text: Some(line.to_owned()), ..Entry::default() }).collect())
        }
    }
}

/// Whether this is JSON, but not a value a line: what an editor or `jq` makes of an object.
fn is_over_several_lines(text: &str) -> bool {
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    numbered_lines(text).any(|(_, line)| !is_json(line)) && values.all(|value| value.is_ok())
}

/// The lines that are not empty, with their numbers.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(i, line)| (i + 1, line))
}

fn json_line(line: &str, number: usize) -> Result<Entry> {
    let value = serde_json::from_str(line).map_err(anyhow::Error::from);
    value.and_then(entry).with_context(|| format!("line {number}"))
}

fn entry(value: serde_json::Value) -> Result<Entry> {
    // Told apart by hand: serde's message about an untagged enum says nothing.
    let spelled = match value {
        serde_json::Value::String(text) => Spelled::Text(text),
        value @ serde_json::Value::Object(_) => Spelled::Object(serde_json::from_value(value)?),
        other => {
            return Err(anyhow!(
                "{other} is no prompt: write a sentence in quotes, or an object such as {{\"text\":\"a mug\",\"level\":\"concept\"}}"
            ));
        }
    };
    Ok(match spelled {
        Spelled::Text(text) => Entry { text: Some(text), ..Entry::default() },
        Spelled::Object(object) => {
            let examples = object.examples();
            Entry {
                text: object.text,
                level: object.level,
                threshold: object.threshold,
                examples,
                image: object.image,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Entry {
        Entry { text: Some(text.to_owned()), ..Entry::default() }
    }

    #[test]
    fn the_three_forms_say_the_same() {
        let boxed = Entry {
            text: None,
            level: Some(Level::Concept),
            threshold: Some(0.25),
            examples: Examples::from_iter([
                Example::Box([1.0, 2.0, 3.0, 4.0], true),
                Example::Box([5.0, 6.0, 7.0, 8.0], false),
                Example::Point([9.0, 9.5], true),
                Example::Point([1.0, 1.5], false),
            ]),
            image: Some("a/b.png".to_owned()),
        };
        assert_eq!(parse("# mugs\n a mug \n\nthe cup\r\n").expect("lines"), [said("a mug"), said("the cup")]);
        let object = r#"{"image":"a/b.png","level":"concept","threshold":0.25,"boxes":[[1,2,3,4]],"neg_boxes":[[5,6,7,8]],
            "points":[[9,9.5]],"neg_points":[[1,1.5]]}"#
            .replace('\n', " ");
        let object = object.trim();
        let expected = [said("a mug"), boxed];
        assert_eq!(parse(&format!("[\"a mug\",\n{object}]")).expect("a list"), expected);
        assert_eq!(parse(&format!("\"a mug\"\n\n{object}\n")).expect("lines of JSON"), expected);
        assert_eq!(parse("").expect("nothing"), []);
    }

    #[test]
    fn what_is_no_prompt_is_named_with_its_place() {
        let cases = [
            ("[\"a\", 7]", "prompt 2: 7 is no prompt"),
            ("[\"a\"", "not a JSON list"),
            ("{\"text\":\"a\"}\n{\"txt\":\"a\"}", "line 2: unknown field `txt`"),
            ("{\"text\":\"a\",\"level\":\"hard\"}", "line 1: \"hard\" is not a level"),
            ("{\"boxes\":[[1,2,3]]}", "line 1: invalid length 3"),
            ("{\"points\":[[1]]}", "line 1: invalid length 1"),
            ("{\"text\":\"a\"", "line 1"),
            (
                "{\"text\":\"a\",\"threshold\":1.5}",
                "line 1: the threshold 1.5 is no score: write a number from 0 to 1",
            ),
            ("{\"threshold\":\"high\"}", "line 1: invalid type"),
            ("{\n  \"text\": \"a\"\n}\n", "put each prompt on a line of its own"),
            ("{\"prompts\": [\n\"a\"]}", "is read if it is a list"),
            ("{\n\"text\": \"a\"}\n{\n\"text\": \"b\"}", "put each prompt on a line of its own"),
            ("{\n  \"text\": \"a\"\n", "line 1"),
        ];
        for (text, words) in cases {
            let message = format!("{:#}", parse(text).expect_err(text));
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
