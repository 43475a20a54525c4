//! Masks as polygons with holes.
//!
//! Coordinates are corners of pixels: `x` grows to the right, `y` down, a mask of one pixel at column 2, row 1 is the square
//! from `2, 1` to `3, 2`. Pixels that touch at a corner only are not connected (4-connectivity), so that polygons are valid in
//! the sense of the Simple Features standard: rings do not cross, and touch themselves nowhere. Seen with `x` to the right
//! and `y` up, outer rings run anticlockwise and holes clockwise, as GeoJSON has it.

use super::outline::outlines;
use super::simplify::simplify;
use super::{Mask, Rle};
use crate::Result;

/// A closed line; the last point is joined to the first, which is not repeated.
pub type Ring = Vec<[f64; 2]>;

/// A connected piece of a mask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polygon {
    /// Its outer ring.
    pub outer: Ring,
    /// Its holes.
    pub holes: Vec<Ring>,
}

/// Twice the area of a ring, negative if it runs the other way.
pub(super) fn doubled_area(ring: &[[f64; 2]]) -> f64 {
    let next = ring.iter().cycle().skip(1);
    ring.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum()
}

impl Polygon {
    /// Its outer ring and its holes.
    pub fn rings(&self) -> impl Iterator<Item = &Ring> {
        std::iter::once(&self.outer).chain(&self.holes)
    }

    /// Its area in pixels.
    #[must_use]
    pub fn area(&self) -> f64 {
        self.rings().map(|ring| doubled_area(ring) / 2.0).sum()
    }
}

impl Mask {
    /// The mask's pieces as polygons, those that begin highest first.
    ///
    /// With `tolerance` 0 they follow the edges of pixels, and drawing them gives the mask again. Else points are left out
    /// as long as no point of the exact outline is further than `tolerance` pixels from the new one, no two lines cross, and
    /// no ring vanishes; and rings of less than `tolerance * tolerance` pixels are dropped, but never the largest piece.
    #[must_use]
    pub fn to_polygons(&self, tolerance: f64) -> Vec<Polygon> {
        let mut polygons = outlines(self);
        if tolerance > 0.0 {
            drop_small(&mut polygons, 2.0 * tolerance * tolerance);
            simplify(&mut polygons, tolerance);
        }
        polygons
    }
}

impl Rle {
    /// As [`Mask::to_polygons`].
    ///
    /// # Errors
    /// As [`Rle::decode`].
    pub fn to_polygons(&self, tolerance: f64) -> Result<Vec<Polygon>> {
        Ok(self.decode()?.to_polygons(tolerance))
    }
}

fn drop_small(polygons: &mut Vec<Polygon>, least: f64) {
    let largest = polygons.iter().map(|polygon| doubled_area(&polygon.outer)).fold(0.0, f64::max);
    polygons.retain(|polygon| {
        let area = doubled_area(&polygon.outer);
        area >= least || area >= largest
    });
    for polygon in polygons {
        polygon.holes.retain(|hole| -doubled_area(hole) >= least);
    }
}

/// All pieces and holes as one ring, for formats that know one ring only: from ring to ring along lines that are walked
/// there and back, which enclose nothing. Empty if there are no pieces.
#[must_use]
pub fn joined(polygons: &[Polygon]) -> Ring {
    let mut rings = polygons.iter().flat_map(Polygon::rings);
    let Some(first) = rings.next() else { return Ring::new() };
    let mut all = first.clone();
    for ring in rings {
        let Some(start) = ring.first() else { continue };
        let distance = |p: &[f64; 2]| (p[0] - start[0]).powi(2) + (p[1] - start[1]).powi(2);
        let near =
            (0..all.len()).min_by(|&a, &b| distance(&all[a]).total_cmp(&distance(&all[b]))).unwrap_or(0);
        let there_and_back = ring.iter().chain([start, &all[near]]).copied().collect::<Vec<_>>();
        all.splice(near + 1..near + 1, there_and_back);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let bits = rows.concat().bytes().map(|c| u8::from(c == b'#')).collect();
        Mask::new(rows[0].len(), rows.len(), bits).expect("its size")
    }

    #[test]
    fn a_pixel_is_a_square() {
        let polygons = mask(&["...", "..#"]).to_polygons(0.0);
        let outer = vec![[3.0, 1.0], [3.0, 2.0], [2.0, 2.0], [2.0, 1.0]];
        assert_eq!(polygons, [Polygon { outer, holes: vec![] }]);
        assert_eq!(mask(&["..", ".."]).to_polygons(1.0), []);
    }

    #[test]
    fn holes_and_islands_are_pieces_of_their_own() {
        let polygons = mask(&["#####", "#...#", "#.#.#", "#...#", "#####"]).to_polygons(0.0);
        assert_eq!(polygons.iter().map(|polygon| polygon.holes.len()).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(polygons.iter().map(Polygon::area).collect::<Vec<_>>(), [16.0, 1.0]);
    }

    #[test]
    fn corners_do_not_connect() {
        assert_eq!(mask(&["#.", ".#"]).to_polygons(0.0).len(), 2);
        // The hole touches the outside at a corner: the outer ring passes there once, the hole once.
        let polygons = mask(&["##.", "#.#", "###"]).to_polygons(0.0);
        let [polygon] = &polygons[..] else { panic!("{polygons:?}") };
        assert_eq!((polygon.area(), polygon.holes.len()), (7.0, 1));
        assert!(
            polygon.rings().all(|ring| ring.iter().all(|p| ring.iter().filter(|q| p == *q).count() == 1))
        );
    }

    #[test]
    fn tolerance_smooths_stairs_and_drops_specks() {
        let rows: Vec<String> = (0..20).map(|y| "#".repeat(y + 1) + &".".repeat(24 - y)).collect();
        let mut rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let stairs = mask(&rows).to_polygons(1.0);
        assert!(stairs[0].outer.len() <= 5, "{stairs:?}");
        rows[1] = "##.....................#.";
        assert_eq!(mask(&rows).to_polygons(0.0).len(), 2);
        assert_eq!(mask(&rows).to_polygons(1.5).len(), 1);
        assert_eq!(mask(&["...", ".#.", "..."]).to_polygons(100.0).len(), 1, "the only piece stays");
    }

    #[test]
    fn one_ring_encloses_as_much_as_all() {
        let polygons = mask(&["#####.", "#...#.", "#.#.##", "#...#.", "#####."]).to_polygons(0.0);
        let area: f64 = polygons.iter().map(Polygon::area).sum();
        assert_eq!(doubled_area(&joined(&polygons)) / 2.0, area);
        assert_eq!(joined(&[]), Ring::new());
    }
}
