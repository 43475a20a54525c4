//! COCO's run-length encoding of masks: column by column, zeros first, packed into a printable string.
//!
//! A run `i` is stored as itself for `i <= 2`, else as its difference from run `i - 2`; low 5 bits first, bit 5 of a
//! character says that more follow, bit 4 of the last one is the sign; plus 48. Source: evaluation spec, section 7.

use super::Mask;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most pixels of an encoded mask; more than any picture that is read has. The bound keeps a short string from asking
/// for unbounded memory.
const MOST_PIXELS: usize = 1 << 28;
/// What is added to six bits to make a printable character.
const FIRST_CHARACTER: u8 = 48;
/// Most characters of one run: 7 groups of 5 bits hold 32 bits and a sign.
const LONGEST_RUN: u32 = 7;

/// A mask as COCO's compressed run lengths, spelled in JSON as `{"size":[height,width],"counts":"..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rle {
    /// Height and width.
    pub size: [usize; 2],
    /// The packed runs.
    pub counts: String,
}

impl Rle {
    /// Encodes a mask.
    ///
    /// # Errors
    /// [`Error::Rle`] when the mask has more than 2^28 pixels.
    pub fn encode(mask: &Mask) -> Result<Self> {
        Self::from_runs(mask.height, mask.width, &column_runs(mask))
    }

    /// Packs run lengths, zeros first.
    ///
    /// # Errors
    /// [`Error::Rle`] when the runs do not add up to `height * width`, or that is more than 2^28.
    pub fn from_runs(height: usize, width: usize, runs: &[u32]) -> Result<Self> {
        let size = [height, width];
        check_sum(size, runs)?;
        let mut counts = String::new();
        for (i, &run) in runs.iter().enumerate() {
            let before = if i > 2 { i64::from(runs[i - 2]) } else { 0 };
            pack(i64::from(run) - before, &mut counts);
        }
        Ok(Self { size, counts })
    }

    /// The run lengths, zeros first; they add up to the mask's pixels. An empty string is an empty mask.
    ///
    /// # Errors
    /// [`Error::Rle`] when the string is not of this encoding, or its runs do not add up to the size.
    pub fn runs(&self) -> Result<Vec<u32>> {
        if self.counts.is_empty() {
            return Ok(vec![pixels(self.size)? as u32]);
        }
        let runs = unpack(self.counts.as_bytes())?;
        check_sum(self.size, &runs)?;
        Ok(runs)
    }

    /// Decodes to one byte a pixel.
    ///
    /// # Errors
    /// As [`runs`](Self::runs).
    pub fn decode(&self) -> Result<Mask> {
        let [height, width] = self.size;
        let runs = self.runs()?;
        let mut columns = vec![0; pixels(self.size)?];
        let mut at = 0;
        for (i, &run) in runs.iter().enumerate() {
            let end = at + run as usize;
            columns[at..end].fill((i % 2) as u8);
            at = end;
        }
        Ok(Mask { width, height, bits: transposed(&columns, height) })
    }

    /// The number of set pixels.
    ///
    /// # Errors
    /// As [`runs`](Self::runs).
    pub fn area(&self) -> Result<usize> {
        Ok(self.runs()?.iter().skip(1).step_by(2).map(|&run| run as usize).sum())
    }
}

/// The mask's run lengths, column by column, zeros first.
fn column_runs(mask: &Mask) -> Vec<u32> {
    let columns = transposed(&mask.bits, mask.width);
    let starts_set = columns.first().is_some_and(|&bit| bit != 0);
    let no_zeros = (starts_set || columns.is_empty()).then_some(0);
    let runs = columns.chunk_by(|a, b| (*a != 0) == (*b != 0)).map(|run| run.len() as u32);
    no_zeros.into_iter().chain(runs).collect()
}

/// Rows of `row` bytes turned into columns, in blocks that stay in the cache.
fn transposed(bytes: &[u8], row: usize) -> Vec<u8> {
    const BLOCK: usize = 64;
    let rows = bytes.len().checked_div(row).unwrap_or(0);
    let mut out = vec![0; bytes.len()];
    for top in (0..rows).step_by(BLOCK) {
        for left in (0..row).step_by(BLOCK) {
            for y in top..rows.min(top + BLOCK) {
                for x in left..row.min(left + BLOCK) {
                    out[x * rows + y] = bytes[y * row + x];
                }
            }
        }
    }
    out
}

fn pixels([height, width]: [usize; 2]) -> Result<usize> {
    let pixels = height.checked_mul(width).filter(|&pixels| pixels <= MOST_PIXELS);
    pixels.ok_or_else(|| Error::rle(format!("{width} x {height} is more than {MOST_PIXELS} pixels")))
}

