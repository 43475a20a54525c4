//! Cleaning of a prompt, as the reference cleans it before the BPE sees it.
//!
//! Three stages: repair (what ftfy does to one line of text), HTML references resolved twice, whitespace and case.
//! Left out on purpose: mojibake repair (UTF-8 read as another encoding, `Ã©` for `é`); real prompts do not need it
//! and guessing wrong would change what the user wrote. Source: image-model spec, section 4.3.

use super::html;
use unicode_normalization::UnicodeNormalization;

/// Repair passes over one line. Ordinary text needs one or two; the bound keeps `&amp;amp;amp;...` from taking
/// quadratic time.
const MOST_PASSES: usize = 32;

/// The text as the BPE reads it: repaired, unescaped, single spaces, lower case.
#[must_use]
pub fn clean(text: &str) -> String {
    let repaired = repair(text);
    let once = html::unescape(&repaired);
    let twice = html::unescape(&once);
    collapse_whitespace(&twice).to_lowercase()
}

/// Repairs each line until nothing changes. References are resolved up to the first line that holds a `<`: from there
/// on the text is taken for HTML source.
fn repair(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        unescape &= !line.contains('<');
        out.push_str(&repair_line(line, unescape));
    }
    out
}

fn repair_line(line: &str, unescape: bool) -> String {
    let mut line = line.to_owned();
    for _ in 0..MOST_PASSES {
        let repaired = repair_once(&line, unescape);
        if repaired == line {
            break;
        }
        line = repaired;
    }
    line
}

fn repair_once(line: &str, unescape: bool) -> String {
    let unescaped = if unescape { html::unescape_strict(line) } else { line.into() };
    let mut characters = String::with_capacity(unescaped.len());
    for c in unescaped.chars() {
        replace_character(c, &mut characters);
    }
    let plain = drop_terminal_escapes(&characters);
    plain.chars().filter(|&c| !is_control(c)).nfc().collect()
}

/// Spells a character plainly: C1 codes as windows-1252, ligatures as letters, width forms at their usual width,
/// quotes straight, line ends as `\n`.
fn replace_character(c: char, out: &mut String) {
    match c {
        '\u{80}'..='\u{9f}' => {
            let meant = html::windows_1252(c as u32 as u8);
            if meant != c {
                return replace_character(meant, out);
            }
            out.push(c);
        }
        '\u{3000}' => out.push(' '),
        '\u{ff01}'..='\u{ffef}' => std::iter::once(c).nfkc().for_each(|c| out.push(straight(c))),
        _ => match ligature(c) {
            Some(letters) => out.push_str(letters),
            None => out.push(straight(c)),
        },
    }
}

/// Quotes and line ends in their ASCII form.
fn straight(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => '\n',
        _ => c,
    }
}

/// The letters of a Latin ligature.
fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "'n",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// Removes colour codes copied from a terminal: `ESC [ digits ; digits letter`.
fn drop_terminal_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let parameters = &rest[at + 2..];
        let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(parameters.len());
        if parameters[end..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            rest = &parameters[end + 1..];
        } else {
            out.push_str("\u{1b}[");
            rest = parameters;
        }
    }
    out.push_str(rest);
    out
}

/// Characters that show nothing: control codes other than whitespace, deprecated format characters, byte order marks.
fn is_control(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffc}')
}

/// Every run of whitespace as one space, none at the ends.
fn collapse_whitespace(text: &str) -> String {
    let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_cleaned_as_the_reference_cleans_them() {
        let cases = [
            ("  Two   dogs\n&amp; a cat ", "two dogs & a cat"),
            ("“smart” ‘quotes’ I’ll", "\"smart\" 'quotes' i'll"),
            ("ﬁne ﬂy ŉt ǆ", "fine fly 'nt dž"),
            ("Ｆｕｌｌ　ｗｉｄｔｈ ｶﾞ", "full width ガ"),
            ("cafe\u{301}", "café"),
            ("a\u{85}b", "a…b"),
            ("\u{1b}[36;44mblue\u{1b}[0m \u{1b}[x", "blue"),
            ("&amp;amp;amp;lt;b&gt;", "<b>"),
            ("<p>&amp;amp;amp;", "<p>&amp;"),
            ("ΟΔΟΣ İ", "οδος i̇"),
            ("\u{feff}line\u{2028}sep\r\nend\x07", "line sep end"),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn nested_references_take_bounded_time() {
        let hostile = format!("&{};", "amp;".repeat(50_000));
        assert!(clean(&hostile).len() < hostile.len());
    }
}
