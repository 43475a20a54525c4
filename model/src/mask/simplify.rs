//! Outlines with fewer points.
//!
//! A point `v` between `a` and `b` may go if the exact outline stays within the tolerance of the line `a b`, and if no
//! other point of any ring lies in the triangle `a v b`: then no line crosses another afterwards that did not before, and no
//! ring comes to lie on another side of one (the test of de Berg, van Kreveld and Schirra 1998 for one point). The point
//! that changes least goes first.

use super::polygon::{Polygon, doubled_area};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Side of the squares that points are looked up by, in pixels.
const CELL: f64 = 16.0;

/// Leaves out points of polygons that belong together.
pub(super) fn simplify(polygons: &mut [Polygon], tolerance: f64) {
    let mut lines = Lines::new(polygons);
    lines.thin(tolerance);
    let mut kept = lines.kept().into_iter();
    for polygon in polygons {
        for ring in std::iter::once(&mut polygon.outer).chain(&mut polygon.holes) {
            *ring = kept.next().expect("a ring each");
        }
    }
}

/// A point of a ring.
struct Node {
    at: [f64; 2],
    before: usize,
    after: usize,
    ring: usize,
    gone: bool,
    /// Rings touch here: it stays.
    pinned: bool,
    /// Counts what happened to its neighbours.
    version: u32,
}

/// The nodes of a ring, in order, and how many are left.
struct Span {
    first: usize,
    end: usize,
    left: usize,
}

/// All rings.
struct Lines {
    nodes: Vec<Node>,
    rings: Vec<Span>,
    cells: HashMap<[i64; 2], Vec<usize>>,
}

impl Lines {
    fn new(polygons: &[Polygon]) -> Self {
        let (mut nodes, mut rings) = (Vec::new(), Vec::new());
        let mut cells: HashMap<[i64; 2], Vec<usize>> = HashMap::new();
        let mut held: HashMap<[u64; 2], usize> = HashMap::new();
        for points in polygons.iter().flat_map(Polygon::rings) {
            let (first, count) = (nodes.len(), points.len());
            for (i, &at) in points.iter().enumerate() {
                let (index, ring) = (first + i, rings.len());
                let (before, after) = (first + (i + count - 1) % count, first + (i + 1) % count);
                nodes.push(Node { at, before, after, ring, gone: false, pinned: false, version: 0 });
                cells.entry(cell(at)).or_default().push(index);
                if let Some(other) = held.insert(at.map(f64::to_bits), index) {
                    nodes[index].pinned = true;
                    nodes[other].pinned = true;
                }
            }
            rings.push(Span { first, end: first + count, left: count });
        }
        Self { nodes, rings, cells }
    }

    fn thin(&mut self, tolerance: f64) {
        let mut queue = BinaryHeap::new();
        let entry = |lines: &Self, node: usize| {
            let cost = lines.change(node);
            // Costs are not negative, so that their bits are in their order.
            (cost <= tolerance).then(|| Reverse((cost.to_bits(), node, lines.nodes[node].version)))
        };
        queue.extend((0..self.nodes.len()).filter_map(|node| entry(self, node)));
        while let Some(Reverse((_, node, version))) = queue.pop() {
            if self.nodes[node].gone || self.nodes[node].version != version || !self.may_go(node) {
                continue;
            }
            let Node { before, after, ring, .. } = self.nodes[node];
            self.nodes[node].gone = true;
            self.rings[ring].left -= 1;
            self.nodes[before].after = after;
            self.nodes[after].before = before;
            let here = cell(self.nodes[node].at);
            self.cells.entry(here).or_default().retain(|&other| other != node);
            for neighbour in [before, after] {
                self.nodes[neighbour].version += 1;
                queue.extend(entry(self, neighbour));
            }
        }
    }

    /// How far the exact outline would be from the line that is left without a point.
    fn change(&self, node: usize) -> f64 {
        let Node { before, after, ring, .. } = self.nodes[node];
        let Span { first, end, .. } = self.rings[ring];
        let (a, b) = (self.nodes[before].at, self.nodes[after].at);
        let following = |i: usize| if i + 1 == end { first } else { i + 1 };
        let between = std::iter::successors(Some(following(before)), |&i| Some(following(i)));
        let distances = between.take_while(|&i| i != after).map(|i| distance(self.nodes[i].at, a, b));
        distances.fold(0.0, f64::max)
    }

    fn may_go(&self, node: usize) -> bool {
        let Node { at: v, before, after, ring, pinned, .. } = self.nodes[node];
        let (a, b) = (self.nodes[before].at, self.nodes[after].at);
        let left = self.rings[ring].left;
        if pinned || left <= 3 {
            return false;
        }
        if left == 4 && side(a, b, self.nodes[self.nodes[after].after].at) == 0.0 {
            return false; // what is left would be no triangle but a line
        }
        let side_of = |range: fn(f64, f64) -> f64, axis: usize| range(range(a[axis], v[axis]), b[axis]);
        let (low, high) =
            ([0, 1].map(|axis| side_of(f64::min, axis)), [0, 1].map(|axis| side_of(f64::max, axis)));
        let ([left, top], [right, bottom]) = (cell(low), cell(high));
        let in_the_way = |&other: &usize| {
            let p = self.nodes[other].at;
            p != a && p != b && other != node && in_triangle(p, a, v, b)
        };
        let near = (top..=bottom).flat_map(|y| (left..=right).map(move |x| [x, y]));
        !near.filter_map(|place| self.cells.get(&place)).flatten().any(in_the_way)
    }

    fn kept(&self) -> Vec<Vec<[f64; 2]>> {
        let of = |span: &Span| self.nodes[span.first..span.end].iter().filter(|node| !node.gone);
        self.rings.iter().map(|span| of(span).map(|node| node.at).collect()).collect()
    }
}

fn cell(at: [f64; 2]) -> [i64; 2] {
    at.map(|value| (value / CELL).floor() as i64)
}

/// Positive if `c` is on one side of the line from `a` to `b`, negative if on the other, 0 on it. Exact for whole numbers.
fn side(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    doubled_area(&[a, b, c])
}

/// Whether a point lies in a triangle or on its border.
fn in_triangle(p: [f64; 2], a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> bool {
    let sides = [side(a, b, p), side(b, c, p), side(c, a, p)];
    if side(a, b, c) == 0.0 {
        return sides.iter().all(|&side| side == 0.0) && distance(p, a, c).min(distance(p, a, b)) == 0.0;
    }
    sides.iter().all(|&side| side >= 0.0) || sides.iter().all(|&side| side <= 0.0)
}

/// Distance of a point from the piece of line between `a` and `b`.
fn distance(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    let length = dx * dx + dy * dy;
    let along = ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length;
    let t = if length > 0.0 { along.clamp(0.0, 1.0) } else { 0.0 };
    (a[0] + t * dx - p[0]).hypot(a[1] + t * dy - p[1])
}
