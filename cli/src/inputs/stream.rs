//! Pictures through a pipe: one of any kind, or png, jpeg, webp and bmp pictures one behind the other
//! (`ffmpeg .. -f image2pipe -c:v png -`, `cat *.jpg`).
//!
//! These say where they end, so that a picture is handed on before the next one is read. No more than one is in memory.

use super::ends::{HEAD, Kind, Reading, append};
use std::io::{self, BufRead, BufReader, Read};

/// A picture of a pipe.
#[derive(Debug, PartialEq)]
pub(super) struct Frame {
    /// Its number from 1; none if it is the only one.
    pub number: Option<usize>,
    pub bytes: Vec<u8>,
    /// What people should know about how it came.
    pub note: Option<String>,
}

/// The pictures of a pipe.
pub(super) struct Frames<R> {
    pipe: BufReader<R>,
    /// The most bytes of a picture.
    most: u64,
    /// How many were handed on.
    given: usize,
    /// The first bytes of the next picture, read already.
    begun: Vec<u8>,
    ended: bool,
    /// What is wrong with the pipe behind the picture that was handed on last.
    problem: Option<String>,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(pipe: R, most: u64) -> Self {
        let pipe = BufReader::with_capacity(1 << 16, pipe);
        Self { pipe, most, given: 0, begun: Vec::new(), ended: false, problem: None }
    }

    /// The next picture. A pipe without any byte gives one that is empty, which the decoder then refuses.
    fn read(&mut self) -> io::Result<Frame> {
        if self.given == 0 {
            append(&mut self.pipe, &mut self.begun, HEAD as u64)?;
        }
        let bytes = std::mem::take(&mut self.begun);
        let Some(kind) = Kind::of(&bytes) else {
            return self.rest(bytes); // the first: what is none of these ends the pipe behind others
        };
        let mut reading = Reading { pipe: &mut self.pipe, bytes, most: self.most };
        let whole = reading.whole(kind)?;
        let bytes = reading.bytes;
        self.given += 1;
        let note = if whole { self.look_behind(kind)? } else { None };
        self.ended |= !whole || self.begun.is_empty();
        let only = self.ended && self.given == 1 && self.problem.is_none();
        Ok(Frame { number: (!only).then_some(self.given), bytes, note })
    }

    /// All that is left, as one picture of a kind that does not say where it ends.
    fn rest(&mut self, mut bytes: Vec<u8>) -> io::Result<Frame> {
        self.ended = true;
        append(&mut self.pipe, &mut bytes, self.most.saturating_add(1))?;
        Ok(Frame { number: None, bytes, note: None })
    }

    /// Reads the first bytes of the next picture. What is no picture ends the pipe: cameras put films and their own data
    /// behind a jpeg, which is only noted as long as no picture hides in it.
    fn look_behind(&mut self, kind: Kind) -> io::Result<Option<String>> {
        append(&mut self.pipe, &mut self.begun, HEAD as u64)?;
        if self.begun.is_empty() || Kind::of(&self.begun).is_some() {
            return Ok(None);
        }
        let behind = std::mem::take(&mut self.begun);
        self.ended = true;
        if kind == Kind::Jpeg {
            let (count, hidden) = pass_over(&mut self.pipe, behind)?;
            if !hidden {
                return Ok(Some(format!("{count} bytes behind the end of the picture were passed over")));
            }
        }
        self.problem = Some(format!(
            "what follows picture {} is no png, jpeg, webp or bmp; the rest is not read",
            self.given
        ));
        Ok(None)
    }
}

