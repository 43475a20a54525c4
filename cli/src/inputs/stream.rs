//! Pictures through a pipe: one of any kind, or png pictures one behind the other (`ffmpeg .. -f image2pipe -c:v png -`).
//!
//! A png says where it ends, so that a picture is handed on as soon as its last byte is there. No more than one is in
//! memory.

use std::io::{self, Read};

/// What a png begins with.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The pictures of a pipe: the number of each from 1, or none if it is the only one, and its bytes.
pub(super) struct Frames<R> {
    pipe: R,
    /// The most bytes of a picture.
    most: u64,
    /// How many were handed on.
    given: usize,
    /// The first bytes of the next picture, read already.
    begun: Vec<u8>,
    ended: bool,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(pipe: R, most: u64) -> Self {
        Self { pipe, most, given: 0, begun: Vec::new(), ended: false }
    }

    /// The next picture. A pipe without any byte gives one that is empty, which the decoder then refuses.
    fn read(&mut self) -> io::Result<Option<(Option<usize>, Vec<u8>)>> {
        let mut bytes = std::mem::take(&mut self.begun);
        if self.given == 0 {
            self.append(&mut bytes, SIGNATURE.len() as u64)?;
        }
        if bytes != SIGNATURE {
            if self.given > 0 {
                let behind = format!("what follows picture {} is no png; the rest is not read", self.given);
                return Err(io::Error::other(behind));
            }
            self.ended = true;
            self.append(&mut bytes, self.most.saturating_add(1))?;
            return Ok(Some((None, bytes)));
        }
        let whole = self.chunks(&mut bytes)?;
        self.begun.clear();
        let mut begun = Vec::new();
        self.append(&mut begun, SIGNATURE.len() as u64)?;
        self.ended = !whole || begun.is_empty();
        self.begun = begun;
        self.given += 1;
        let only = self.ended && self.given == 1;
        Ok(Some(((!only).then_some(self.given), bytes)))
    }

    /// Reads the chunks of a png up to its end; whether that came.
    fn chunks(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let start = bytes.len();
            self.append(bytes, 8)?;
            let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(start..start + 8) else { return Ok(false) };
            let last = kind == b"IEND";
            let length = u64::from(u32::from_be_bytes([a, b, c, d])) + 4; // the check sum
            if bytes.len() as u64 + length > self.most {
                let most = self.most;
                return Err(io::Error::other(format!("a picture is larger than the limit of {most} bytes")));
            }
            if self.append(bytes, length)? < length {
                return Ok(false);
            }
            if last {
                return Ok(true);
            }
        }
    }

    /// Reads up to `count` bytes more; how many there were.
    fn append(&mut self, bytes: &mut Vec<u8>, count: u64) -> io::Result<u64> {
        Ok(self.pipe.by_ref().take(count).read_to_end(bytes)? as u64)
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Result<(Option<usize>, Vec<u8>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended |= read.is_err();
        read.map_err(|error| error.to_string()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A png of the right form: signature, chunks, end.
    fn png(filling: &[u8]) -> Vec<u8> {
        let chunk =
            |kind: &[u8], data: &[u8]| [&(data.len() as u32).to_be_bytes(), kind, data, b"crc!"].concat();
        [&SIGNATURE[..], &chunk(b"IDAT", filling), &chunk(b"IEND", b"")].concat()
    }

    type Frame = Result<(Option<usize>, Vec<u8>), String>;

    fn frames(bytes: &[u8]) -> Vec<Frame> {
        Frames::new(bytes, 1000).collect()
    }

    #[test]
    fn pictures_are_told_apart_and_one_has_no_number() {
        let (a, b, c) = (png(b"IEND in the middle"), png(b""), png(&[0; 300]));
        assert_eq!(frames(&a), [Ok((None, a.clone()))]);
        let all = [a.clone(), b.clone(), c.clone()].concat();
        assert_eq!(frames(&all), [Ok((Some(1), a)), Ok((Some(2), b)), Ok((Some(3), c))]);
        for other in [&b""[..], b"\xff\xd8 a jpeg", b"\x89PNG"] {
            assert_eq!(frames(other), [Ok((None, other.to_vec()))]);
        }
    }

    #[test]
    fn what_is_cut_off_comes_as_it_is_and_ends_the_pipe() {
        let whole = [png(b"one"), png(b"two")].concat();
        for end in 9..whole.len() {
            let read = frames(&whole[..end]);
            let bytes: usize = read.iter().flatten().map(|(_, bytes)| bytes.len()).sum();
            // Less than a signature behind the first picture is no picture.
            assert!(bytes == end || read.last().expect("some").is_err(), "{end}: {read:?}");
        }
    }

    #[test]
    fn rubbish_and_giants_are_refused() {
        let read = frames(&[png(b"one"), b"rubbish, and more of it".to_vec()].concat());
        assert!(read[0].is_ok() && read[1].as_ref().expect_err("no png").contains("picture 1"), "{read:?}");
        assert_eq!(read.len(), 2);
        let read = frames(&png(&[0; 2000]));
        assert!(read[0].as_ref().expect_err("too large").contains("1000 bytes"));
        let mut endless = png(b"");
        endless[8] = 0xff;
        assert!(frames(&endless)[0].is_err());
    }
}
