//! Weighted sums of pixels on a GPU: for samples at points, and for boxes ([`crate::roi_align::gpu`]).

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&WEIGHTED];

/// Weighted sums of pixels; operands: map, starts, entries (see [`Weighted`]).
pub const WEIGHTED: Kernel = Kernel {
    name: "weighted_pixels",
    source: include_str!("weighted.wgsl"),
    inputs: 3,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`WEIGHTED`].
    pub struct Params {
        /// Elements of the result.
        pub len: u32,
        /// Channels.
        pub channels: u32,
        /// Where the map begins.
        pub x_at: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

/// Which pixels make up each result, and with which weights.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Where each result's entries begin, and where the last one's end.
    pub starts: Vec<u32>,
    /// Pixel and bits of its weight.
    pub entries: Vec<[u32; 2]>,
}

impl Default for Weighted {
    fn default() -> Self {
        Self { starts: vec![0], entries: Vec::new() }
    }
}

impl Weighted {
    /// Adds a result.
    pub fn push(&mut self, pixels: impl IntoIterator<Item = (usize, f32)>) {
        self.entries.extend(pixels.into_iter().map(|(pixel, weight)| [pixel as u32, weight.to_bits()]));
        self.starts.push(self.entries.len() as u32);
    }
}

/// The pixels around each point (x, y) of a map of `h x w`.
#[must_use]
pub fn around_points(h: usize, w: usize, points: &[f32]) -> Weighted {
    let mut weighted = Weighted::default();
    for point in points.chunks_exact(2) {
        weighted.push(super::corners(h, w, point));
    }
    weighted
}
