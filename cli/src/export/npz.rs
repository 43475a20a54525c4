//! Numpy arrays: what masks are made of, before it is brought to the picture's size.
//!
//! `logits [k, h, w]`, `scores [k]`, `boxes [k, 4]` (left, top, right, bottom in pixels) as f32; `prompt [k]`, `query [k]` as
//! i64; `size [2]`, the picture's height and width. An .npz is a zip file of .npy files; these are stored, not compressed.

use super::Found;
use crate::output::write_whole;
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;

pub(super) fn write(path: &Path, found: &Found) -> Result<()> {
    let items: Vec<_> = found.report.items().collect();
    ensure!(
        items.len() == found.logits.len(),
        "the logits of {} masks are there, not of all",
        found.logits.len()
    );
    let count = items.len();
    let [height, width] = found.logits.first().map_or([0, 0], |one| [one.height, one.width]);
    let one_size = found.logits.iter().all(|one| [one.height, one.width] == [height, width]);
    ensure!(one_size, "masks of different sizes");
    let floats =
        |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let whole = |values: &mut dyn Iterator<Item = usize>| {
        values.flat_map(|value| (value as i64).to_le_bytes()).collect::<Vec<u8>>()
    };
    let logits = floats(&mut found.logits.iter().flat_map(|one| one.values.iter().copied()));
    let arrays = [
        ("logits", array("<f4", &[count, height, width], logits)),
        ("scores", array("<f4", &[count], floats(&mut items.iter().map(|item| item.instance.score)))),
        ("boxes", array("<f4", &[count, 4], floats(&mut items.iter().flat_map(|item| item.instance.r#box)))),
        ("prompt", array("<i8", &[count], whole(&mut items.iter().map(|item| item.prompt.index)))),
        ("query", array("<i8", &[count], whole(&mut items.iter().map(|item| item.instance.query)))),
        ("size", array("<i8", &[2], whole(&mut [found.picture.height, found.picture.width].into_iter()))),
    ];
    write_whole(path, |file| stored_zip(file, &arrays))
}

/// A .npy file, version 1.0: its header is padded to a multiple of 64 bytes.
fn array(kind: &str, shape: &[usize], data: Vec<u8>) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side},")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}");
    let padding = 63 - (10 + header.len()) % 64;
    header += &" ".repeat(padding);
    header += "\n";
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &data].concat()
}

/// A zip file of files `NAME.npy` as they are.
fn stored_zip(file: &mut impl Write, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let (mut offset, mut directory) = (0_usize, Vec::new());
    for (name, data) in files {
        let name = format!("{name}.npy");
        let size = u32::try_from(data.len()).context("more than 4 GiB of logits; ask for less at a time")?;
        let place = u32::try_from(offset).context("more than 4 GiB of logits; ask for less at a time")?;
        // Version 2.0, no flags, stored; the earliest time there is, so that equal results are equal files.
        let mut entry = [20_u16, 0, 0, 0, 0x21].map(u16::to_le_bytes).concat();
        entry.extend([crc32(data), size, size].map(u32::to_le_bytes).concat());
        entry.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        let local = [b"PK\x03\x04", &entry[..], name.as_bytes()].concat();
        file.write_all(&local)?;
        file.write_all(data)?;
        directory.extend(
            [b"PK\x01\x02\x14\x00", &entry[..], &[0; 10], &place.to_le_bytes(), name.as_bytes()].concat(),
        );
        offset += local.len() + data.len();
    }
    let start = u32::try_from(offset).context("more than 4 GiB of logits; ask for less at a time")?;
    let count = (files.len() as u16).to_le_bytes();
    let (length, start) = ((directory.len() as u32).to_le_bytes(), start.to_le_bytes());
    file.write_all(&directory)?;
    Ok(file.write_all(&[b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &start, &[0; 2]].concat())?)
}

/// The check sum of zip files (polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|i| {
        (0..8).fold(i as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sum_is_zips() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn arrays_begin_at_a_multiple_of_64() {
        for shape in [&[3][..], &[0, 0, 0], &[1_000_000, 288, 288]] {
            let bytes = array("<f4", shape, vec![]);
            assert_eq!((bytes.len() % 64, bytes.last()), (0, Some(&b'\n')), "{shape:?}");
        }
    }
}
