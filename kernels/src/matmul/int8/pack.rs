//! Weights in panels of 32 channels, quads of neighbours along `k` together.

use super::{COLUMNS, LONGEST, QuantisedWeight};
use crate::isa::{Avx512Vnni, Isa};
use crate::matmul::cpu::pack::transpose_panel;
use crate::memory::Buffer;
use rayon::prelude::*;

/// A weight `[n, k]` as the tile reads it.
#[derive(Debug)]
pub struct Packed {
    n: usize,
    k: usize,
    vnni: Option<Avx512Vnni>,
    /// Panels `[k / 4, 32]` of quads (the earliest value in the lowest byte), filled up with zeros.
    quads: Buffer<u32>,
    /// One a channel, filled up with zeros.
    scales: Vec<f32>,
    /// The sum of each channel's values, filled up with zeros.
    sums: Vec<i32>,
}

impl Packed {
    /// Packs a weight. `k` must be at most [`LONGEST`].
    #[must_use]
    pub fn new(isa: Isa, w: &QuantisedWeight) -> Self {
        let (n, k) = (w.n, w.k);
        assert!(k > 0 && k <= LONGEST && w.values.len() == n * k && w.scales.len() == n);
        let (panels, quads_of_row) = (n.div_ceil(COLUMNS), k.div_ceil(4));
        let mut quads = Buffer::zeroed(panels * quads_of_row * COLUMNS);
        let (mut scales, mut sums) = (w.scales.clone(), vec![0; panels * COLUMNS]);
        scales.resize(panels * COLUMNS, 0.0);
        let rows = w.values.par_chunks(COLUMNS * k);
        let panels = quads.par_chunks_mut(quads_of_row * COLUMNS).zip(sums.par_chunks_mut(COLUMNS));
        panels.zip(rows).for_each(|((quads, sums), rows)| pack_panel(isa, k, rows, quads, sums));
        Self { n, k, vnni: Avx512Vnni::beside(isa), quads, scales, sums }
    }

    /// Output channels.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input channels.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.quads.len() + self.scales.len() + self.sums.len())
    }

    pub(super) fn vnni(&self) -> Option<Avx512Vnni> {
        self.vnni
    }

    pub(super) fn panel_count(&self) -> usize {
        self.n.div_ceil(COLUMNS)
    }

    pub(super) fn panel(&self, panel: usize) -> Panel<'_> {
        let (quads, columns) = (self.k.div_ceil(4) * COLUMNS, panel * COLUMNS..(panel + 1) * COLUMNS);
        Panel {
            quads: &self.quads[panel * quads..][..quads],
            scales: self.scales[columns.clone()].try_into().expect("32 columns"),
            sums: self.sums[columns].try_into().expect("32 columns"),
        }
    }
}

/// 32 channels.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// `[k / 4, 32]`.
    pub quads: &'a [u32],
    pub scales: &'a [f32; COLUMNS],
    pub sums: &'a [i32; COLUMNS],
}

/// Packs up to 32 channels.
fn pack_panel(isa: Isa, k: usize, rows: &[i8], quads: &mut [u32], sums: &mut [i32]) {
    let count = k.div_ceil(4);
    let mut joined = vec![0u32; COLUMNS * count];
    for ((row, joined), sum) in rows.chunks(k).zip(joined.chunks_mut(count)).zip(sums) {
        bytemuck::cast_slice_mut::<u32, i8>(joined)[..k].copy_from_slice(row);
        *sum = row.iter().map(|&value| i32::from(value)).sum();
    }
    let rows: Vec<&[u32]> = joined.chunks(count).collect();
    transpose_panel(isa, &rows, count, quads, COLUMNS);
}
