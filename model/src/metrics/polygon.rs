//! Polygons to run lengths, pixel for pixel as pycocotools draws them.
//!
//! The outline is walked on a grid five times as fine; where it steps from one column of pixel centres to the next, the row
//! is a place where a run begins or ends. Source: evaluation spec, section 7.5.

use super::runs::Runs;
use crate::{Error, Result};

/// The fine grid has this many steps a pixel.
const SCALE: f64 = 5.0;
/// Coordinates beyond this are refused; no picture is that large.
const FARTHEST: f64 = (1 << 20) as f64;
/// Most steps along one outline, so that no short file takes hours.
const MOST_STEPS: u64 = 1 << 28;

/// Draws one polygon `[x0, y0, x1, y1, ..]` (pixels, closed by itself) into a mask.
///
/// # Errors
/// [`Error::Rle`] when it has fewer than three points, half a point, or a point too far away, or when the mask is too large.
pub fn polygon_to_runs(xy: &[f64], height: usize, width: usize) -> Result<Runs> {
    let corners = fine_corners(xy)?;
    let mut edges = Runs::zeros(height, width)?.lengths().to_vec(); // the number of pixels, checked
    let mut before: Option<[i64; 2]> = None;
    for (i, &from) in corners.iter().enumerate() {
        let to = corners[(i + 1) % corners.len()];
        walk_edge(from, to, |here| {
            if let Some(before) = before {
                edges.extend(crossing(before, here, height, width));
            }
            before = Some(here);
        });
    }
    Runs::new(height, width, lengths_between(edges))
}

/// Draws polygons into one mask; there must be at least one.
///
/// # Errors
/// Those of [`polygon_to_runs`].
pub fn polygons_to_runs(polygons: &[Vec<f64>], height: usize, width: usize) -> Result<Runs> {
    let parts: Result<Vec<Runs>> = polygons.iter().map(|xy| polygon_to_runs(xy, height, width)).collect();
    let all = Runs::union(&parts?)?;
    all.ok_or_else(|| Error::rle("it has no polygon"))
}

/// The corners on the fine grid: a half is added, then the fraction cut off, as the C code does.
fn fine_corners(xy: &[f64]) -> Result<Vec<[i64; 2]>> {
    if xy.len() < 6 || !xy.len().is_multiple_of(2) {
        let count = xy.len();
        return Err(Error::rle(format!(
            "a polygon of {count} numbers; it needs x and y of three points or more"
        )));
    }
    if let Some(far) = xy.iter().find(|value| value.is_nan() || value.abs() > FARTHEST) {
        return Err(Error::rle(format!("a polygon reaches {far}, which is outside any picture")));
    }
    let fine = |value: f64| (SCALE * value + 0.5) as i64;
    let corners: Vec<[i64; 2]> = xy.chunks_exact(2).map(|p| [fine(p[0]), fine(p[1])]).collect();
    let next = corners.iter().cycle().skip(1);
    let steps: u64 = corners.iter().zip(next).map(|(a, b)| longer_side(*a, *b)).sum();
    if steps > MOST_STEPS {
        return Err(Error::rle("a polygon's outline is too long"));
    }
    Ok(corners)
}

fn longer_side(a: [i64; 2], b: [i64; 2]) -> u64 {
    a[0].abs_diff(b[0]).max(a[1].abs_diff(b[1]))
}

/// Visits the fine points of an edge, both ends included, one for each step along its longer axis.
///
/// Always computed from the smaller coordinate on that axis, so that an edge has the same points in either direction.
fn walk_edge(from: [i64; 2], to: [i64; 2], mut visit: impl FnMut([i64; 2])) {
    let steps = longer_side(from, to) as i64;
    let along = usize::from(from[0].abs_diff(to[0]) < from[1].abs_diff(to[1])); // 0: x, 1: y
    let backwards = from[along] > to[along];
    let (low, high) = if backwards { (to, from) } else { (from, to) };
    let across = 1 - along;
    let slope = if steps == 0 { 0.0 } else { (high[across] - low[across]) as f64 / steps as f64 };
    for step in 0..=steps {
        let t = if backwards { steps - step } else { step };
        let mut point = [0; 2];
        point[along] = low[along] + t;
        point[across] = (low[across] as f64 + slope * t as f64 + 0.5) as i64;
        visit(point);
    }
}

/// The pixel at which a run begins or ends between two neighbouring fine points, if any.
fn crossing(before: [i64; 2], here: [i64; 2], height: usize, width: usize) -> Option<u32> {
    if here[0] == before[0] {
        return None;
    }
    let column = if here[0] < before[0] { here[0] } else { here[0] - 1 };
    let x = (column as f64 + 0.5) / SCALE - 0.5;
    if x.floor() != x || x < 0.0 || x > width as f64 - 1.0 {
        return None;
    }
    let y = (here[1].min(before[1]) as f64 + 0.5) / SCALE - 0.5;
    let y = y.clamp(0.0, height as f64).ceil();
    Some((x as usize * height + y as usize) as u32)
}

/// Run lengths from the pixels at which runs begin and end (the number of pixels among them).
fn lengths_between(mut edges: Vec<u32>) -> Vec<u32> {
    edges.sort_unstable();
    let mut from = 0;
    let mut differences = edges.into_iter().map(|edge| edge - std::mem::replace(&mut from, edge));
    let mut lengths: Vec<u32> = differences.next().into_iter().collect();
    while let Some(difference) = differences.next() {
        if difference > 0 {
            lengths.push(difference);
        } else if let (Some(run), Some(following)) = (lengths.last_mut(), differences.next()) {
            *run += following; // an empty run: its neighbours are one
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_covers_its_pixels() {
        let square = [2.0, 2.0, 8.0, 2.0, 8.0, 7.0, 2.0, 7.0];
        let runs = polygon_to_runs(&square, 10, 12).expect("a square");
        assert_eq!(runs.to_rle().expect("small").counts, "f055000000000V1");
        let closed = [&square[..], &square[..2]].concat();
        assert_eq!(polygon_to_runs(&closed, 10, 12).expect("a closed square"), runs);
    }

    #[test]
    fn what_is_no_polygon_is_refused() {
        let cases: [(&[f64], &str); 5] = [
            (&[], "three points"),
            (&[1.0, 2.0, 3.0, 4.0], "three points"),
            (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "three points"),
            (&[1.0, 2.0, 3.0, 4.0, 5.0, 1e300], "outside any picture"),
            (&[1.0, 2.0, 3.0, f64::NAN, 5.0, 1.0], "outside any picture"),
        ];
        for (xy, words) in cases {
            let message = polygon_to_runs(xy, 10, 12).expect_err("refused").to_string();
            assert!(message.contains(words), "{xy:?}: {message}");
        }
        let zigzag: Vec<f64> = (0..200).map(|i| if i % 4 < 2 { -1e6 } else { 1e6 }).collect();
        assert!(polygon_to_runs(&zigzag, 10, 12).is_err(), "too long");
        assert!(polygons_to_runs(&[], 10, 12).is_err());
    }

    #[test]
    fn pictures_without_pixels_stay_empty() {
        let triangle = [0.0, 0.0, 5.0, 0.0, 0.0, 5.0];
        for (height, width) in [(0, 0), (0, 4), (4, 0)] {
            assert_eq!(polygon_to_runs(&triangle, height, width).expect("no pixels").area(), 0);
        }
    }
}
