//! The fast resampling. Doubling: rows of pixels copied or added. Bilinear: a source row is widened once and serves
//! all result rows that lie next to it, which are then vectorised mixtures of two widened rows.

use super::{Params, Tap};
use crate::isa::{Isa, multiversion};
use crate::parallel::for_rows;

/// Doubles a map `w` wide of `c` channels. See the [module](super) for the contract.
pub fn nearest_2x(w: usize, c: usize, coarse: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), 4 * coarse.len());
    let row = 2 * w * c;
    for_rows(out, 2 * row, 3 * row, |first, pairs| {
        for (i, pair) in pairs.chunks_exact_mut(2 * row).enumerate() {
            let coarse = &coarse[(first + i) * w * c..][..w * c];
            for (out, pixel) in pair.chunks_exact_mut(2 * c).zip(coarse.chunks_exact(c)) {
                out[..c].copy_from_slice(pixel);
                out[c..].copy_from_slice(pixel);
            }
            pair.copy_within(..row, row);
        }
    });
}

/// Adds a doubled map `w` wide of `c` channels to `fine`. See the [module](super) for the contract.
///
/// With `fine` absent, `out` holds it and is overwritten by the sum.
pub fn add_nearest_2x(isa: Isa, w: usize, c: usize, fine: Option<&[f32]>, coarse: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), 4 * coarse.len());
    let row = 2 * w * c;
    for_rows(out, row, 3 * row, |first, rows| {
        for (i, out) in rows.chunks_exact_mut(row).enumerate() {
            if let Some(fine) = fine {
                out.copy_from_slice(&fine[(first + i) * row..][..row]);
            }
            add_doubled_row(isa, c, &coarse[(first + i) / 2 * w * c..][..w * c], out);
        }
    });
}

multiversion!(fn add_doubled_row = add_doubled_row_body(c: usize, coarse: &[f32], out: &mut [f32]));

#[inline(always)]
fn add_doubled_row_body(c: usize, coarse: &[f32], out: &mut [f32]) {
    for (out, pixel) in out.chunks_exact_mut(2 * c).zip(coarse.chunks_exact(c)) {
        let (left, right) = out.split_at_mut(c);
        for ((l, r), &v) in left.iter_mut().zip(right).zip(pixel) {
            *l += v;
            *r += v;
        }
    }
}

/// Bilinear resampling. See the [module](super) for the contract.
pub fn bilinear(isa: Isa, params: Params, x: &[f32], out: &mut [f32]) {
    let taps = Taps::new(params);
    let row = params.to[1];
    for_rows(out, row, 4 * row, |first, rows| {
        let mut source = WidenedRows::new(&taps, x);
        for (i, out) in rows.chunks_exact_mut(row).enumerate() {
            let (down, top, bottom) = source.around(first + i);
            mix_rows(isa, down, top, bottom, out);
        }
    });
}

/// Where bilinear resampling is above `threshold`. See the [module](super) for the contract.
pub fn bilinear_threshold(isa: Isa, params: Params, threshold: f32, x: &[f32], out: &mut [u8]) {
    let taps = Taps::new(params);
    let row = params.to[1];
    for_rows(out, row, 4 * row, |first, rows| {
        let mut source = WidenedRows::new(&taps, x);
        for (i, out) in rows.chunks_exact_mut(row).enumerate() {
            let (down, top, bottom) = source.around(first + i);
            threshold_rows(isa, down, threshold, top, bottom, out);
        }
    });
}

struct Taps {
    down: Vec<Tap>,
    across: Vec<Tap>,
    from: [usize; 2],
}

impl Taps {
    fn new(Params { from, to }: Params) -> Self {
        let axis = |i: usize| (0..to[i]).map(|o| Tap::new(o, from[i], to[i])).collect();
        Self { down: axis(0), across: axis(1), from }
    }
}

/// Two source rows at the width of the result, kept from one result row to the next.
struct WidenedRows<'a> {
    taps: &'a Taps,
    x: &'a [f32],
    top: (usize, Vec<f32>),
    bottom: (usize, Vec<f32>),
}

/// A row number that no source row has.
const NO_ROW: usize = usize::MAX;

impl<'a> WidenedRows<'a> {
    fn new(taps: &'a Taps, x: &'a [f32]) -> Self {
        let empty = || (NO_ROW, vec![0.0; taps.across.len()]);
        Self { taps, x, top: empty(), bottom: empty() }
    }

    /// The widened rows above and below result row `row` (counted over all planes), and how to mix them.
    fn around(&mut self, row: usize) -> (Tap, &[f32], &[f32]) {
        let rows = self.taps.down.len();
        let down = self.taps.down[row % rows];
        let plane = row / rows * self.taps.from[0];
        if self.bottom.0 == plane + down.low {
            std::mem::swap(&mut self.top, &mut self.bottom);
        }
        Self::fill(self.taps, self.x, plane + down.low, &mut self.top);
        Self::fill(self.taps, self.x, plane + down.high, &mut self.bottom);
        (down, &self.top.1, &self.bottom.1)
    }

    fn fill(taps: &Taps, x: &[f32], row: usize, slot: &mut (usize, Vec<f32>)) {
        if slot.0 == row {
            return;
        }
        let source = &x[row * taps.from[1]..][..taps.from[1]];
        for (o, tap) in slot.1.iter_mut().zip(&taps.across) {
            *o = tap.mix(source[tap.low], source[tap.high]);
        }
        slot.0 = row;
    }
}

multiversion!(fn mix_rows = mix_rows_body(down: Tap, top: &[f32], bottom: &[f32], out: &mut [f32]));

#[inline(always)]
fn mix_rows_body(down: Tap, top: &[f32], bottom: &[f32], out: &mut [f32]) {
    for ((o, &top), &bottom) in out.iter_mut().zip(top).zip(bottom) {
        *o = down.mix(top, bottom);
    }
}

multiversion!(
    fn threshold_rows = threshold_rows_body(
        down: Tap,
        threshold: f32,
        top: &[f32],
        bottom: &[f32],
        out: &mut [u8],
    )
);

#[inline(always)]
fn threshold_rows_body(down: Tap, threshold: f32, top: &[f32], bottom: &[f32], out: &mut [u8]) {
    for ((o, &top), &bottom) in out.iter_mut().zip(top).zip(bottom) {
        *o = u8::from(down.mix(top, bottom) > threshold);
    }
}
