//! Polygons and scores in the numbers that files have.

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

/// A score with the digits it has in the report, not with those of its double.
pub(super) fn score(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_the_reports_digits() {
        for value in [0.990_049_5_f32, 0.1, 1.0, f32::MIN_POSITIVE] {
            let (ours, report) = (serde_json::json!(score(value)), serde_json::to_string(&value));
            assert_eq!(ours.to_string().parse::<f64>(), report.expect("a number").parse::<f64>());
        }
    }
}
