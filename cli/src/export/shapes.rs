//! Polygons in the numbers that files have.

use super::{Found, Item};
use anyhow::Result;
use sam3i::mask::Polygon;

/// The polygons of an instance's mask.
pub(super) fn polygons(found: &Found, item: &Item) -> Result<Vec<Polygon>> {
    Ok(item.instance.rle.to_polygons(found.tolerance)?)
}

/// A ring's points as whole numbers, which they are: corners of pixels.
pub(super) fn whole(ring: &[[f64; 2]]) -> impl Iterator<Item = [i64; 2]> {
    ring.iter().map(|point| point.map(|value| value.round() as i64))
}
