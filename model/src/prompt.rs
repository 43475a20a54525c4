//! What a picture is asked for.

use crate::grounding::geometry::Geometry;
use crate::level::Level;
use crate::text::clean::clean;
use crate::{Error, Result};

/// A sentence, example boxes and points, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    pub(crate) text: Option<String>,
    pub(crate) level: Level,
    pub(crate) shapes: Vec<(Shape, bool)>,
}

/// An example, and in what units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// `x0, y0, x1, y1` in pixels of the picture.
    PixelBox([f32; 4]),
    /// `cx, cy, w, h` as fractions of the picture.
    Box([f32; 4]),
    /// `x, y` in pixels of the picture.
    PixelPoint([f32; 2]),
}

impl Prompt {
    /// A sentence, at the default level.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// No sentence: examples only. Runs at the concept level.
    #[must_use]
    pub fn examples() -> Self {
        Self { level: Level::Concept, ..Self::default() }
    }

    /// At this level.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// With an example box of what is meant: `x0, y0, x1, y1` in pixels of the picture.
    #[must_use]
    pub fn include_box(mut self, xyxy: [f32; 4]) -> Self {
        self.shapes.push((Shape::PixelBox(xyxy), true));
        self
    }

    /// With an example box of what is not meant: `x0, y0, x1, y1` in pixels of the picture.
    #[must_use]
    pub fn exclude_box(mut self, xyxy: [f32; 4]) -> Self {
        self.shapes.push((Shape::PixelBox(xyxy), false));
        self
    }

    /// With an example box `cx, cy, w, h` in fractions of the picture, meant or not.
    #[must_use]
    pub fn normalized_box(mut self, cxcywh: [f32; 4], positive: bool) -> Self {
        self.shapes.push((Shape::Box(cxcywh), positive));
        self
    }

    /// With a point `x, y` in pixels of the picture, on something that is meant or that is not.
    #[must_use]
    pub fn point(mut self, xy: [f32; 2], positive: bool) -> Self {
        self.shapes.push((Shape::PixelPoint(xy), positive));
        self
    }
}

impl Prompt {
    /// Whether it can be asked of a picture of this size.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::BadExample`].
    pub fn check(&self, width: usize, height: usize) -> Result<()> {
        self.geometry(width, height).map(drop)
    }

    /// Its examples in fractions of a picture of this size, points and boxes apart.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] if it says nothing; [`Error::BadExample`] for a box or point that is no box or lies
    /// outside the picture.
    pub(crate) fn geometry(&self, width: usize, height: usize) -> Result<Geometry> {
        if self.text.as_ref().map_or(self.shapes.is_empty(), |text| says_nothing(text)) {
            return Err(Error::EmptyPrompt);
        }
        let mut geometry = Geometry::default();
        let (w, h) = (width as f32, height as f32);
        for &(shape, positive) in &self.shapes {
            match shape {
                Shape::Box(cxcywh) => {
                    check_box(cxcywh, || format!("{cxcywh:?} (centre and size, in fractions)"))?;
                    geometry.boxes_cxcywh.push((cxcywh, positive));
                }
                Shape::PixelBox(xyxy) => {
                    let [x0, y0, x1, y1] = xyxy;
                    let cxcywh = [(x0 + x1) * 0.5 / w, (y0 + y1) * 0.5 / h, (x1 - x0) / w, (y1 - y0) / h];
                    let name = || format!("{x0},{y0},{x1},{y1} in a picture of {width} x {height} pixels");
                    check_box(cxcywh, name)?;
                    geometry.boxes_cxcywh.push((cxcywh, positive));
                }
                Shape::PixelPoint([x, y]) => {
                    if !(0.0..=w).contains(&x) || !(0.0..=h).contains(&y) {
                        let example = format!("point {x},{y} in a picture of {width} x {height} pixels");
                        return Err(Error::BadExample { example, problem: "lies outside the picture" });
                    }
                    geometry.points.push(([x / w, y / h], positive));
                }
            }
        }
        Ok(geometry)
    }
}

/// Whether nothing of a sentence can be seen. The cleaning keeps invisible characters, as the reference's does.
fn says_nothing(text: &str) -> bool {
    let invisible =
        |c| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    clean(text).chars().all(|c| c.is_whitespace() || invisible(c))
}

/// A box must have a size and share some area with the picture; parts outside are allowed, as in the reference.
fn check_box([cx, cy, w, h]: [f32; 4], name: impl Fn() -> String) -> Result<()> {
    let refuse = |problem| Err(Error::BadExample { example: format!("box {}", name()), problem });
    if ![cx, cy, w, h].iter().all(|v| v.is_finite() && v.abs() < 1e4) {
        return refuse("has a coordinate that is no ordinary number");
    }
    if w <= 0.0 || h <= 0.0 {
        return refuse("is empty; give its left, top, right and bottom edge, in this order");
    }
    let outside = |c: f32, size: f32| c + size * 0.5 <= 0.0 || c - size * 0.5 >= 1.0;
    if outside(cx, w) || outside(cy, h) { refuse("lies outside the picture") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_in_pixels_become_centres_and_sizes() {
        let prompt =
            Prompt::examples().include_box([10.0, 20.0, 30.0, 60.0]).exclude_box([0.0, 0.0, 100.0, 100.0]);
        let geometry = prompt.geometry(100, 200).expect("two boxes");
        assert_eq!(geometry.boxes_cxcywh, [([0.2, 0.2, 0.2, 0.2], true), ([0.5, 0.25, 1.0, 0.5], false)]);
    }

    #[test]
    fn what_says_nothing_or_lies_outside_is_refused() {
        let boxed = |b| Prompt::examples().include_box(b);
        let cases = [
            (Prompt::examples(), "empty"),
            (Prompt::text(" \u{200b}\n"), "empty"),
            (boxed([5.0, 5.0, 5.0, 9.0]), "is empty"),
            (boxed([9.0, 5.0, 5.0, 9.0]), "is empty"),
            (boxed([200.0, 5.0, 300.0, 9.0]), "outside"),
            (boxed([f32::NAN, 5.0, 7.0, 9.0]), "no ordinary number"),
            (boxed([0.0, 5.0, 1e30, 9.0]), "no ordinary number"),
            (Prompt::examples().point([-1.0, 5.0], true), "outside"),
        ];
        for (prompt, words) in cases {
            let message = prompt.geometry(100, 100).expect_err("refused").to_string();
            assert!(message.contains(words), "{prompt:?}: {message}");
        }
        assert!(boxed([-50.0, -50.0, 50.0, 50.0]).geometry(100, 100).is_ok(), "partly outside is fine");
    }
}
