//! The list of entries of a zip archive, as far as `.pt` files use zip: stored (not compressed) entries.

use super::error::Fault;
use std::collections::HashMap;
use std::ops::Range;

const COMPRESSED: &str =
    "save it again with torch.save, which does not compress, or unpack and re-pack it with `zip -0`";
const SPLIT: &str = "give the archive in one piece";

/// An entry: what the central directory says of it.
#[derive(Clone, Debug)]
struct Record {
    header: u64,
    size: u64,
    stored: bool,
    crc: u32,
}

/// The entries of an archive, by name.
#[derive(Debug)]
pub(super) struct Zip<'a> {
    file: &'a [u8],
    records: HashMap<&'a [u8], Record>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a> Zip<'a> {
    /// Reads the central directory.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, Fault> {
        let (directory, count) = central_directory(file)?;
        let mut records = HashMap::new();
        let mut rest = directory;
        for _ in 0..count {
            let (name, record, next) = record(rest).ok_or("its list of entries is cut short or garbled")?;
            if records.insert(name, record).is_some() {
                return Err(format!("entry `{}` comes twice", String::from_utf8_lossy(name)).into());
            }
            rest = next;
        }
        Ok(Self { file, records })
    }

    /// The names of the entries, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.records.keys().copied()
    }

    /// Where in the file the bytes of an entry are; `None` if there is no such entry.
    pub(super) fn locate(&self, name: &str) -> Result<Option<Range<usize>>, Fault> {
        let Some(record) = self.records.get(name.as_bytes()) else { return Ok(None) };
        if !record.stored {
            return Err(Fault::Unsupported(format!("entry `{name}` is compressed or encrypted"), COMPRESSED));
        }
        let range = self
            .data_range(name, record)
            .ok_or_else(|| format!("entry `{name}` is cut short or misplaced"))?;
        Ok(Some(range))
    }

    fn data_range(&self, name: &str, record: &Record) -> Option<Range<usize>> {
        let local = self.file.get(usize::try_from(record.header).ok()?..)?;
        if !local.starts_with(b"PK\x03\x04") {
            return None;
        }
        let (name_len, extra_len) = (u16_at(local, 26)? as usize, u16_at(local, 28)? as usize);
        if local.get(30..30 + name_len)? != name.as_bytes() {
            return None;
        }
        let start = usize::try_from(record.header).ok()?.checked_add(30 + name_len + extra_len)?;
        let end = start.checked_add(usize::try_from(record.size).ok()?)?;
        (end <= self.file.len()).then_some(start..end)
    }

    /// The bytes of an entry, compared with its check sum.
    pub(super) fn read(&self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        let Some(range) = self.locate(name)? else { return Ok(None) };
        let bytes = &self.file[range];
        if self.records.get(name.as_bytes()).is_some_and(|record| record.crc != crc32(bytes)) {
            return Err(format!("the check sum of entry `{name}` is wrong").into());
        }
        Ok(Some(bytes))
    }
}

/// The bytes of the central directory and the number of its records.
fn central_directory(file: &[u8]) -> Result<(&[u8], u64), Fault> {
    let end =
        end_record(file).ok_or("it has no end: the archive's list of entries, its last part, is missing")?;
    let (mut count, mut size, mut offset) = (
        u64::from(u16_at(file, end + 10).unwrap_or(0)),
        u64::from(u32_at(file, end + 12).unwrap_or(0)),
        u64::from(u32_at(file, end + 16).unwrap_or(0)),
    );
    if u16_at(file, end + 4) != Some(0) && u16_at(file, end + 4) != Some(u16::MAX) {
        return Err(Fault::Unsupported("the archive is one part of several".into(), SPLIT));
    }
    if let Some(wide) = zip64_end_record(file, end) {
        (count, size, offset) = wide.ok_or("its 64-bit list of entries is misplaced")?;
    }
    let start = usize::try_from(offset).ok();
    let range = start.and_then(|start| Some(start..start.checked_add(usize::try_from(size).ok()?)?));
    let directory =
        range.and_then(|range| file.get(range)).ok_or("its list of entries lies outside the file")?;
    Ok((directory, count))
}

