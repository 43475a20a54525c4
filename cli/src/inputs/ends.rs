//! Where the pictures of a pipe end: read from their own structure, so that nothing behind the end is touched.

use std::io::{self, BufRead, Read};

/// Bytes that tell every kind apart.
pub(super) const HEAD: usize = 12;

/// The kinds of pictures that say where they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    WebP,
    Bmp,
}

impl Kind {
    /// By the first bytes.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            // Some writers leave the length at 0; nobody knows then where the picture ends. The next four bytes are reserved.
            [b'B', b'M', a, b, c, d, 0, 0, 0, 0, ..] if [*a, *b, *c, *d] != [0; 4] => Some(Self::Bmp),
            _ => None,
        }
    }
}

/// A picture that is being read; it begins with the bytes read already.
pub(super) struct Reading<'a, R> {
    pub pipe: &'a mut R,
    pub bytes: Vec<u8>,
    /// The most bytes of a picture.
    pub most: u64,
}

impl<R: BufRead> Reading<'_, R> {
    /// Reads up to the picture's end; whether that came.
    pub(super) fn whole(&mut self, kind: Kind) -> io::Result<bool> {
        match kind {
            Kind::Png => self.png(),
            Kind::Jpeg => self.jpeg(),
            // The length counts from behind itself, and is padded to an even number.
            Kind::WebP => self.up_to(self.little_endian(4).next_multiple_of(2).saturating_add(8)),
            Kind::Bmp => self.up_to(self.little_endian(2)),
        }
    }

    fn little_endian(&self, at: usize) -> u64 {
        self.bytes[at..at + 4].iter().rev().fold(0, |all, byte| (all << 8) | u64::from(*byte))
    }

    /// Chunks up to IEND.
    fn png(&mut self) -> io::Result<bool> {
        let mut start = 8;
        loop {
            if !self.up_to(start + 8)? {
                return Ok(false);
            }
            let header = &self.bytes[start as usize..start as usize + 8];
            let length = header[..4].iter().fold(0, |all, byte| (all << 8) | u64::from(*byte));
            let last = &header[4..] == b"IEND";
            start += 8 + length + 4; // the check sum
            if !self.up_to(start)? {
                return Ok(false);
            }
            if last {
                return Ok(true);
            }
        }
    }

    /// Segments up to the end marker, and the further pictures (a preview, a gain map) that cameras put behind it and an
    /// MPF segment counts as parts of the file.
    fn jpeg(&mut self) -> io::Result<bool> {
        let (mut at, mut parts) = (2, Vec::new());
        loop {
            if !self.up_to(at + 2)? {
                return Ok(false);
            }
            let start = at as usize;
            let [first, marker] = [self.bytes[start], self.bytes[start + 1]];
            match (first, marker) {
                // What is no marker lies in a scan or is damage; the next marker is looked for.
                (0xff, 0xff) => at += 1,
                (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
                (0xff, 0xd9) => {
                    // A list that is out of date would take another picture in: only what follows at once is a part.
                    let mut end = at + 2;
                    while let Some((_, next)) =
                        parts.iter().find(|(start, next)| *start == end && next > start)
                    {
                        end = *next;
                        self.up_to(end)?; // a part that is cut off is none of the picture we read
                    }
                    return Ok(true);
                }
                (0xff, 0x02..) => {
                    if !self.up_to(at + 4)? {
                        return Ok(false);
                    }
                    let length =
                        u64::from(u16::from_be_bytes([self.bytes[start + 2], self.bytes[start + 3]]));
                    let end = at + 2 + length.max(2);
                    if !self.up_to(end)? {
                        return Ok(false);
                    }
                    if marker == 0xe2 {
                        let data = self.bytes.get(start + 4..end as usize).unwrap_or_default();
                        parts.extend(further_pictures(data, at + 4));
                    }
                    at = end;
                }
                _ => match self.next_marker(at)? {
                    Some(marker) => at = marker,
                    None => return Ok(false),
                },
            }
        }
    }

    /// The next byte 0xFF from here on that is not followed by 0.
    fn next_marker(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        loop {
            let held = &self.bytes[at as usize..];
            match held.windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0) {
                Some(offset) => return Ok(Some(at + offset as u64)),
                None => at += held.len().saturating_sub(1) as u64, // the last byte may be the first of a pair
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Takes what the pipe has at hand, up to and with the next byte that may end a marker: nothing behind a picture's end.
    fn more(&mut self) -> io::Result<bool> {
        let after_ff = self.bytes.last() == Some(&0xff);
        let held = self.pipe.fill_buf()?;
        if held.is_empty() {
            return Ok(false);
        }
        let marker = if after_ff { Some(0) } else { held.iter().position(|&byte| byte == 0xff) };
        let count = marker.map_or(held.len(), |at| at + 1);
        self.bytes.extend_from_slice(&held[..count]);
        self.pipe.consume(count);
        self.check_length(self.bytes.len() as u64)?;
        Ok(true)
    }

    /// Reads until there are so many bytes; whether there were.
    fn up_to(&mut self, length: u64) -> io::Result<bool> {
        self.check_length(length)?;
        let missing = length.saturating_sub(self.bytes.len() as u64);
        Ok(append(self.pipe, &mut self.bytes, missing)? == missing)
    }

    fn check_length(&self, length: u64) -> io::Result<()> {
        let most = self.most;
        if length > most {
            return Err(io::Error::other(format!("a picture is larger than the limit of {most} bytes")));
        }
        Ok(())
    }
}

/// Reads up to `count` bytes more; how many there were.
pub(super) fn append<R: BufRead>(pipe: &mut R, bytes: &mut Vec<u8>, count: u64) -> io::Result<u64> {
    Ok(pipe.by_ref().take(count).read_to_end(bytes)? as u64)
}

/// Where the further pictures of a file begin and end that a multi-picture segment (CIPA DC-007) lists; none if it is no
/// such segment. `start` is where the segment's data lie in the file.
fn further_pictures(segment: &[u8], start: u64) -> Vec<(u64, u64)> {
    const ENTRIES: u64 = 0xb002;
    let Some(tiff) = segment.strip_prefix(b"MPF\0") else { return Vec::new() };
    let little = tiff.starts_with(b"II");
    let number = |at: u64, size: u64| -> Option<u64> {
        let part = tiff.get(usize::try_from(at).ok()?..usize::try_from(at + size).ok()?)?;
        let shifted = |all: u64, byte: &u8| (all << 8) | u64::from(*byte);
        Some(if little { part.iter().rev().fold(0, shifted) } else { part.iter().fold(0, shifted) })
    };
    let listed = || {
        let directory = number(4, 4)?;
        let entry = (0..number(directory, 2)?)
            .map(|i| directory + 2 + 12 * i)
            .find(|&entry| number(entry, 2) == Some(ENTRIES))?;
        let (length, list) = (number(entry + 4, 4)?, number(entry + 8, 4)?);
        let picture = |i: u64| Some((number(list + 16 * i + 4, 4)?, number(list + 16 * i + 8, 4)?));
        // The list ends where the segment does. Offsets count from the segment's own header; the first picture has none.
        let pictures = (0..length / 16).map_while(picture).filter(|&(_, offset)| offset > 0);
        Some(pictures.map(|(size, offset)| (start + 4 + offset, start + 4 + offset + size)).collect())
    };
    listed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multi_picture_segment_says_where_further_pictures_are() {
        // Little endian: the directory at 8 with one entry, its list of two pictures at 26.
        let mut tiff = [&b"II*\0"[..], &8_u32.to_le_bytes(), &1_u16.to_le_bytes()].concat();
        tiff.extend([&0xb002_u16.to_le_bytes()[..], &7_u16.to_le_bytes(), &32_u32.to_le_bytes()].concat());
        tiff.extend(26_u32.to_le_bytes());
        tiff.extend([0; 4]);
        for (size, offset) in [(900_u32, 0_u32), (300, 880)] {
            tiff.extend([&[0; 4][..], &size.to_le_bytes(), &offset.to_le_bytes(), &[0; 4]].concat());
        }
        let segment = [&b"MPF\0"[..], &tiff].concat();
        assert_eq!(further_pictures(&segment, 20), [(904, 1204)]);
        assert_eq!(further_pictures(b"ICC_PROFILE\0", 20), []);
        // The last four bytes name pictures that belong together, which is nothing to us.
        for end in 0..segment.len() - 4 {
            assert_eq!(further_pictures(&segment[..end], 20), [], "{end}");
        }
    }

    #[test]
    fn kinds_are_known_by_their_first_bytes() {
        assert_eq!(Kind::of(b"\x89PNG\r\n\x1a\n\0\0\0\x0d"), Some(Kind::Png));
        assert_eq!(Kind::of(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"), Some(Kind::Jpeg));
        assert_eq!(Kind::of(b"RIFF\x10\0\0\0WEBP"), Some(Kind::WebP));
        assert_eq!(Kind::of(b"BM\x46\0\0\0\0\0\0\0\x36\0"), Some(Kind::Bmp));
        for other in [&b""[..], b"\x89PNG", b"RIFF\x10\0\0\0WAVE", b"BMX is no picture", b"II*\0\x08\0\0\0"] {
            assert_eq!(Kind::of(other), None, "{other:?}");
        }
    }
}
