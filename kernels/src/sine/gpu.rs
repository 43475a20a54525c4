//! The sine codes of numbers on a GPU. Position maps are made on the host.

use crate::gpu::{Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&SINE];

/// Sine codes; operands: numbers, [`frequencies`].
pub const SINE: Kernel = Kernel {
    name: "sine_code",
    source: include_str!("sine.wgsl"),
    inputs: 2,
    params: Params::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[],
};

params! {
    /// Parameters of [`SINE`].
    pub struct Params {
        /// Pairs of channels of all codes.
        pub pairs: u32,
        /// Where the numbers begin.
        pub x_at: u32,
        /// Pairs of channels of a code.
        pub half_channels: u32,
        /// Keeps the size a multiple of 16 bytes.
        pub unused: u32,
    }
}

/// `1 / d_k` for `k = 0, 2, 4, ..`, each as a value and what rounding took from it.
#[must_use]
pub fn frequencies(channels: usize) -> Vec<f32> {
    let split = |divisor: &f64| {
        let exact = 1.0 / divisor;
        [exact as f32, (exact - f64::from(exact as f32)) as f32]
    };
    super::divisors(channels).iter().flat_map(split).collect()
}
