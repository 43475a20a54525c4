//! HTML character references, resolved in the two ways the cleaning needs.
//!
//! `data/html_entities.txt` is the complete HTML5 list: one line a name, `*` behind a name that also counts
//! without its semicolon, then the code points in hexadecimal.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Longest name that is looked up without knowing its end, in characters.
const LONGEST_LOOSE_NAME: usize = 32;
/// Longest name, number or letters, that the strict form reads.
const LONGEST_STRICT_NAME: usize = 24;

/// What a name stands for, and whether it may come without its semicolon.
struct Entity {
    text: String,
    loose: bool,
}

static ENTITIES: LazyLock<HashMap<&'static str, Entity>> =
    LazyLock::new(|| include_str!("../../data/html_entities.txt").lines().filter_map(parse_entity).collect());

fn parse_entity(line: &'static str) -> Option<(&'static str, Entity)> {
    let (name, codes) = line.split_once(' ')?;
    let text =
        codes.split(' ').filter_map(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?)).collect();
    let entity = Entity { text, loose: name.ends_with('*') };
    Some((name.trim_end_matches('*'), entity))
}

/// Resolves every reference as HTML5 does: names and numbers, with or without the semicolon where HTML allows it,
/// the longest known prefix of an unknown name (`&notit;` is `¬it;`), numbers 0x80 to 0x9f read as windows-1252.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    replace_references(text, loose_reference)
}

/// Resolves only what is unmistakable: known names and numbers that end in a semicolon, and names typed in capitals
/// throughout (`&EACUTE;`).
pub(super) fn unescape_strict(text: &str) -> Cow<'_, str> {
    replace_references(text, strict_reference)
}

/// Replaces what `read` finds behind each `&`: the replacement and the bytes it stands for (after the `&`).
fn replace_references(text: &str, read: fn(&str) -> Option<(String, usize)>) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match read(rest) {
            Some((replacement, used)) => {
                out.push_str(&replacement);
                rest = &rest[used..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn loose_reference(after: &str) -> Option<(String, usize)> {
    if let Some(number) = after.strip_prefix('#') {
        let (replacement, used) = numeric_reference(number)?;
        return Some((replacement, used + 1));
    }
    let stop = |c: char| matches!(c, '\t' | '\n' | '\x0c' | ' ' | '<' | '&' | '#' | ';');
    let end = after.char_indices().take(LONGEST_LOOSE_NAME).find(|&(_, c)| stop(c)).map(|(at, _)| at);
    let end =
        end.or_else(|| after.char_indices().nth(LONGEST_LOOSE_NAME).map(|(at, _)| at)).unwrap_or(after.len());
    let name = &after[..end];
    if after[end..].starts_with(';')
        && let Some(entity) = ENTITIES.get(name)
    {
        return Some((entity.text.clone(), end + 1));
    }
    longest_loose_prefix(name)
}

/// The longest beginning of `name`, of two characters or more, that counts without a semicolon.
fn longest_loose_prefix(name: &str) -> Option<(String, usize)> {
    let ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
    let ends: Vec<usize> = ends.skip(1).collect();
    ends.into_iter().rev().find_map(|end| {
        let entity = ENTITIES.get(&name[..end]).filter(|entity| entity.loose)?;
        Some((entity.text.clone(), end))
    })
}

/// Reads `233;`, `xe9;` (behind `&#`); the semicolon is optional. Gives the text and the bytes read.
fn numeric_reference(after: &str) -> Option<(String, usize)> {
    let hex = after.starts_with(['x', 'X']);
    let (skip, radix) = if hex { (1, 16) } else { (0, 10) };
    let digits = &after[skip..];
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let value = digits[..end]
        .chars()
        .filter_map(|c| c.to_digit(radix))
        .fold(0u32, |value, digit| value.saturating_mul(radix).saturating_add(digit));
    let semicolon = usize::from(digits[end..].starts_with(';'));
    Some((code_point(value), skip + end + semicolon))
}

/// What HTML makes of a numeric reference: windows-1252 for the C1 range, nothing for control codes and
/// non-characters, the replacement character for what is no Unicode.
fn code_point(value: u32) -> String {
    match value {
        0 => "\u{fffd}".to_owned(),
        0x0d => "\r".to_owned(),
        0x80..=0x9f => windows_1252(value as u8).to_string(),
        0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
        _ if value <= 0x10_ffff && value & 0xfffe == 0xfffe => String::new(),
        _ => char::from_u32(value).unwrap_or('\u{fffd}').to_string(),
    }
}

/// The character a byte 0x80 to 0x9f means in windows-1252; the five unassigned bytes stay control characters.
pub(super) fn windows_1252(byte: u8) -> char {
    const HIGH: [u16; 32] = [
        0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152,
        0x8d, 0x017d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122,
        0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
    ];
    let code = match byte {
        0x80..=0x9f => u32::from(HIGH[usize::from(byte - 0x80)]),
        _ => u32::from(byte),
    };
    char::from_u32(code).unwrap_or('\u{fffd}')
}

fn strict_reference(after: &str) -> Option<(String, usize)> {
    let numeric = after.starts_with('#');
    let name = &after[usize::from(numeric)..];
    let end = name.bytes().take(LONGEST_STRICT_NAME + 1).position(|b| !b.is_ascii_alphanumeric())?;
    if end == 0 || name.as_bytes()[end] != b';' {
        return None;
    }
    if numeric {
        let (replacement, used) = numeric_reference(name)?;
        return (used == end + 1 && replacement != ";").then_some((replacement, used + 1));
    }
    let known = ENTITIES.get(&name[..end]).map(|entity| entity.text.clone());
    known.or_else(|| capitals_reference(&name[..end])).map(|text| (text, end + 1))
}

/// A name in capitals that HTML does not know, but knows in small letters.
fn capitals_reference(name: &str) -> Option<String> {
    let capitals = name.bytes().all(|b| !b.is_ascii_lowercase());
    if !capitals || longest_loose_prefix(name).is_some() {
        return None;
    }
    ENTITIES.get(name.to_ascii_lowercase().as_str()).map(|entity| entity.text.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert_eq!(ENTITIES.len(), 2125);
        assert_eq!(ENTITIES.values().filter(|entity| entity.loose).count(), 106);
    }

    #[test]
    fn references_resolve_as_in_html() {
        let cases = [
            ("fish &amp; chips", "fish & chips"),
            ("&amp;lt;", "&lt;"),
            ("&notanentity;", "¬anentity;"),
            ("&eacute", "é"),
            ("&#x1F600;&#128054", "😀🐶"),
            ("&#128;&#x80;&#129;", "€€\u{81}"),
            ("&#0;&#xD800;&#x110000;&#99999999999999;", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("&#1;&#xfffe;", ""),
            ("& &; &# &#x; &;", "& &; &# &#x; &;"),
            ("&NotEqualTilde;", "≂̸"),
            ("&é&", "&é&"),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }

    #[test]
    fn the_strict_form_wants_its_semicolon() {
        let cases = [
            ("&eacute &notit; &EACUTE;", "&eacute &notit; É"),
            ("&#59;&#65;", "&#59;A"),
            ("&GTDOT;", "&GTDOT;"),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape_strict(text), expected, "{text}");
        }
    }
}
