//! Byte-pair encoding: a word is spelled in pieces of one byte, and the pair of neighbours that was merged first when the
//! vocabulary was made is joined until no pair of it is left.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Which pairs join, and to what. The lower a piece's id, the earlier it was made.
pub struct Bpe {
    /// Ids of single bytes inside a word; at its end they are 256 higher.
    bytes: [u32; 256],
    joined: HashMap<(u32, u32), u32>,
}

/// Suffix of the last piece of a word in the list of merges.
const END_OF_WORD: &str = "</w>";

impl Bpe {
    /// The pieces that `merges` make, one a line, two pieces each, best first; ids 0 to 255 are the bytes, 256 to 511 the
    /// same at the end of a word, and so on.
    pub fn new<'a>(merges: impl Iterator<Item = &'a str>) -> Self {
        let characters = byte_characters();
        let order = bytes_in_id_order();
        let mut bytes = [0; 256];
        let mut ids = HashMap::new();
        for (id, &byte) in (0..).zip(&order) {
            let character = characters[usize::from(byte)];
            bytes[usize::from(byte)] = id;
            ids.insert(character.to_string(), id);
            ids.insert(format!("{character}{END_OF_WORD}"), id + 256);
        }
        let mut joined = HashMap::new();
        for (id, (left, right)) in (512..).zip(merges.filter_map(|line| line.split_once(' '))) {
            let piece = |name: &str| *ids.get(name).expect("merges only join pieces made before them");
            joined.insert((piece(left), piece(right)), id);
            ids.insert(format!("{left}{right}"), id);
        }
        Self { bytes, joined }
    }

    /// The ids of a word that is not empty.
    pub fn encode(&self, word: &str) -> Vec<u32> {
        let mut pieces: Vec<u32> = word.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        if let Some(last) = pieces.last_mut() {
            *last += 256;
        }
        let mut word = Word::new(pieces);
        let mut pairs: BinaryHeap<_> = (0..word.pieces.len()).filter_map(|at| self.pair(&word, at)).collect();
        // Among pairs of a kind the leftmost goes first. A pair may have gone since it was noted.
        while let Some(Reverse((id, at, left, right))) = pairs.pop() {
            if word.joins(at) != Some((left, right)) {
                continue;
            }
            word.join(at, id);
            let before = word.before[at].and_then(|before| self.pair(&word, before));
            pairs.extend(before.into_iter().chain(self.pair(&word, at)));
        }
        word.pieces.into_iter().flatten().collect()
    }

    /// The pair that begins at a piece, with what it becomes, if it is one that joins.
    fn pair(&self, word: &Word, at: usize) -> Option<Reverse<(u32, usize, u32, u32)>> {
        let (left, right) = word.joins(at)?;
        let id = *self.joined.get(&(left, right))?;
        Some(Reverse((id, at, left, right)))
    }
}

/// The pieces of a word as a list that is linked both ways, so that joining takes the same time in words of any length.
struct Word {
    /// `None` where a piece was joined to the one before it.
    pieces: Vec<Option<u32>>,
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
}

impl Word {
    fn new(pieces: Vec<u32>) -> Self {
        let len = pieces.len();
        Self {
            pieces: pieces.into_iter().map(Some).collect(),
            before: (0..len).map(|at| at.checked_sub(1)).collect(),
            after: (0..len).map(|at| Some(at + 1).filter(|&next| next < len)).collect(),
        }
    }

    /// A piece and the one after it.
    fn joins(&self, at: usize) -> Option<(u32, u32)> {
        Some((self.pieces[at]?, self.pieces[self.after[at]?]?))
    }

    /// Makes one piece of the one at `at` and the one after it.
    fn join(&mut self, at: usize, id: u32) {
        self.pieces[at] = Some(id);
        let Some(gone) = self.after[at] else { return };
        self.pieces[gone] = None;
        self.after[at] = self.after[gone];
        if let Some(next) = self.after[gone] {
            self.before[next] = Some(at);
        }
    }
}

/// Bytes that print as themselves in the byte table.
fn prints(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

/// A printable character for every byte: itself where it prints, else the next free code point from 256.
fn byte_characters() -> [char; 256] {
    let mut free = 256u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if prints(byte) {
            return char::from(byte);
        }
        free += 1;
        char::from_u32(free - 1).expect("256 to 323 are letters")
    })
}

/// The bytes as ids count them: the printing ones first, then the others.
fn bytes_in_id_order() -> Vec<u8> {
    let (printing, other): (Vec<u8>, Vec<u8>) = (0..=255).partition(|&byte| prints(byte));
    [printing, other].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_that_was_merged_first_is_joined_first() {
        let bpe = Bpe::new(["b c", "a b", "bc c</w>"].into_iter());
        let id = |byte: u8| u32::from(byte - b'!');
        for (word, ids) in [
            ("a", vec![id(b'a') + 256]),
            ("ab", vec![id(b'a'), id(b'b') + 256]),
            ("abc", vec![513, id(b'c') + 256]),
            ("abcc", vec![id(b'a'), 514]),
            ("abab", vec![513, id(b'a'), id(b'b') + 256]),
        ] {
            assert_eq!(bpe.encode(word), ids, "{word}");
        }
    }

    #[test]
    fn a_long_word_is_spelled() {
        let bpe = Bpe::new(std::iter::empty());
        assert_eq!(bpe.encode("猫").len(), 3);
        assert_eq!(bpe.encode("  ")[0], 188 + 32); // after the 188 printing bytes
    }
}
