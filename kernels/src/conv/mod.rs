//! Convolution of a picture-like map, channels last: `out[y, x, o] = activation(bias[o] + sum in[y s + i - p, x s + j - p, c] w[o, c, i, j])`.
//!
//! | operand | shape | |
//! |---|---|---|
//! | `input` | `[height, width, channels]` | zeros outside |
//! | `w` | `[out_channels, channels, kernel, kernel]` | as checkpoints store it; packed once |
//! | `bias` | `[out_channels]` | optional |
//! | `out` | `[out_height, out_width, out_channels]` | `out_height = (height + 2 padding - kernel) / stride + 1` |
//!
//! `2 kernel² channels out_channels` flops an output pixel. The model uses 14 x 14 stride 14 (patches), 3 x 3 padding 1
//! and 1 x 1; the code has no special case for them.

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
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step of the kernel.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
}

impl Shape {
    /// Rows and columns of the output; zero where the kernel does not fit once.
    #[must_use]
    pub fn out_size(&self) -> (usize, usize) {
        let along = |n: usize| match (n + 2 * self.padding).checked_sub(self.kernel) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        (along(self.height), along(self.width))
    }

    /// Inputs of one output value.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    /// Flops of one call, two a multiply-add.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let (h, w) = self.out_size();
        2 * (h * w * self.out_channels) as u64 * self.fan_in() as u64
    }

    fn out_len(&self) -> usize {
        let (h, w) = self.out_size();
        h * w * self.out_channels
    }
}
