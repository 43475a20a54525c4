//! Comparing what two devices computed.

use sam3i_engine::Tensor;

/// How far a result may be from the reference: `|x - y| <= absolute + relative * |y|`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// For values near zero.
    pub absolute: f32,
    /// For all others.
    pub relative: f32,
}

/// The same bits (or the same number: 0 equals -0).
pub const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

/// Panics with the first element that leaves the tolerance. NaN equals NaN, an infinity only itself.
pub fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: Tolerance) {
    assert_eq!(actual.shape(), expected.shape(), "{what}: shapes differ");
    let (x, y) = (actual.to_vec().expect("values"), expected.to_vec().expect("values"));
    for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
        let near = (x - y).abs() <= tolerance.absolute + tolerance.relative * y.abs();
        let same = x == y || (x.is_nan() && y.is_nan());
        assert!(near || same, "{what}: element {i} of {:?} is {x:e}, not {y:e}", actual.shape());
    }
}
