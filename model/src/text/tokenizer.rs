//! CLIP's byte-level BPE, and the fixed-length rows the text encoder reads.
//!
//! Ids: 256 byte characters, the same 256 at the end of a word, one per merge, start, end. Padding is id 0, which is also
//! the piece `!` inside a word: the model masks both, and so does [`Tokens::padding`]. Source: image-model spec,
//! section 4.3.

use super::bpe::Bpe;
use super::clean::clean;
use super::words::{END_LITERAL, START_LITERAL, words};
use crate::{Error, Result};
use std::sync::OnceLock;

/// The first 48894 merges of CLIP's vocabulary, one pair a line, best first.
const MERGES: &str = include_str!("../../data/clip_merges.txt");
/// Ids that are not merges: two sets of 256 bytes, start and end.
const FIXED_IDS: usize = 514;
/// Ids of the published vocabulary.
const FULL_VOCAB: usize = 49408;

/// Turns prompts into rows of token ids.
///
/// The table of merges is built at the first [`encode`](Self::encode), so that a program that never reads a prompt does not
/// pay for it.
pub struct Tokenizer {
    vocab: usize,
    ctx: usize,
    bpe: OnceLock<Bpe>,
}

/// A prompt as the text encoder reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Start, the prompt, end, then zeros: always the context's length.
    pub ids: Vec<u32>,
    /// How many ids the whole prompt has, start and end included, before it was cut to the context.
    pub used: usize,
    /// Whether the prompt lost its tail.
    pub truncated: bool,
    /// True where the id is 0, which the model takes for padding.
    pub padding: Vec<bool>,
}

impl Tokenizer {
    /// A tokenizer with `vocab_size - 514` merges for rows of `ctx` ids.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when `vocab_size` is not 514 to 49408 or `ctx` is below 2.
    pub fn new(vocab_size: usize, ctx: usize) -> Result<Self> {
        if !(FIXED_IDS..=FULL_VOCAB).contains(&vocab_size) {
            let problem =
                format!("the vocabulary has {vocab_size} ids; it must have {FIXED_IDS} to {FULL_VOCAB}");
            return Err(Error::Tokenizer { problem });
        }
        if ctx < 2 {
            let problem = format!("a context of {ctx} has no room for start and end; it must be 2 or more");
            return Err(Error::Tokenizer { problem });
        }
        Ok(Self { vocab: vocab_size, ctx, bpe: OnceLock::new() })
    }

    /// The id that opens every row.
    #[must_use]
    pub fn start(&self) -> u32 {
        (self.vocab - 2) as u32
    }

    /// The id that ends every prompt.
    #[must_use]
    pub fn end(&self) -> u32 {
        (self.vocab - 1) as u32
    }

    /// Cleans and encodes a prompt. A prompt that does not fit keeps its beginning, and its last id becomes the end.
    #[must_use]
    pub fn encode(&self, text: &str) -> Tokens {
        let pieces = self.pieces(&clean(text));
        let used = pieces.len() + 2;
        let mut ids = vec![self.start()];
        ids.extend(pieces.into_iter().take(self.ctx - 2));
        ids.push(self.end());
        ids.resize(self.ctx, 0);
        let padding = ids.iter().map(|&id| id == 0).collect();
        Tokens { ids, used, truncated: used > self.ctx, padding }
    }

    /// The ids of a cleaned text, without start and end.
    fn pieces(&self, cleaned: &str) -> Vec<u32> {
        let bpe = self.bpe.get_or_init(|| Bpe::new(MERGES.lines().take(self.vocab - FIXED_IDS)));
        let word = |word| match word {
            START_LITERAL => vec![self.start()],
            END_LITERAL => vec![self.end()],
            word => bpe.encode(word),
        };
        words(cleaned).flat_map(word).collect()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab", &self.vocab)
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> Tokenizer {
        Tokenizer::new(FULL_VOCAB, 32).expect("the published sizes")
    }

    #[test]
    fn the_merges_are_the_published_ones() {
        assert_eq!(MERGES.lines().count(), FULL_VOCAB - FIXED_IDS);
        assert_eq!(MERGES.lines().next(), Some("i n"));
        assert!(MERGES.lines().all(|line| line.split_once(' ').is_some()));
    }

    #[test]
    fn short_prompts_have_the_published_ids() {
        let cases: [(&str, &[u32]); 17] = [
            ("visual", &[7195]),
            ("the red car", &[518, 736, 1615]),
            ("The person wearing a yellow hat.", &[518, 2533, 3309, 320, 4481, 3801, 269]),
            ("  Two   dogs\n&amp; a cat ", &[1237, 3255, 261, 320, 2368]),
            ("don't", &[847, 713]),
            ("it's 2024", &[585, 568, 273, 271, 273, 275]),
            ("wow!?", &[2781, 6004]),
            ("!!!", &[995]),
            ("cafe\u{301} naïve", &[15304, 1097, 35689, 563]),
            ("“quoted” text", &[257, 27706, 257, 4160]),
            ("I’ll", &[328, 1342]),
            ("猫", &[163, 234, 360]),
            ("😀 face", &[7334, 1710]),
            ("a_b-c", &[320, 318, 321, 268, 322]),
            ("ﬁsh ① ½", &[2759, 158, 239, 510, 33613]),
            ("&lt;start_of_text&gt; x", &[49406, 343]),
            ("", &[]),
        ];
        let tokenizer = published();
        for (text, pieces) in cases {
            let tokens = tokenizer.encode(text);
            assert_eq!(tokens.used, pieces.len() + 2, "{text}");
            assert_eq!(tokens.ids[1..=pieces.len()], *pieces, "{text}");
            assert_eq!(tokens.ids[pieces.len() + 1], 49407, "{text}");
            assert!(tokens.ids[pieces.len() + 2..].iter().all(|&id| id == 0), "{text}");
        }
    }

    #[test]
    fn a_long_prompt_keeps_its_beginning_and_says_so() {
        let tokens = published().encode(&"word ".repeat(31));
        assert_eq!((tokens.ids.len(), tokens.used, tokens.truncated), (32, 33, true));
        assert_eq!((tokens.ids[0], tokens.ids[31]), (49406, 49407));
        let tokens = published().encode(&"word ".repeat(30));
        assert_eq!((tokens.used, tokens.truncated), (32, false));
    }

    #[test]
    fn an_exclamation_mark_inside_a_word_counts_as_padding() {
        let tokens = published().encode("!$' wow");
        assert_eq!((tokens.ids[1], tokens.padding[1], tokens.padding[2]), (0, true, false));
    }

    #[test]
    fn a_small_vocabulary_spells_in_bytes() {
        let tokenizer = Tokenizer::new(514, 8).expect("no merges at all");
        assert_eq!(tokenizer.encode("ab").ids, [512, 64, 321, 513, 0, 0, 0, 0]);
        let error = Tokenizer::new(513, 8).expect_err("fewer ids than bytes").to_string();
        assert!(error.contains("514"), "{error}");
        assert!(Tokenizer::new(514, 1).is_err());
    }
}
