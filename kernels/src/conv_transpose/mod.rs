//! Transposed convolution 2 x 2, stride 2, channels last: `out[2y+i, 2x+j, o] = activation(bias[o] + sum_c in[y, x, c] w[c, o, i, j])`.
//!
//! | operand | shape |
//! |---|---|
//! | `input` | `[height, width, channels]` |
//! | `w` | `[channels, out_channels, 2, 2]`, as checkpoints store it; packed once |
//! | `bias` | `[out_channels]` |
//! | `out` | `[2 height, 2 width, out_channels]` |
//!
//! Windows do not overlap: `8 channels out_channels` flops an input pixel.

pub mod cpu;
pub mod gpu;
pub mod reference;

/// The sizes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
}

impl Shape {
    /// Flops of one call, two a multiply-add.
    #[must_use]
    pub fn flops(&self) -> u64 {
        8 * (self.height * self.width * self.channels) as u64 * self.out_channels as u64
    }

    fn check(&self, input: &[f32], out: &[f32]) {
        let pixels = self.height * self.width;
        assert_eq!((input.len(), out.len()), (pixels * self.channels, 4 * pixels * self.out_channels));
    }
}
