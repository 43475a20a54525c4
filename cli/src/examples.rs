//! Example boxes and points: how they are written, and what goes with a sentence.

use crate::report::{BoxReport, PointReport, PromptReport};
use anyhow::Result;
use sam3i::Prompt;

/// One example and whether it shows what is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Example {
    /// Left, top, right, bottom in pixels.
    Box([f32; 4], bool),
    /// From the left and from the top, in pixels.
    Point([f32; 2], bool),
}

/// The examples of a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examples {
    pub boxes: Vec<BoxReport>,
    pub points: Vec<PointReport>,
}

impl FromIterator<Example> for Examples {
    fn from_iter<I: IntoIterator<Item = Example>>(examples: I) -> Self {
        let mut all = Self::default();
        for example in examples {
            match example {
                Example::Box(sides, positive) => all.boxes.push(BoxReport { r#box: sides, positive }),
                Example::Point(point, positive) => all.points.push(PointReport { point, positive }),
            }
        }
        all
    }
}

impl Examples {
    /// Those of a report's prompt.
    pub fn of(prompt: &PromptReport) -> Self {
        Self { boxes: prompt.boxes.clone(), points: prompt.points.clone() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty() && self.points.is_empty()
    }

    /// A prompt with these added.
    pub fn added_to(&self, prompt: Prompt) -> Prompt {
        let boxed = self.boxes.iter().fold(prompt, |prompt, example| match example.positive {
            true => prompt.include_box(example.r#box),
            false => prompt.exclude_box(example.r#box),
        });
        self.points.iter().fold(boxed, |prompt, example| prompt.point(example.point, example.positive))
    }

    /// What a person calls them.
    pub fn title(&self) -> String {
        let counted = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 example {one}")),
            _ => Some(format!("{count} example {many}")),
        };
        let parts =
            [counted(self.boxes.len(), "box", "boxes"), counted(self.points.len(), "point", "points")];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "no example".to_owned() } else { parts.join(" and ") }
    }

    /// Checks what can be said of them before a picture is known.
    ///
    /// # Errors
    /// When a box or point is none, in words.
    pub fn check(&self) -> Result<(), String> {
        self.boxes.iter().try_for_each(|example| check_sides(example.r#box).map(drop))?;
        self.points.iter().try_for_each(|example| check_point(example.point).map(drop))
    }
}

/// So many numbers with commas between them; NaN where it is anything else.
fn numbers<const N: usize>(text: &str) -> [f32; N] {
    let numbers: Vec<f32> = text.split(',').map(|part| part.trim().parse().unwrap_or(f32::NAN)).collect();
    numbers.try_into().unwrap_or([f32::NAN; N])
}

/// Four numbers with commas between them, left, top, right, bottom.
///
/// # Errors
/// When they are no box, in words.
pub fn parse_box(text: &str) -> Result<[f32; 4], String> {
    check_sides(numbers(text))
}

/// Two numbers with a comma between them, from the left and from the top.
///
/// # Errors
/// When they are no point, in words.
pub fn parse_point(text: &str) -> Result<[f32; 2], String> {
    check_point(numbers(text))
}

/// The box again, if it is one.
fn check_sides([x0, y0, x1, y1]: [f32; 4]) -> Result<[f32; 4], String> {
    if ![x0, y0, x1, y1].iter().all(|side| side.is_finite()) {
        return Err("a box is four numbers: left,top,right,bottom in pixels, such as 10,20,110,90".to_owned());
    }
    if x1 <= x0 || y1 <= y0 {
        return Err(
            "the box is empty: its right must be beyond its left, its bottom below its top".to_owned()
        );
    }
    Ok([x0, y0, x1, y1])
}

/// The point again, if it is one.
fn check_point(point: [f32; 2]) -> Result<[f32; 2], String> {
    if !point.iter().all(|number| number.is_finite()) {
        return Err("a point is two numbers: pixels from the left,from the top, such as 60,55".to_owned());
    }
    Ok(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_and_points_are_written_with_commas() {
        assert_eq!(parse_box("1, 2,3.5,4"), Ok([1.0, 2.0, 3.5, 4.0]));
        assert_eq!(parse_point("-1,2.5"), Ok([-1.0, 2.5]));
        for text in ["1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,3,inf", ""] {
            assert!(parse_box(text).is_err_and(|words| words.contains("four numbers")), "{text}");
        }
        for text in ["1", "1,2,3", "1,", "nan,1"] {
            assert!(parse_point(text).is_err_and(|words| words.contains("two numbers")), "{text}");
        }
        assert!(parse_box("3,2,1,4").is_err_and(|words| words.contains("empty")));
    }

    #[test]
    fn they_are_counted_in_their_title() {
        let (boxed, point) = (Example::Box([1.0, 2.0, 3.0, 4.0], true), Example::Point([1.0, 2.0], false));
        let title = |examples: &[Example]| examples.iter().copied().collect::<Examples>().title();
        assert_eq!(title(&[boxed]), "1 example box");
        assert_eq!(title(&[point, boxed, point]), "1 example box and 2 example points");
    }
}
