//! Bytes of a file to f32 and back.

use super::FileDType;
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

/// Elements converted by one thread at a time.
const BLOCK: usize = 1 << 16;

/// Converts little-endian `bytes` of a floating point `dtype` to f32; on all threads when there are many.
///
/// `bytes` must hold exactly `out.len()` elements; anything beyond the shorter of the two is left alone.
pub(super) fn to_f32(dtype: FileDType, bytes: &[u8], out: &mut [f32]) {
    let size = dtype.size().unwrap_or(1);
    if out.len() <= BLOCK {
        return block_to_f32(dtype, bytes, out);
    }
    out.par_chunks_mut(BLOCK)
        .zip(bytes.par_chunks(BLOCK * size))
        .for_each(|(out, bytes)| block_to_f32(dtype, bytes, out));
}

fn block_to_f32(dtype: FileDType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        FileDType::F32 => each(bytes, out, f32::from_le_bytes),
        FileDType::F16 => halves_to_f32(bytes, out),
        FileDType::Bf16 => each(bytes, out, |b| bf16::from_bits(u16::from_le_bytes(b)).to_f32()),
        FileDType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        _ => debug_assert!(false, "the caller lets only floating point types through"),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = convert(*bytes);
    }
}

/// In blocks on the stack, because the wide conversion wants aligned halves.
fn halves_to_f32(bytes: &[u8], out: &mut [f32]) {
    let mut halves = [f16::ZERO; 512];
    for (out, bytes) in out.chunks_mut(512).zip(bytes.chunks(1024)) {
        for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves[..out.len()].convert_to_f32_slice(out);
    }
}

/// Converts f32 to the little-endian bytes of `dtype`, rounding to nearest, ties to even.
///
/// # Errors
/// A value `dtype` cannot have (too large, or not whole for i8); or a `dtype` weights are not written in (as `None`).
pub(super) fn from_f32(dtype: FileDType, values: &[f32], out: &mut Vec<u8>) -> Result<(), Option<f32>> {
    let size = dtype.size().ok_or(None)?;
    out.resize(values.len() * size, 0);
    let blocks = values.par_chunks(BLOCK).zip(out.par_chunks_mut(BLOCK * size));
    blocks.try_for_each(|(values, bytes)| match dtype {
        FileDType::F32 => narrow(values, bytes, |v| Some(v.to_le_bytes())),
        FileDType::F16 => narrow(values, bytes, |v| {
            let half = f16::from_f32(v);
            (half.is_finite() || !v.is_finite()).then(|| half.to_le_bytes())
        }),
        FileDType::Bf16 => narrow(values, bytes, |v| {
            let half = bf16::from_f32(v);
            (half.is_finite() || !v.is_finite()).then(|| half.to_le_bytes())
        }),
        FileDType::I8 => narrow(values, bytes, |v| {
            let whole = v as i8; // saturates; NaN becomes 0
            (f32::from(whole) == v).then(|| whole.to_le_bytes())
        }),
        _ => Err(None),
    })
}

fn narrow<const N: usize>(
    values: &[f32],
    bytes: &mut [u8],
    convert: impl Fn(f32) -> Option<[u8; N]>,
) -> Result<(), Option<f32>> {
    for (&value, bytes) in values.iter().zip(bytes.as_chunks_mut::<N>().0) {
        *bytes = convert(value).ok_or(Some(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_type_survives_the_round_trip() {
        let values: Vec<f32> = (0..200_000).map(|i| (i % 251) as f32 * 0.5 - 60.0).collect();
        for dtype in [FileDType::F32, FileDType::F16, FileDType::Bf16] {
            let mut bytes = Vec::new();
            from_f32(dtype, &values, &mut bytes).expect("small numbers");
            let mut back = vec![0.0; values.len()];
            to_f32(dtype, &bytes, &mut back);
            assert_eq!(back, values, "{dtype}");
        }
    }

    #[test]
    fn rounding_is_to_nearest_even_and_overflow_is_refused() {
        let mut bytes = Vec::new();
        // 1 + 2^-8 lies halfway between two bf16 numbers: the even one is 1.
        from_f32(FileDType::Bf16, &[1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8)], &mut bytes)
            .expect("fits");
        let mut back = [0.0; 2];
        to_f32(FileDType::Bf16, &bytes, &mut back);
        assert_eq!(back, [1.0, 1.0 + 2f32.powi(-6)]);
        assert_eq!(from_f32(FileDType::F16, &[70000.0], &mut bytes), Err(Some(70000.0)));
        assert_eq!(from_f32(FileDType::F16, &[f32::INFINITY], &mut bytes), Ok(()));
        assert_eq!(from_f32(FileDType::I64, &[1.0], &mut bytes), Err(None));
    }
}