/// Where the end record starts: the last signature whose comment reaches exactly to the end of the file.
fn end_record(file: &[u8]) -> Option<usize> {
    let last = file.len().checked_sub(22)?;
    (last.saturating_sub(u16::MAX as usize)..=last).rev().find(|&at| {
        file[at..].starts_with(b"PK\x05\x06")
            && u16_at(file, at + 20).is_some_and(|comment| at + 22 + comment as usize == file.len())
    })
}

/// Count, size and offset from the 64-bit end record: `None` without one, `Some(None)` if it is misplaced.
fn zip64_end_record(file: &[u8], end: usize) -> Option<Option<(u64, u64, u64)>> {
    let locator = file.get(end.checked_sub(20)?..end)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return None;
    }
    let wide = || {
        let record = file.get(usize::try_from(u64_at(locator, 8)?).ok()?..)?;
        let signed = record.starts_with(b"PK\x06\x06");
        signed.then_some((u64_at(record, 32)?, u64_at(record, 40)?, u64_at(record, 48)?))
    };
    Some(wide())
}

/// The first record of a central directory: name, content, and the records after it.
fn record(bytes: &[u8]) -> Option<(&[u8], Record, &[u8])> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (flags, method) = (u16_at(bytes, 8)?, u16_at(bytes, 10)?);
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| u16_at(bytes, at).unwrap_or(0) as usize);
    let name = bytes.get(46..46 + name_len)?;
    let extra = bytes.get(46 + name_len..46 + name_len + extra_len)?;
    let rest = bytes.get(46 + name_len + extra_len + comment_len..)?;
    let [packed, size, header] =
        wide_fields([u32_at(bytes, 20)?, u32_at(bytes, 24)?, u32_at(bytes, 42)?], extra)?;
    let stored = method == 0 && flags & 1 == 0 && packed == size;
    Some((name, Record { header, size, stored, crc: u32_at(bytes, 16)? }, rest))
}

/// Packed size, size and header offset; those that are all ones stand in the extra field 1, in the order size,
/// packed size, offset.
fn wide_fields([packed, size, header]: [u32; 3], mut extra: &[u8]) -> Option<[u64; 3]> {
    let mut fields = [u64::from(size), u64::from(packed), u64::from(header)];
    if fields.iter().all(|&f| f != u64::from(u32::MAX)) {
        return Some([fields[1], fields[0], fields[2]]);
    }
    while u16_at(extra, 0)? != 1 {
        extra = extra.get(4 + u16_at(extra, 2)? as usize..)?;
    }
    let mut wide = extra.get(4..4 + u16_at(extra, 2)? as usize)?;
    for field in fields.iter_mut().filter(|f| **f == u64::from(u32::MAX)) {
        *field = u64_at(wide, 0)?;
        wide = &wide[8..];
    }
    Some([fields[1], fields[0], fields[2]])
}

/// The check sum of zip (CRC-32, reflected polynomial 0xEDB88320), a byte at a time from a table.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &b| (crc >> 8) ^ TABLE[((crc ^ u32::from(b)) & 0xff) as usize])
}

