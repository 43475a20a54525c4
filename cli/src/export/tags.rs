//! Labels on pictures: lettering, and where the tags go.

use super::canvas::{Canvas, Rect};
use super::palette;
use ab_glyph::{Font, FontRef, Glyph, GlyphId, PxScale, ScaleFont};

/// DejaVu Sans, cut down to Latin, Greek, Cyrillic and punctuation.
const FONT: &[u8] = include_bytes!("../../data/DejaVuSans-subset.ttf");
/// Opacity of a tag.
const TAG_OPACITY: f32 = 0.92;
/// Widest tag as a share of the picture's width, unless the object is wider.
const WIDEST_TAG: f32 = 0.45;

/// Whether the font has all letters of a label.
pub fn can_draw(label: &str) -> bool {
    let has =
        |letter: char| letter.is_control() || letter.is_whitespace() || font().glyph_id(letter) != GlyphId(0);
    label.chars().all(has)
}

fn font() -> FontRef<'static> {
    FontRef::try_from_slice(FONT).expect("the built-in font is whole")
}

/// Draws labels at a size that suits the picture, and remembers where they are.
pub struct Tags {
    font: FontRef<'static>,
    size: f32,
    width: i32,
    height: i32,
    taken: Vec<Rect>,
}

impl Tags {
    /// For a picture of `width` x `height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        let font = font();
        let side = ((width * height) as f32).sqrt();
        let size = (0.026 * side).max(13.0).min(height as f32 / 2.0);
        Self { font, size, width: width as i32, height: height as i32, taken: Vec::new() }
    }

    /// Draws `text` near `object` in the object's colour.
    pub fn draw(&mut self, canvas: &mut Canvas, object: Rect, text: &str, colour: [u8; 3]) {
        let padding = (0.35 * self.size).round() as i32;
        let widest = (WIDEST_TAG * self.width as f32).max(object.width as f32).min(self.width as f32);
        let text = self.shortened(text, widest - 2.0 * padding as f32);
        let line = self.font.as_scaled(self.size);
        let width = self.length(&text).ceil() as i32 + 2 * padding;
        let height = line.height().ceil() as i32 + padding / 2;
        let place = self.place(object, width, height);
        canvas.fill_round(place, (0.25 * self.size).round() as i32, colour, TAG_OPACITY);
        let baseline = place.y as f32 + 0.25 * padding as f32 + line.ascent();
        self.letters(canvas, &text, (place.x + padding) as f32, baseline.round(), palette::ink(colour));
        self.taken.push(place);
    }

    /// The first place near the object that no tag has taken, else the one that hides least of the others.
    fn place(&self, object: Rect, width: i32, height: i32) -> Rect {
        let candidates = places(object, width, height);
        let candidates = candidates.map(|place| place.within(self.width, self.height));
        let hidden = |place: &Rect| self.taken.iter().map(|taken| place.overlap(taken)).sum::<i64>();
        candidates.min_by_key(hidden).unwrap_or(Rect { x: object.x, y: object.y, width, height })
    }

    /// One line, cut with an ellipsis where it is longer than `widest` pixels.
    fn shortened(&self, text: &str, widest: f32) -> String {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.length(&line) <= widest {
            return line;
        }
        let letters: Vec<char> = line.chars().take(400).collect();
        let cut = |kept: usize| {
            let head: String = letters[..kept].iter().collect();
            format!("{}…", head.trim_end())
        };
        let kept = (0..letters.len()).rev().find(|&kept| self.length(&cut(kept)) <= widest);
        cut(kept.unwrap_or(0))
    }

    fn length(&self, text: &str) -> f32 {
        let line = self.font.as_scaled(self.size);
        self.glyphs(text).into_iter().map(|glyph| line.h_advance(glyph)).sum()
    }

    /// The font's glyphs; a character it lacks becomes its empty box.
    fn glyphs(&self, text: &str) -> Vec<GlyphId> {
        text.chars().filter(|c| !c.is_control()).map(|c| self.font.glyph_id(c)).collect()
    }

    fn letters(&self, canvas: &mut Canvas, text: &str, x: f32, baseline: f32, colour: [u8; 3]) {
        let line = self.font.as_scaled(self.size);
        let mut pen = x;
        for id in self.glyphs(text) {
            let glyph =
                Glyph { id, scale: PxScale::from(self.size), position: ab_glyph::point(pen, baseline) };
            pen += line.h_advance(id);
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, cover| {
                canvas.blend(
                    corner.x as i32 + dx as i32,
                    corner.y as i32 + dy as i32,
                    colour,
                    cover.min(1.0),
                );
            });
        }
    }
}

/// Where a tag may go, best first: above the object, inside its top, below, inside its bottom, then down and up its side.
fn places(object: Rect, width: i32, height: i32) -> impl Iterator<Item = Rect> {
    let Rect { x, y, width: across, height: down } = object;
    let right = x + across - width;
    let corners =
        [(x, y - height), (x, y), (right, y - height), (right, y), (x, y + down), (x, y + down - height)];
    let steps = (1..24).flat_map(move |step| {
        let shift = step * (height + 1);
        [(x, y + shift), (x, y - height - shift), (right, y + shift), (x + across, y + shift)]
    });
    corners.into_iter().chain(steps).map(move |(x, y)| Rect { x, y, width, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_make_room_for_each_other() {
        let mut tags = Tags::new(640, 480);
        let object = Rect { x: 100, y: 5, width: 80, height: 60 };
        for _ in 0..8 {
            let place = tags.place(object, 120, 18);
            assert!(
                tags.taken.iter().all(|taken| taken.overlap(&place) == 0),
                "{place:?} in {:?}",
                tags.taken
            );
            assert!(place.x >= 0 && place.y >= 0 && place.x + 120 <= 640 && place.y + 18 <= 480);
            tags.taken.push(place);
        }
    }

    #[test]
    fn long_labels_end_in_an_ellipsis() {
        let tags = Tags::new(640, 480);
        let short = tags.shortened("0.91 the mug left of the laptop that nobody has touched", 150.0);
        assert!(short.starts_with("0.91 the mug") && short.ends_with('…'), "{short}");
        assert!(tags.length(&short) <= 150.0);
        assert_eq!(tags.shortened("a\n b", 150.0), "a b");
        assert_eq!(tags.shortened("anything", 0.0), "…");
    }

    #[test]
    fn labels_with_letters_that_the_font_lacks_are_known() {
        for label in ["the mug, left", "Ёж", "κύκλος", "naïve\u{a0}café …", "like the example", ""]
        {
            assert!(can_draw(label), "{label}");
        }
        for label in ["猫", "the 猫", "dog \u{1f436}", "كلب"] {
            assert!(!can_draw(label), "{label}");
        }
    }

    #[test]
    fn letters_outside_the_font_still_take_room() {
        let tags = Tags::new(640, 480);
        assert!(tags.length("猫") > 0.0);
        assert!(tags.length("ЖΩéß…") > tags.length("ЖΩé"));
    }
}
