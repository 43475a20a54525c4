//! What was found, drawn over the picture: fills, outlines, boxes and tags.

use super::canvas::{Canvas, Rect};
use super::palette;
use super::tags::Tags;
use anyhow::{Result, ensure};
use sam3i::mask::{Mask, Rle};
use sam3i::picture::Picture;
use std::borrow::Cow;

/// Opacity of a mask's inside.
const FILL: f32 = 0.42;
/// Opacity of a box's lines.
const BOX: f32 = 0.85;
/// Opacity of the dark rim that sets an outline off from a picture of its own colour.
const RIM: f32 = 0.45;

/// One instance to draw.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// Its mask, of the picture's size. Encoded, so that only one at a time takes a byte a pixel.
    pub mask: &'a Rle,
    /// Its box: x0, y0, x1, y1 in pixels, perhaps beyond the picture.
    pub box_xyxy: [f32; 4],
    /// Its score.
    pub score: f32,
    /// What it was found by.
    pub label: Cow<'a, str>,
    /// Which colour it gets (see [`palette::colour`]).
    pub colour: usize,
}

/// Draws `items` over `picture`: the larger masks first, so that none is hidden; tags last, in the items' order.
///
/// # Errors
/// When a mask has not the picture's size.
pub fn render(picture: &Picture, items: &[Item]) -> Result<Picture> {
    let (width, height) = (picture.width, picture.height);
    for Item { mask: Rle { size: [h, w], .. }, .. } in items {
        ensure!(
            (*w, *h) == (width, height),
            "a mask of {w} x {h} pixels does not fit the picture's {width} x {height}"
        );
    }
    let mut canvas = Canvas { width: width as i32, height: height as i32, rgb: picture.rgb.clone() };
    let line = line_width(width, height);
    let sized = items.iter().map(|item| Ok((item.mask.area()?, item)));
    let mut order = sized.collect::<Result<Vec<_>>>()?;
    order.sort_by_key(|(area, _)| std::cmp::Reverse(*area));
    for (_, item) in &order {
        draw_mask(&mut canvas, &item.mask.decode()?, line, palette::colour(item.colour));
    }
    for (_, item) in &order {
        canvas.frame(whole_pixels(item.box_xyxy), (line / 2).max(1), palette::colour(item.colour), BOX);
    }
    let mut tags = Tags::new(width, height);
    for item in items {
        let text = format!("{:.2} {}", item.score, item.label);
        tags.draw(&mut canvas, whole_pixels(item.box_xyxy), &text, palette::colour(item.colour));
    }
    Ok(Picture::new(width, height, canvas.rgb)?)
}

/// Width of an outline: 1 pixel on small pictures, 2 around 640 x 480, more on larger ones.
fn line_width(width: usize, height: usize) -> i32 {
    (((width * height) as f32).sqrt() / 320.0).round().clamp(1.0, 24.0) as i32
}

/// The box in whole pixels; sides that are no numbers become 0.
fn whole_pixels([x0, y0, x1, y1]: [f32; 4]) -> Rect {
    // Far beyond any picture, and far from where adding widths would overflow.
    let whole = |value: f32| value.round().clamp(-1e6, 1e6) as i32;
    let (x, y) = (whole(x0), whole(y0));
    Rect { x, y, width: (whole(x1) - x).max(1), height: (whole(y1) - y).max(1) }
}

/// Fills a mask, and draws its outline just inside with a thin dark rim just outside.
fn draw_mask(canvas: &mut Canvas, mask: &Mask, line: i32, colour: [u8; 3]) {
    let bounds = mask.bounds();
    let (left, right) = (bounds.x as i32, (bounds.x + bounds.width) as i32);
    let (top, bottom) = (bounds.y as i32, (bounds.y + bounds.height) as i32);
    for y in top..bottom {
        canvas.tint_row(mask, y, colour, FILL);
    }
    let around = (top - 1..=bottom).flat_map(|y| (left - 1..=right).map(move |x| (x, y)));
    let (inner, outer): (Vec<_>, Vec<_>) =
        around.filter(|&(x, y)| is_at_edge(mask, x, y)).partition(|&(x, y)| is_set(mask, x, y));
    for (x, y) in outer {
        canvas.blend(x, y, [0; 3], RIM);
    }
    for (x, y) in inner {
        let reached = disc(line).map(|(dx, dy)| (x + dx, y + dy));
        reached.filter(|&(x, y)| is_set(mask, x, y)).for_each(|(x, y)| canvas.blend(x, y, colour, 1.0));
    }
}