/// Writing small archives, for the tests of this module and of the `.pt` reader.
#[cfg(test)]
pub(super) mod testing {
    /// An archive of stored entries.
    pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, bytes) in entries {
            let offset = file.len() as u32;
            let mut tail = vec![0; 2 + 2 + 2 + 2];
            tail.extend(super::crc32(bytes).to_le_bytes());
            tail.extend((bytes.len() as u32).to_le_bytes());
            tail.extend((bytes.len() as u32).to_le_bytes());
            tail.extend((name.len() as u16).to_le_bytes());
            file.extend(b"PK\x03\x04\x00\x00");
            file.extend(&tail);
            file.extend([0, 0]);
            file.extend(name.as_bytes());
            file.extend(*bytes);
            directory.extend(b"PK\x01\x02\x00\x00\x00\x00");
            directory.extend(&tail);
            directory.extend([0; 12]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let offset = file.len() as u32;
        file.extend(&directory);
        file.extend(b"PK\x05\x06\0\0\0\0");
        file.extend((entries.len() as u16).to_le_bytes());
        file.extend((entries.len() as u16).to_le_bytes());
        file.extend((directory.len() as u32).to_le_bytes());
        file.extend(offset.to_le_bytes());
        file.extend([0, 0]);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_of_the_standard_check_text() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn entries_are_found_by_name() {
        let file = testing::archive(&[("a/data.pkl", b"pickle"), ("a/data/0", b"12345678")]);
        let zip = Zip::open(&file).expect("sound");
        assert_eq!(zip.read("a/data.pkl"), Ok(Some(&b"pickle"[..])));
        assert_eq!(
            zip.locate("a/data/0").map(|r| r.map(|r| file[r].to_vec())),
            Ok(Some(b"12345678".to_vec()))
        );
        assert_eq!(zip.locate("a/data/1"), Ok(None));
    }

    #[test]
    fn a_wrong_check_sum_or_place_is_an_error() {
        let mut file = testing::archive(&[("a", b"pickle")]);
        file[31] ^= 1;
        assert!(Zip::open(&file).expect("the list is sound").read("a").is_err());
        let mut file = testing::archive(&[("a", b"pickle")]);
        let at = file.windows(4).position(|w| w == b"PK\x01\x02").expect("directory") + 42;
        file[at] = 3;
        assert!(Zip::open(&file).expect("the list is sound").locate("a").is_err());
    }

    /// The same archive with its sizes, offsets and counts in the 64-bit fields, as files beyond 4 GiB have them.
    fn widened(file: &[u8]) -> Vec<u8> {
        let end = end_record(file).expect("an archive");
        let (directory, count) = central_directory(file).expect("an archive");
        let mut wide = file[..file.len() - 22 - directory.len()].to_vec();
        let start = wide.len() as u64;
        let mut rest = directory;
        while let Some((name, record, next)) = record(rest) {
            let mut head = rest[..46].to_vec();
            head[20..28].fill(0xff);
            head[42..46].fill(0xff);
            head[30..32].copy_from_slice(&33u16.to_le_bytes());
            wide.extend(head);
            wide.extend(name);
            // An extra field of another kind first.
            wide.extend([7, 0, 1, 0, 9, 1, 0, 24, 0]);
            for value in [record.size, record.size, record.header] {
                wide.extend(value.to_le_bytes());
            }
            rest = next;
        }
        let record_at = wide.len() as u64;
        wide.extend(b"PK\x06\x06");
        wide.extend([0; 20]);
        for value in [count, count, record_at - start, start] {
            wide.extend(value.to_le_bytes());
        }
        wide.extend(b"PK\x06\x07\0\0\0\0");
        wide.extend(record_at.to_le_bytes());
        wide.extend(1u32.to_le_bytes());
        wide.extend(&file[end..end + 4]);
        wide.extend([0xff; 16]);
        wide.extend([0, 0]);
        wide
    }

    #[test]
    fn archives_with_64_bit_fields_are_read() {
        let file = widened(&testing::archive(&[("a/data.pkl", b"pickle"), ("a/data/0", b"12345678")]));
        let zip = Zip::open(&file).expect("sound");
        assert_eq!(zip.read("a/data.pkl"), Ok(Some(&b"pickle"[..])));
        assert_eq!(zip.read("a/data/0"), Ok(Some(&b"12345678"[..])));
        for n in 0..file.len() {
            assert!(Zip::open(&file[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn compressed_entries_are_refused_with_advice() {
        let mut file = testing::archive(&[("a", b"pickle")]);
        let at = file.windows(4).position(|w| w == b"PK\x01\x02").expect("directory") + 10;
        file[at] = 8;
        let zip = Zip::open(&file).expect("the list is sound");
        assert!(matches!(zip.locate("a"), Err(Fault::Unsupported(..))));
    }

    #[test]
    fn no_cut_of_an_archive_panics() {
        let file = testing::archive(&[("a/data.pkl", b"pickle"), ("a/data/0", b"12345678")]);
        for n in 0..file.len() {
            assert!(Zip::open(&file[..n]).is_err(), "cut at {n}");
        }
    }
}
