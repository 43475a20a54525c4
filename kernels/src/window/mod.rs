//! A map cut into square windows, and back.
//!
//! `windows[(wy * across + wx), ly * s + lx] = x[wy * s + ly, wx * s + lx]`, zero where that lies outside the map;
//! `s` is the window, `across = ceil(w / s)`. Windows are numbered row by row, and so are the tokens of a window.
//! The way back drops the padding.
//!
//! Shapes: `x [h, w, c]`, `windows [ceil(h / s) * ceil(w / s), s * s, c]`. Reads and writes every element once: 8
//! bytes and no flops an element. Spec section 6 (window).

pub mod cpu;
pub mod gpu;
pub mod reference;

/// The map and the windows it is cut into.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Height of the map.
    pub h: usize,
    /// Width of the map.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Edge of a window, at least 1.
    pub window: usize,
}

impl Params {
    /// Windows in a row of windows.
    #[must_use]
    pub fn across(&self) -> usize {
        self.w.div_ceil(self.window)
    }

    /// All windows.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.h.div_ceil(self.window) * self.across()
    }
}