fn is_set(mask: &Mask, x: i32, y: i32) -> bool {
    let inside = (0..mask.width as i32).contains(&x) && (0..mask.height as i32).contains(&y);
    inside && mask.bits[y as usize * mask.width + x as usize] != 0
}

/// Whether one of the four neighbours is on the other side of the mask's edge; beyond the picture nothing is set.
fn is_at_edge(mask: &Mask, x: i32, y: i32) -> bool {
    let here = is_set(mask, x, y);
    [(1, 0), (-1, 0), (0, 1), (0, -1)].iter().any(|&(dx, dy)| is_set(mask, x + dx, y + dy) != here)
}

/// The pixels nearer than `line`.
fn disc(line: i32) -> impl Iterator<Item = (i32, i32)> {
    let square = (1 - line..line).flat_map(move |dy| (1 - line..line).map(move |dx| (dx, dy)));
    square.filter(move |(dx, dy)| dx * dx + dy * dy < line * line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc_mask(width: usize, height: usize, cx: f32, cy: f32, radius: f32) -> Rle {
        let inside = |i: usize| ((i % width) as f32 - cx).hypot((i / width) as f32 - cy) <= radius;
        let bits = (0..width * height).map(|i| u8::from(inside(i))).collect();
        Mask::new(width, height, bits).and_then(|mask| mask.to_rle()).expect("its size")
    }

    fn grey(width: usize, height: usize) -> Picture {
        Picture::new(width, height, vec![128; 3 * width * height]).expect("a picture")
    }

    fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * picture.width + x);
        [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
    }

    #[test]
    fn nothing_found_is_the_picture_itself() {
        assert_eq!(render(&grey(20, 10), &[]).expect("no items"), grey(20, 10));
    }

    #[test]
    fn the_inside_is_tinted_and_the_rest_left_alone() {
        let mask = disc_mask(200, 160, 100.0, 110.0, 30.0);
        let item = Item {
            mask: &mask,
            box_xyxy: [70.0, 80.0, 131.0, 141.0],
            score: 0.9,
            label: "disc".into(),
            colour: 0,
        };
        let drawn = render(&grey(200, 160), &[item]).expect("one item");
        assert_eq!(pixel(&drawn, 5, 150), [128; 3]);
        assert_eq!(pixel(&drawn, 78, 90), palette::colour(0));
        let inside = pixel(&drawn, 100, 110);
        assert!(inside != [128; 3] && inside != palette::colour(0), "{inside:?}");
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let mask = disc_mask(10, 10, 5.0, 5.0, 3.0);
        let item = Item { mask: &mask, box_xyxy: [0.0; 4], score: 0.5, label: "".into(), colour: 0 };
        assert!(render(&grey(11, 10), &[item]).is_err());
    }

    #[test]
    fn boxes_beyond_the_picture_and_tiny_pictures_are_drawn() {
        let boxes = [
            [-50.0, -50.0, 900.0, 900.0],
            [f32::NAN; 4],
            [f32::NEG_INFINITY, 0.0, f32::INFINITY, 1.0],
            [3.0, 3.0, 1.0, 1.0],
        ];
        for (width, height) in [(1, 1), (3, 2), (40, 1), (64, 48)] {
            let mask = disc_mask(width, height, 1.0, 1.0, 20.0);
            for box_xyxy in boxes {
                let item = Item {
                    mask: &mask,
                    box_xyxy,
                    score: f32::NAN,
                    label: "a 猫 \u{1}".into(),
                    colour: usize::MAX,
                };
                assert!(render(&grey(width, height), &[item.clone(), item]).is_ok());
            }
        }
    }
}
