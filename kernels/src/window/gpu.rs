//! The cut into windows on a GPU, and the way back.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&WINDOW];

/// A map to windows, or (constant `MERGE`) windows to a map.
pub const WINDOW: Kernel = Kernel {
    name: "window",
    source: include_str!("window.wgsl"),
    inputs: 1,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("MERGE", 1)]],
};

params! {
    /// Parameters of [`WINDOW`].
    pub struct Params {
        /// Elements of the result.
        pub len: u32,
        /// Where the operand begins.
        pub x_at: u32,
        /// Height of the map.
        pub height: u32,
        /// Width of the map.
        pub width: u32,
        /// Channels.
        pub channels: u32,
        /// Edge of a window.
        pub window: u32,
        /// Windows in a row of windows.
        pub across: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

impl Params {
    /// The parameters of a call on an operand that begins at `x_at`.
    #[must_use]
    pub fn new(p: super::Params, len: usize, x_at: usize) -> Self {
        Self {
            len: len as u32,
            x_at: x_at as u32,
            height: p.h as u32,
            width: p.w as u32,
            channels: p.c as u32,
            window: p.window as u32,
            across: p.across() as u32,
            unused: 0,
        }
    }
}
