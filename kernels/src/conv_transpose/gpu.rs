//! The transposed convolution on a GPU: a matrix product whose results are stored as doubled rows and columns (constant
//! `DOUBLED` of the kernels in [`crate::matmul::gpu`]).

/// The weight `[channels, out_channels, 2, 2]` as a matrix `[4 out_channels, channels]`: a row for each tap (y, then x) and
/// output channel.
#[must_use]
pub fn as_matrix(channels: usize, out_channels: usize, w: &[f32]) -> Vec<f32> {
    assert_eq!(w.len(), channels * out_channels * 4);
    let mut rows = Vec::with_capacity(w.len());
    for tap in 0..4 {
        for o in 0..out_channels {
            rows.extend((0..channels).map(|c| w[(c * out_channels + o) * 4 + tap]));
        }
    }
    rows
}
