//! Maps at another size on a GPU.

use super::Params as Sizes;
use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&NEAREST, &BILINEAR];

/// Doubling, alone or (constant `ADD`) added to a finer map; operands: fine map (not read without `ADD`), coarse map.
pub const NEAREST: Kernel = Kernel {
    name: "nearest_2x",
    source: include_str!("nearest.wgsl"),
    inputs: 2,
    params: NearestParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("ADD", 1)]],
};

/// Bilinear resampling, or (constant `MASK`) where its result is above the threshold: 32 results a word.
pub const BILINEAR: Kernel = Kernel {
    name: "bilinear",
    source: include_str!("bilinear.wgsl"),
    inputs: 1,
    params: BilinearParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("MASK", 1)]],
};

params! {
    /// Parameters of [`NEAREST`].
    pub struct NearestParams {
        /// Elements of the result.
        pub len: u32,
        /// Where the fine map begins.
        pub fine_at: u32,
        /// Where the coarse map begins.
        pub coarse_at: u32,
        /// Width of the coarse map.
        pub width: u32,
        /// Channels.
        pub channels: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}

params! {
    /// Parameters of [`BILINEAR`].
    pub struct BilinearParams {
        /// Results.
        pub len: u32,
        /// Where the planes begin.
        pub x_at: u32,
        /// Height of a plane.
        pub from_height: u32,
        /// Its width.
        pub from_width: u32,
        /// Height of the result.
        pub to_height: u32,
        /// Its width.
        pub to_width: u32,
        /// Height of a plane over the result's.
        pub down: f32,
        /// Width of a plane over the result's.
        pub across: f32,
        /// What a mask's results must be above.
        pub threshold: f32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: [u32; 3],
    }
}

impl BilinearParams {
    /// The parameters of a call over planes that begin at `x_at`.
    #[must_use]
    pub fn new(Sizes { from, to }: Sizes, planes: usize, x_at: usize, threshold: f32) -> Self {
        Self {
            len: (planes * to[0] * to[1]) as u32,
            x_at: x_at as u32,
            from_height: from[0] as u32,
            from_width: from[1] as u32,
            to_height: to[0] as u32,
            to_width: to[1] as u32,
            down: from[0] as f32 / to[0] as f32,
            across: from[1] as f32 / to[1] as f32,
            threshold,
            unused: [0; 3],
        }
    }
}