pub(crate) fn check_sum(size: [usize; 2], runs: &[u32]) -> Result<()> {
    let (pixels, sum) = (pixels(size)? as u64, runs.iter().map(|&run| u64::from(run)).sum::<u64>());
    if sum == pixels {
        return Ok(());
    }
    let [height, width] = size;
    Err(Error::rle(format!("its runs add up to {sum} pixels, but {width} x {height} is {pixels}")))
}

fn pack(mut value: i64, out: &mut String) {
    loop {
        let group = (value & 0x1f) as u8;
        value >>= 5;
        let sign = group & 0x10 != 0;
        let more = if sign { value != -1 } else { value != 0 };
        out.push(char::from(FIRST_CHARACTER + (group | u8::from(more) << 5)));
        if !more {
            return;
        }
    }
}

fn unpack(characters: &[u8]) -> Result<Vec<u32>> {
    let mut runs: Vec<u32> = Vec::new();
    let mut rest = characters;
    while !rest.is_empty() {
        let at = characters.len() - rest.len();
        let before = if runs.len() > 2 { runs[runs.len() - 2] } else { 0 };
        let run = i64::from(before) + unpack_one(&mut rest, at)?;
        let run = u32::try_from(run)
            .map_err(|_| Error::rle(format!("the run at character {at} is {run} pixels")))?;
        runs.push(run);
    }
    Ok(runs)
}

/// Takes one value off the front of `rest`, which starts at character `at`.
fn unpack_one(rest: &mut &[u8], at: usize) -> Result<i64> {
    let mut value = 0;
    for group in 0..LONGEST_RUN {
        let Some((&character, after)) = rest.split_first() else {
            return Err(Error::rle(format!("it ends within the run at character {at}")));
        };
        *rest = after;
        let bits = character.wrapping_sub(FIRST_CHARACTER);
        if bits > 0x3f {
            return Err(Error::rle(format!(
                "character code {character} in the run at character {at} is not of this encoding"
            )));
        }
        value |= i64::from(bits & 0x1f) << (5 * group);
        if bits & 0x20 == 0 {
            let negative = bits & 0x10 != 0;
            return Ok(if negative { value - (1 << (5 * (group + 1))) } else { value });
        }
    }
    Err(Error::rle(format!("the run at character {at} has more than {LONGEST_RUN} characters")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_masks_have_the_published_strings() {
        struct Case(usize, usize, &'static [u32], &'static str);
        let cases = [
            Case(4, 5, &[20], "d0"),
            Case(4, 5, &[0, 20], "0d0"),
            Case(4, 5, &[19, 1], "c01"),
            Case(6, 8, &[13, 3, 3, 3, 3, 3, 3, 3, 3, 3, 8], "=3300000005"),
        ];
        for Case(height, width, runs, counts) in cases {
            let rle = Rle::from_runs(height, width, runs).expect("runs that add up");
            assert_eq!(rle.counts, counts);
            assert_eq!(rle.runs().expect("its own string"), runs);
            assert_eq!(rle.decode().expect("its own string").to_rle().expect("small"), rle);
        }
    }

    #[test]
    fn malformed_strings_are_errors() {
        let cases = [
            ("d", [4, 5], "ends within"),
            ("e0", [4, 5], "add up to 21"),
            ("c0", [4, 5], "add up to 19"),
            ("~", [4, 5], "not of this encoding"),
            (" ", [4, 5], "not of this encoding"),
            ("é", [4, 5], "not of this encoding"),
            ("O", [4, 5], "is -1 pixels"),
            ("PPPPPPPP", [4, 5], "more than 7"),
            ("d0", [1 << 40, 1 << 40], "more than"),
            ("", [1 << 20, 1 << 20], "more than"),
        ];
        for (counts, size, expected) in cases {
            let rle = Rle { size, counts: counts.to_owned() };
            let message = rle.decode().expect_err(counts).to_string();
            assert!(message.contains(expected), "{counts:?}: {message}");
        }
    }

    #[test]
    fn an_empty_string_is_an_empty_mask() {
        let rle = Rle { size: [3, 2], counts: String::new() };
        assert_eq!(rle.decode().expect("zeros").bits, [0; 6]);
        assert_eq!(rle.area().expect("zeros"), 0);
    }

    #[test]
    fn masks_larger_than_a_block_come_back() {
        let mask =
            Mask::new(131, 70, (0..131 * 70).map(|i| u8::from(i % 7 < 3)).collect()).expect("131 x 70");
        assert_eq!(mask.to_rle().expect("small").decode().expect("its own string"), mask);
    }

    #[test]
    fn runs_of_no_length_are_read() {
        let rle = Rle::from_runs(2, 3, &[1, 0, 2, 1, 0, 2]).expect("runs that add up");
        assert_eq!(rle.decode().expect("its own string").bits, [0, 0, 1, 0, 1, 1]);
    }
}
