//! `--max-memory`, and what a run will take, said before it begins.

use crate::device::instruction_set;
use crate::devices::kilobytes;
use crate::terminal::{Messages, grouped};
use anyhow::{Result, bail};
use sam3i::engine::{Backend, DType};
use sam3i::{Checkpoint, Device, Level};

/// What is going to run.
pub struct Plan<'a> {
    pub device: &'a Device,
    pub model: &'a Checkpoint,
    pub levels: &'a [Level],
    /// How many copies of the model there will be.
    pub copies: usize,
}

impl Plan<'_> {
    /// Bytes of all copies in a type, weights and tensors.
    fn needs(&self, dtype: DType) -> Result<[u64; 2]> {
        let estimate = self.model.memory_estimate(dtype, self.levels)?;
        let copies = self.copies as u64;
        Ok([copies * estimate.weights, copies * estimate.working])
    }

    /// The first type that computes on the device and needs no more than `most`, the most exact first.
    fn fitting(&self, most: u64) -> Result<Option<DType>> {
        let others: &[DType] = match self.device.backend() {
            Some(Backend::Cpu(_)) if Device::has_bf16(instruction_set()?) => &[DType::Bf16, DType::Int8],
            Some(Backend::Cpu(_)) => &[DType::Int8],
            Some(_) => &[],
            None => &[DType::F16],
        };
        for &dtype in others {
            if self.needs(dtype)?.iter().sum::<u64>() <= most {
                return Ok(Some(dtype));
            }
        }
        Ok(None)
    }
}

/// Says what a plan takes; refuses what is more than `most`, and warns of what is more than the machine has left.
///
/// # Errors
/// When it takes more than `most`.
pub fn check(plan: &Plan, most: Option<u64>, messages: Messages) -> Result<()> {
    let [weights, working] = plan.needs(plan.device.dtype())?;
    let total = weights + working;
    messages.detail(&format!(
        "memory: about {} MiB ({} of weights, {} to look at a picture)",
        mebibytes(total),
        mebibytes(weights),
        mebibytes(working)
    ));
    if let Some(most) = most.filter(|&most| total > most) {
        let how = match plan.fitting(most)? {
            Some(dtype) => format!("--dtype {dtype} would do"),
            None => "no type takes so little: allow more, or use a smaller model".to_owned(),
        };
        bail!(
            "--max-memory: {} in {} takes about {} MiB, more than {} MiB; {how}",
            plan.model.path().display(),
            plan.device.dtype(),
            mebibytes(total),
            mebibytes(most)
        );
    }
    let left = std::fs::read_to_string("/proc/meminfo").ok();
    let left = left.and_then(|text| kilobytes(&text, "MemAvailable"));
    if let Some(left) = left.filter(|&left| plan.device.backend().is_some() && total > left) {
        let (total, left) = (mebibytes(total), mebibytes(left));
        messages.warn(&format!(
            "the model takes about {total} MiB, and the machine has {left} left; a smaller --dtype takes less"
        ));
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    grouped(bytes.div_ceil(1 << 20))
}

/// A number of bytes: a number, or one with K, M, G or T (of 1024) behind it.
///
/// # Errors
/// When it is none, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "give bytes, or a number with K, M, G or T, such as 4G or 1.5G".to_owned();
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1u64,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number * factor as f64;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_letter() {
        for (text, expected) in [
            ("1", Some(1)),
            ("900M", Some(900 << 20)),
            ("1.5g", Some(3 << 29)),
            ("4 GiB", Some(4 << 30)),
            ("2KB", Some(2048)),
            ("0", None),
            ("-1G", None),
            ("G", None),
            ("4X", None),
            ("1e99", None),
            ("nan", None),
            ("", None),
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text:?}");
        }
    }
}
