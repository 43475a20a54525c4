//! RoI align: boxes of a map averaged into grids of `size x size` bins.
//!
//! torchvision's `roi_align` with `aligned = False`, spatial scale 1 and sampling ratio -1 (adaptive). A box `x1, y1, x2,
//! y2` in feature pixels, along x (y likewise): extent `max(x2 - x1, 1)`, bin `b = extent / size`, samples a bin `g =
//! ceil(b)`, at `x1 + j b + (i + 0.5) b / g` for bin j and sample i. A sample outside `[-1, w] x [-1, h]` counts as 0; else
//! it is bilinear with both coordinates clamped to the map. A bin is the mean of its `g_x g_y` samples.
//!
//! Shapes: `x [h, w, c]`, `boxes [m, 4]`, `out [m, size, size, c]`. Coordinates are finite and at most [`LIMIT`] away
//! from 0, `h` and `w` at least 1. Reads each bin's pixels once. Spec section 8 (RoI).

pub mod cpu;
pub mod gpu;
pub mod reference;

/// How far from 0 a coordinate may be: it bounds the number of samples, and neighbouring samples stay apart in f32.
pub const LIMIT: f32 = 1_048_576.0;

/// The sizes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Height and width of the map.
    pub map: [usize; 2],
    /// Channels.
    pub c: usize,
    /// Bins along each side of a box.
    pub size: usize,
}

/// Flops of one call: about 8 a result and sample, one sample a result assumed.
#[must_use]
pub fn flops(results: usize) -> u64 {
    8 * results as u64
}

/// The samples of a box along one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    start: f32,
    bin: f32,
    samples: usize,
}

impl Axis {
    fn new(start: f32, end: f32, size: usize) -> Self {
        let extent = if end - start > 1.0 { end - start } else { 1.0 };
        let bin = extent / size as f32;
        Self { start, bin, samples: bin.ceil() as usize }
    }

    /// The two axes (y, x) of a box.
    fn of_box(corners: &[f32], size: usize) -> [Self; 2] {
        [Self::new(corners[1], corners[3], size), Self::new(corners[0], corners[2], size)]
    }

    /// Where sample `i` of bin `bin` lies; never decreases with `i`.
    fn position(&self, bin: usize, i: usize) -> f32 {
        self.start + bin as f32 * self.bin + (i as f32 + 0.5) * self.bin / self.samples as f32
    }
}

/// The two pixels a sample at `at` mixes along an axis of `len` pixels, with their weights; `None` outside the map.
fn neighbours(at: f32, len: usize) -> Option<[(usize, f32); 2]> {
    if !(-1.0..=len as f32).contains(&at) {
        return None;
    }
    let at = at.max(0.0);
    let low = at as usize;
    if low >= len - 1 {
        return Some([(len - 1, 1.0), (len - 1, 0.0)]);
    }
    let f = at - low as f32;
    Some([(low, 1.0 - f), (low + 1, f)])
}
