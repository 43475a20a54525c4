//! Bilinear samples of a map at points: `out[i] = sum over the four pixels around point i of weight * pixel`, pixels
//! outside the map counting as zero, each corner by itself.
//!
//! A point is `(x, y)` in pixels, pixel centres at whole numbers (PyTorch's `grid_sample` with zero padding and corners
//! not aligned, after its unnormalisation). Coordinates are finite.
//!
//! Shapes: `map [h, w, c]`, `points [n, 2]`, `out [n, c]`. 20 bytes and 8 flops a result. Spec section 8 (point pooling).

pub mod cpu;
pub mod gpu;
pub mod reference;

/// Flops of one call: a multiply-add for each corner of a result.
#[must_use]
pub fn flops(results: usize) -> u64 {
    8 * results as u64
}

/// The corners of a point that lie in a map of `h x w` pixels, as pixel numbers and weights.
fn corners(h: usize, w: usize, point: &[f32]) -> impl Iterator<Item = (usize, f32)> {
    let (x, y) = (point[0], point[1]);
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let all = [
        (left, top, (1.0 - fx) * (1.0 - fy)),
        (left + 1.0, top, fx * (1.0 - fy)),
        (left, top + 1.0, (1.0 - fx) * fy),
        (left + 1.0, top + 1.0, fx * fy),
    ];
    let inside = move |&(x, y, _): &(f32, f32, f32)| x >= 0.0 && y >= 0.0 && x < w as f32 && y < h as f32;
    all.into_iter().filter(inside).map(move |(x, y, weight)| (y as usize * w + x as usize, weight))
}
