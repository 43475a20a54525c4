//! A cleaned prompt cut into the words that are encoded one by one.
//!
//! What CLIP's pattern cuts, `<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+`,
//! ignoring case: at each place the first alternative that fits wins; white space fits none.

/// The literals that mean tokens of their own.
pub const START_LITERAL: &str = "<start_of_text>";
/// See [`START_LITERAL`].
pub const END_LITERAL: &str = "<end_of_text>";
/// What is cut off a word, in the order it is looked for.
const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// The words of a text, in order.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(char::is_whitespace);
        let len = word_len(rest);
        let (word, after) = rest.split_at_checked(len).filter(|_| len > 0)?;
        rest = after;
        Some(word)
    })
}

/// Bytes of the word a text begins with; the text begins with no space.
fn word_len(text: &str) -> usize {
    let literals = [START_LITERAL, END_LITERAL].into_iter().chain(CONTRACTIONS);
    if let Some(len) = literals.filter_map(|literal| prefix_len(text, literal)).next() {
        return len;
    }
    let run = |of: fn(char) -> bool| text.find(|c| !of(c)).unwrap_or(text.len());
    match text.chars().next() {
        Some(first) if is_letter(first) => run(is_letter),
        Some(first) if first.is_numeric() => first.len_utf8(),
        _ => run(|c| !c.is_whitespace() && !is_letter(c) && !c.is_numeric()),
    }
}

/// Bytes of the literal at a text's beginning, ignoring case.
fn prefix_len(text: &str, literal: &str) -> Option<usize> {
    let mut characters = text.chars();
    let mut len = 0;
    for expected in literal.chars() {
        let found = characters.next()?;
        // The long s is the one other letter whose case folds to a letter of the literals.
        if found.to_ascii_lowercase() != expected && !(found == 'ſ' && expected == 's') {
            return None;
        }
        len += found.len_utf8();
    }
    Some(len)
}

/// Unicode's letters (general category L): what is alphabetic and neither a numeral, nor a mark, nor a letter in a circle
/// or square. The mark under a Greek letter (U+0345) counts, because ignoring case it is an iota.
fn is_letter(c: char) -> bool {
    let enclosed = |c| matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}');
    let is_mark = unicode_normalization::char::is_combining_mark;
    c == '\u{345}' || (c.is_alphabetic() && !c.is_numeric() && !is_mark(c) && !enclosed(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_where_the_kind_changes() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            (" \n", &[]),
            ("the red car", &["the", "red", "car"]),
            ("don't", &["don", "'t"]),
            ("it's 2024!?", &["it", "'s", "2", "0", "2", "4", "!?"]),
            ("!'s a_b-c", &["!'", "s", "a", "_", "b", "-", "c"]),
            ("<start_of_text>x<END_OF_TEXT>", &["<start_of_text>", "x", "<END_OF_TEXT>"]),
            ("猫½ a\u{301}b", &["猫", "½", "a", "\u{301}", "b"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
