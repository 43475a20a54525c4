//! Pixels that are drawn on: blending, rectangles, tints.

use sam3i::Mask;

/// A rectangle in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Rect {
    /// Pixels that both cover.
    pub fn overlap(&self, other: &Self) -> i64 {
        let across = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let down = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        i64::from(across.max(0)) * i64::from(down.max(0))
    }

    /// Moved as little as possible to lie within `width` x `height`.
    pub fn within(self, width: i32, height: i32) -> Self {
        let x = self.x.min(width - self.width).max(0);
        let y = self.y.min(height - self.height).max(0);
        Self { x, y, ..self }
    }
}

/// The picture being drawn on. Whatever lies outside is not drawn.
pub struct Canvas {
    /// Pixels across.
    pub width: i32,
    /// Pixels down.
    pub height: i32,
    /// Three bytes a pixel, row by row.
    pub rgb: Vec<u8>,
}

impl Canvas {
    /// Lays `colour` over a pixel.
    pub fn blend(&mut self, x: i32, y: i32, colour: [u8; 3], opacity: f32) {
        if !(0..self.width).contains(&x) || !(0..self.height).contains(&y) {
            return;
        }
        let at = 3 * (y as usize * self.width as usize + x as usize);
        for (below, above) in self.rgb[at..at + 3].iter_mut().zip(colour) {
            *below = mix(*below, above, opacity);
        }
    }

    /// Lays `colour` over the set pixels of a mask's row.
    pub fn tint_row(&mut self, mask: &Mask, y: i32, colour: [u8; 3], opacity: f32) {
        let mixed =
            colour.map(|above| std::array::from_fn::<u8, 256, _>(|below| mix(below as u8, above, opacity)));
        let row = y as usize * mask.width;
        let pixels = self.rgb[3 * row..].chunks_exact_mut(3);
        for (pixel, _) in pixels.zip(&mask.bits[row..row + mask.width]).filter(|(_, bit)| **bit != 0) {
            pixel.iter_mut().zip(&mixed).for_each(|(byte, mixed)| *byte = mixed[usize::from(*byte)]);
        }
    }

    /// Fills a rectangle, clipped to the picture.
    pub fn fill(&mut self, rect: Rect, colour: [u8; 3], opacity: f32) {
        for y in rect.y.max(0)..(rect.y + rect.height).min(self.height) {
            for x in rect.x.max(0)..(rect.x + rect.width).min(self.width) {
                self.blend(x, y, colour, opacity);
            }
        }
    }

    /// Fills a rectangle with round corners.
    pub fn fill_round(&mut self, rect: Rect, radius: i32, colour: [u8; 3], opacity: f32) {
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                let cover = corner_cover(&rect, radius, x, y);
                self.blend(x, y, colour, opacity * cover);
            }
        }
    }

    /// Draws a rectangle's edge, inwards.
    pub fn frame(&mut self, rect: Rect, line: i32, colour: [u8; 3], opacity: f32) {
        let Rect { x, y, width, height } = rect;
        let line = line.min(width).min(height);
        let inner = (height - 2 * line).max(0);
        self.fill(Rect { height: line, ..rect }, colour, opacity);
        self.fill(Rect { y: y + line + inner, height: line.min(height - line), ..rect }, colour, opacity);
        let side = Rect { x, y: y + line, width: line, height: inner };
        self.fill(side, colour, opacity);
        self.fill(Rect { x: x + width - line, width: line.min(width - line), ..side }, colour, opacity);
    }
}

/// One channel of a colour laid over another.
fn mix(below: u8, above: u8, opacity: f32) -> u8 {
    (f32::from(below) * (1.0 - opacity) + f32::from(above) * opacity).round() as u8
}

/// How much of a pixel a rectangle with round corners covers.
fn corner_cover(rect: &Rect, radius: i32, x: i32, y: i32) -> f32 {
    let beyond = |at: i32, start: i32, length: i32| {
        let (first, last) = (start + radius, start + length - 1 - radius);
        (first - at).max(at - last).max(0) as f32
    };
    let (dx, dy) = (beyond(x, rect.x, rect.width), beyond(y, rect.y, rect.height));
    (radius as f32 + 0.5 - dx.hypot(dy)).clamp(0.0, 1.0)
}