/// Reads a pipe to its end: how many bytes there were, those read already included, and whether any of them look like the
/// beginning of a png or jpeg picture.
fn pass_over(pipe: &mut impl BufRead, mut held: Vec<u8>) -> io::Result<(usize, bool)> {
    const BEGINNINGS: [&[u8]; 4] =
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xdb"];
    let (mut count, mut hidden) = (held.len(), false);
    loop {
        hidden |= BEGINNINGS.iter().any(|&start| held.windows(start.len()).any(|window| window == start));
        held.drain(..held.len().saturating_sub(7)); // a beginning may go on in what comes
        let more = pipe.fill_buf()?;
        if more.is_empty() {
            return Ok((count, hidden));
        }
        held.extend_from_slice(more);
        let read = more.len();
        pipe.consume(read);
        count += read;
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Result<Frame, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(problem) = self.problem.take() {
            return Some(Err(problem));
        }
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended |= read.is_err();
        Some(read.map_err(|error| error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A png of the right form: signature, chunks, end.
    fn png(filling: &[u8]) -> Vec<u8> {
        let chunk =
            |kind: &[u8], data: &[u8]| [&(data.len() as u32).to_be_bytes(), kind, data, b"crc!"].concat();
        [b"\x89PNG\r\n\x1a\n", &chunk(b"IDAT", filling)[..], &chunk(b"IEND", b"")].concat()
    }

    /// A jpeg of the right form: a segment that holds an end marker, two scans with stuffed bytes and restart markers.
    fn jpeg(filling: &[u8]) -> Vec<u8> {
        let segment = |marker: u8, data: &[u8]| {
            [&[0xff, marker], &(data.len() as u16 + 2).to_be_bytes()[..], data].concat()
        };
        let thumbnail = b"\xff\xd8\xff\xe0 a preview \xff\xd9";
        let scan =
            [segment(0xda, b"head"), filling.to_vec(), b"\xff\x00\xff\xd0 on \xff\x00".to_vec()].concat();
        let fill = b"\xff\xff\xff";
        [b"\xff\xd8", &segment(0xe1, thumbnail)[..], &segment(0xdb, b""), &scan, &segment(0xc4, b"x"), &scan]
            .concat()
            .into_iter()
            .chain(*fill)
            .chain(*b"\xd9")
            .collect()
    }

    fn webp(filling: &[u8]) -> Vec<u8> {
        let padding = &b"\0"[..filling.len() % 2];
        [b"RIFF", &(filling.len() as u32 + 4).to_le_bytes()[..], b"WEBP", filling, padding].concat()
    }

    fn bmp(filling: &[u8]) -> Vec<u8> {
        [b"BM", &(filling.len() as u32 + 14).to_le_bytes()[..], &[0; 4], &[54, 0, 0, 0], filling].concat()
    }

    /// Hands out a byte at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn frames(bytes: &[u8]) -> Vec<Result<Frame, String>> {
        let fast: Vec<_> = Frames::new(bytes, 1000).collect();
        assert_eq!(fast, Frames::new(Slow(bytes), 1000).collect::<Vec<_>>());
        fast
    }

    fn frame(number: Option<usize>, bytes: &[u8]) -> Result<Frame, String> {
        Ok(Frame { number, bytes: bytes.to_vec(), note: None })
    }

    #[test]
    fn pictures_are_told_apart_and_one_has_no_number() {
        let all = [
            png(b"IEND in the middle"),
            jpeg(b"first"),
            jpeg(b""),
            webp(b"odd"),
            png(b""),
            bmp(b"pixels"),
            webp(b"even"),
            png(&[0; 300]),
        ];
        for one in &all {
            assert_eq!(frames(one), [frame(None, one)]);
        }
        let expected: Vec<_> = (1..).zip(&all).map(|(number, bytes)| frame(Some(number), bytes)).collect();
        assert_eq!(frames(&all.concat()), expected);
        for other in
            [&b""[..], b"II*\0 a tiff, of any length", b"\x89PNG", b"BM\0\0\0\0\0\0\0\0 of no length"]
        {
            assert_eq!(frames(other), [frame(None, other)]);
        }
    }

    #[test]
    fn what_is_cut_off_comes_as_it_is_and_ends_the_pipe() {
        for make in [png, jpeg, webp, bmp] {
            let whole = [make(b"one"), make(b"two")].concat();
            for end in HEAD..whole.len() {
                let read = frames(&whole[..end]);
                let bytes: usize = read.iter().flatten().map(|frame| frame.bytes.len()).sum();
                // Less than a signature behind the first picture is no picture.
                let told = |frame: &Result<Frame, String>| frame.as_ref().map_or(true, |f| f.note.is_some());
                assert!(bytes == end || read.iter().any(told), "{end}: {read:?}");
            }
        }
    }

    #[test]
    fn rubbish_and_giants_are_refused() {
        for make in [png, webp, bmp] {
            let read = frames(&[make(b"one"), b"rubbish, and more of it".to_vec()].concat());
            assert!(
                read[0].is_ok() && read[1].as_ref().expect_err("no picture").contains("picture 1"),
                "{read:?}"
            );
            assert_eq!(read.len(), 2);
        }
        for make in [png, jpeg, webp, bmp] {
            let read = frames(&make(&[0; 2000]));
            assert!(read[0].as_ref().expect_err("too large").contains("1000 bytes"), "{read:?}");
        }
        let mut endless = png(b"");
        endless[8] = 0xff;
        assert!(frames(&endless)[0].is_err());
    }

    #[test]
    fn what_a_camera_puts_behind_a_jpeg_is_noted_unless_a_picture_hides_there() {
        let film = b"....ftypmp42 and a film";
        let read = frames(&[&jpeg(b"photo")[..], film].concat());
        let note = read[0].as_ref().expect("a picture").note.clone().expect("a note");
        assert!(read.len() == 1 && note.starts_with(&format!("{} bytes", film.len())), "{read:?}");
        assert_eq!(read[0].as_ref().expect("a picture").number, None);
        let hidden = frames(&[&jpeg(b"photo")[..], film, &jpeg(b"lost")].concat());
        assert!(hidden[0].is_ok() && hidden[1].is_err() && hidden.len() == 2, "{hidden:?}");
    }
}
