//! What a file is, from its first bytes; and whether the end of a picture file is there.

/// What the bytes look like, for the message about a file that is no picture we read.
pub(super) fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the file is empty".to_owned();
    }
    let known: [(&[u8], &str); 12] = [
        (b"GIF8", "a GIF picture"),
        (b"II+\0", "a BigTIFF picture"),
        (b"MM\0+", "a BigTIFF picture"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"8BPS", "a Photoshop document"),
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"version https://git-lfs", "a Git LFS pointer, not the picture it stands for; run `git lfs pull`"),
        (b"<svg", "an SVG drawing"),
        (b"\x7fELF", "a program"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return format!("the file is {what}");
    }
    match bytes.get(4..12) {
        Some(b"ftypavif" | b"ftypavis") => return "the file is an AVIF picture".to_owned(),
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1") => return "the file is a HEIC picture".to_owned(),
        Some(brand) if brand.starts_with(b"ftyp") => return "the file is a video".to_owned(),
        _ => {}
    }
    text_start(bytes).map_or_else(
        || "the file's first bytes are those of no picture format".to_owned(),
        |start| format!("the file is text; it starts with \"{start}\""),
    )
}

/// The beginning of the file, when it reads as text.
fn text_start(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(512)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let plain = text.chars().all(|c| !c.is_control() || c.is_whitespace());
    plain.then(|| text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(40).collect())
}

/// What the markers of a JPEG file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Jpeg {
    /// Colour components of the frame.
    pub components: u8,
    /// Whether Adobe's marker is there: four components are then stored inverted.
    pub adobe: bool,
    /// Whether the end marker is there.
    pub complete: bool,
}

impl Jpeg {
    /// Walks the segments up to the first scan, then looks for the end marker. In a scan a byte 0xFF is always followed by
    /// 0 or a restart marker, so that an end marker found there is one.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut jpeg = Self::default();
        let mut rest = bytes.get(2..).unwrap_or_default();
        while let [0xff, marker, after @ ..] = rest {
            let length = match (marker, after) {
                (0xff, _) => {
                    rest = &rest[1..];
                    continue;
                }
                (0x01 | 0xd0..=0xd7, _) => 0,
                (0xd9, _) => return Self { complete: true, ..jpeg },
                (_, [high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])).max(2),
                _ => return jpeg,
            };
            let Some(segment) = after.get(..length) else { return jpeg };
            jpeg.note(*marker, segment);
            rest = &after[length..];
            if *marker == 0xda {
                break;
            }
        }
        jpeg.complete = rest.windows(2).any(|pair| pair == [0xff, 0xd9]);
        jpeg
    }

    fn note(&mut self, marker: u8, segment: &[u8]) {
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                self.components = segment.get(7).copied().unwrap_or_default();
            }
            0xee => self.adobe |= segment.get(2..7) == Some(b"Adobe"),
            _ => {}
        }
    }
}

/// Whether a RIFF file (WebP) has as many bytes as its header says.
pub(super) fn riff_is_complete(bytes: &[u8]) -> bool {
    let Some(Ok(length)) = bytes.get(4..8).map(<[u8; 4]>::try_from) else { return false };
    bytes.len() as u64 >= u64::from(u32::from_le_bytes(length)) + 8
}

/// Whether a BMP file has as many bytes as its header says; some writers leave that at 0.
pub(super) fn bmp_is_complete(bytes: &[u8]) -> bool {
    let Some(Ok(length)) = bytes.get(2..6).map(<[u8; 4]>::try_from) else { return false };
    bytes.len() as u64 >= u64::from(u32::from_le_bytes(length))
}

/// Whether another page follows the first of a TIFF file.
pub(super) fn tiff_has_more_pages(bytes: &[u8]) -> bool {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, size: usize| -> Option<usize> {
        let part = bytes.get(at..at.checked_add(size)?)?;
        let shifted = |all: usize, byte: &u8| (all << 8) | usize::from(*byte);
        Some(if little { part.iter().rev().fold(0, shifted) } else { part.iter().fold(0, shifted) })
    };
    let next = || {
        let directory = number(4, 4)?;
        let entries = number(directory, 2)?;
        number(directory + 2 + 12 * entries, 4)
    };
    next().is_some_and(|next| next != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_what_they_are() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "empty"),
            (b"hello\nworld, this is no picture", "starts with \"hello world, this is no picture\""),
            (b"GIF89a", "GIF"),
            (b"%PDF-1.7", "PDF"),
            (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
            (b"\0\0\0\x1cftypheic\0\0", "HEIC"),
            (b"\x00\x01\x02\xfe", "no picture format"),
        ];
        for (bytes, expected) in cases {
            assert!(describe(bytes).contains(expected), "{}", describe(bytes));
        }
    }

    #[test]
    fn a_tiff_says_whether_pages_follow() {
        let one_entry = |next: u8| [b"II*\0\x08\0\0\0\x01\0".as_slice(), &[0; 12], &[next, 0, 0, 0]].concat();
        assert!(!tiff_has_more_pages(&one_entry(0)) && tiff_has_more_pages(&one_entry(9)));
        let turned = [b"MM\0*\0\0\0\x08\0\x01".as_slice(), &[0; 12], &[0, 0, 0, 9]].concat();
        assert!(tiff_has_more_pages(&turned));
        for end in 0..turned.len() {
            assert!(!tiff_has_more_pages(&turned[..end]), "{end} bytes");
        }
        assert!(!tiff_has_more_pages(b"II*\0\xff\xff\xff\xff"));
    }

    #[test]
    fn jpeg_markers_are_read_without_trusting_them() {
        let whole = b"\xff\xd8\xff\xee\x00\x07Adobe\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x04\x00\x00\x00\xff\xda\x00\x02ab\xff\xd9";
        assert_eq!(Jpeg::read(whole), Jpeg { components: 4, adobe: true, complete: true });
        for end in 0..whole.len() {
            assert!(!Jpeg::read(&whole[..end]).complete, "{end} bytes");
        }
    }
}
