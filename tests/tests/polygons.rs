//! Masks as polygons: drawn again, and thinned out.

use proptest::prelude::*;
use sam3i::mask::{Mask, Polygon};

/// Whether a point is inside: an odd number of lines to its left.
fn inside(polygons: &[Polygon], x: f64, y: f64) -> bool {
    let mut crossed = 0;
    for ring in polygons.iter().flat_map(Polygon::rings) {
        for (a, b) in edges(ring) {
            let spans = (a[1] > y) != (b[1] > y);
            if spans && a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) < x {
                crossed += 1;
            }
        }
    }
    crossed % 2 == 1
}

type Ring = Vec<[f64; 2]>;

fn edges(ring: &[[f64; 2]]) -> impl Iterator<Item = ([f64; 2], [f64; 2])> {
    ring.iter().copied().zip(ring.iter().copied().cycle().skip(1))
}

/// Pixels whose centres are inside.
fn drawn(polygons: &[Polygon], width: usize, height: usize) -> Mask {
    let centres = (0..height).flat_map(|y| (0..width).map(move |x| (x as f64 + 0.5, y as f64 + 0.5)));
    let bits = centres.map(|(x, y)| u8::from(inside(polygons, x, y))).collect();
    Mask::new(width, height, bits).expect("its size")
}

fn side(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
}

/// Whether two lines share a point that is not an end of both.
fn cross([a, b]: [[f64; 2]; 2], [c, d]: [[f64; 2]; 2]) -> bool {
    let between = |p: [f64; 2]| {
        side(a, b, p) == 0.0
            && (0..2).all(|i| p[i] >= a[i].min(b[i]) && p[i] <= a[i].max(b[i]))
            && p != a
            && p != b
    };
    let apart = |x: f64, y: f64| x * y < 0.0;
    apart(side(a, b, c), side(a, b, d)) && apart(side(c, d, a), side(c, d, b)) || between(c) || between(d)
}

/// Distance of a point from a ring.
fn distance(p: [f64; 2], ring: &[[f64; 2]]) -> f64 {
    let to_edge = |(a, b): ([f64; 2], [f64; 2])| {
        let [dx, dy] = [b[0] - a[0], b[1] - a[1]];
        let t = ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy);
        let t = t.clamp(0.0, 1.0);
        (a[0] + t * dx - p[0]).hypot(a[1] + t * dy - p[1])
    };
    edges(ring).map(to_edge).fold(f64::INFINITY, f64::min)
}

fn area(ring: &[[f64; 2]]) -> f64 {
    edges(ring).map(|(a, b)| (a[0] * b[1] - b[0] * a[1]) / 2.0).sum()
}

/// Noise, and blobs with holes and corners that touch.
fn masks() -> impl Strategy<Value = Mask> {
    let noise = ((1usize..18, 1usize..18), prop::collection::vec(0u8..2, 18 * 18)).prop_map(
        |((width, height), bits)| {
            Mask::new(width, height, bits[..width * height].to_vec()).expect("its size")
        },
    );
    let disc = (0f64..40.0, 0f64..32.0, 1f64..16.0, any::<bool>());
    let blobs = prop::collection::vec(disc, 1..7).prop_map(|discs| {
        let mut bits = vec![0; 40 * 32];
        for (x, y, radius, set) in discs {
            for (i, bit) in bits.iter_mut().enumerate() {
                let (dx, dy) = ((i % 40) as f64 - x, (i / 40) as f64 - y);
                if dx * dx + dy * dy < radius * radius {
                    *bit = u8::from(set);
                }
            }
        }
        Mask::new(40, 32, bits).expect("its size")
    });
    prop_oneof![noise, blobs]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn exact_outlines_draw_the_mask_again(mask in masks()) {
        let polygons = mask.to_polygons(0.0);
        prop_assert_eq!(drawn(&polygons, mask.width, mask.height), mask.clone());
        let areas: f64 = polygons.iter().map(Polygon::area).sum();
        prop_assert_eq!(areas, mask.area() as f64);
        for polygon in &polygons {
            prop_assert!(area(&polygon.outer) > 0.0 && polygon.holes.iter().all(|hole| area(hole) < 0.0));
        }
        check_apart(&polygons)?;
    }

    #[test]
    fn thinned_outlines_stay_near_and_cross_nothing(mask in masks(), tolerance in 0.3f64..6.0) {
        let exact = mask.to_polygons(0.0);
        let thinned = mask.to_polygons(tolerance);
        check_apart(&thinned)?;
        prop_assert_eq!(thinned.is_empty(), exact.is_empty());
        for polygon in &thinned {
            prop_assert!(area(&polygon.outer) > 0.0 && polygon.holes.iter().all(|hole| area(hole) < 0.0));
            prop_assert!(polygon.rings().all(|ring| ring.len() >= 3));
            // It comes from a piece that has all its points, none of them far from it. Where pieces touch, another may have them too.
            let comes_from = |ring: &Ring, from: &Ring| {
                ring.iter().all(|p| from.contains(p)) && from.iter().all(|&p| distance(p, ring) <= tolerance + 1e-9)
            };
            let comes_from_all = |origin: &Polygon| {
                let from_one = |hole| origin.holes.iter().any(|from| comes_from(hole, from));
                comes_from(&polygon.outer, &origin.outer) && polygon.holes.iter().all(from_one)
            };
            prop_assert!(exact.iter().any(comes_from_all));
        }
        for polygon in exact.iter().filter(|polygon| polygon.outer.len() > 3) {
            let large = area(&polygon.outer) >= tolerance * tolerance;
            prop_assert!(!large || thinned.iter().any(|kept| kept.outer.iter().all(|p| polygon.outer.contains(p))));
        }
    }
}

/// No two lines of a mask's polygons cross, and no ring touches itself.
fn check_apart(polygons: &[Polygon]) -> Result<(), TestCaseError> {
    let lines: Vec<_> = polygons.iter().flat_map(Polygon::rings).flat_map(|ring| edges(ring)).collect();
    for (i, &(a, b)) in lines.iter().enumerate() {
        prop_assert!(a != b);
        for &(c, d) in &lines[..i] {
            prop_assert!(!cross([a, b], [c, d]) && !cross([c, d], [a, b]), "{a:?} {b:?} {c:?} {d:?}");
        }
    }
    for ring in polygons.iter().flat_map(Polygon::rings) {
        for (i, p) in ring.iter().enumerate() {
            prop_assert!(!ring[..i].contains(p));
        }
    }
    Ok(())
}
