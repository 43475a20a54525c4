//! Prompts against the reference's tokens.

use proptest::prelude::*;
use sam3i::text::{Tokenizer, clean};
use sam3i_tests::goldens::data;
use serde::Deserialize;
use std::sync::LazyLock;

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    padded32: Vec<u32>,
    cleaned: String,
}

/// Strings the reference repairs because they are UTF-8 that was read as another encoding. Guessing at encodings is left
/// out (see `sam3i::text::clean`): what the user typed is what is read.
const MOJIBAKE: [&str; 5] = ["schÃ¶n", "Ã©tÃ©", "â€œmojibakeâ€\u{9d}", "donâ€™t", "lâ€™humanitÃ©"];

static PUBLISHED: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::new(49408, 32).expect("the published sizes"));

fn recorded() -> Vec<Case> {
    let text = std::fs::read_to_string(data("tokenizer.json")).expect("tests/data/tokenizer.json");
    serde_json::from_str::<Recorded>(&text).expect("recorded tokens").cases
}

#[test]
fn recorded_prompts_have_the_references_tokens() {
    let cases = recorded();
    assert_eq!(cases.len(), 220);
    let skipped = cases.iter().filter(|case| MOJIBAKE.contains(&case.text.as_str())).count();
    assert_eq!(skipped, MOJIBAKE.len());
    for case in cases.iter().filter(|case| !MOJIBAKE.contains(&case.text.as_str())) {
        assert_eq!(clean(&case.text), case.cleaned, "{:?}", case.text);
        let tokens = PUBLISHED.encode(&case.text);
        assert_eq!(tokens.ids, case.padded32, "{:?}", case.text);
        assert_eq!(tokens.used, case.ids.len() + 2, "{:?}", case.text);
        assert_eq!(tokens.truncated, tokens.used > 32, "{:?}", case.text);
    }
}

#[test]
fn mojibake_is_left_as_it_was_typed() {
    for text in MOJIBAKE {
        let case = recorded().into_iter().find(|case| case.text == text).expect("a recorded string");
        assert_ne!(clean(text), case.cleaned, "{text:?} is repaired now: take it off the list");
    }
}

#[test]
fn a_smaller_vocabulary_uses_the_first_merges() {
    let small = Tokenizer::new(514 + 100, 16).expect("a hundred merges");
    assert_eq!((small.start(), small.end()), (612, 613));
    for text in ["the red car", "ünïcödé 猫 !!", "<start_of_text>"] {
        let tokens = small.encode(text);
        assert!(tokens.ids.iter().all(|&id| id < 614), "{text}");
    }
}

fn check_row(tokenizer: &Tokenizer, text: &str, ctx: usize) -> Result<(), TestCaseError> {
    let tokens = tokenizer.encode(text);
    prop_assert_eq!(tokens.ids.len(), ctx);
    prop_assert_eq!(tokens.ids[0], tokenizer.start());
    prop_assert!(tokens.ids.iter().all(|&id| id <= tokenizer.end()));
    prop_assert!(tokens.ids.contains(&tokenizer.end()));
    prop_assert_eq!(tokens.truncated, tokens.used > ctx);
    let zeros: Vec<bool> = tokens.ids.iter().map(|&id| id == 0).collect();
    prop_assert_eq!(tokens.padding, zeros);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_gives_a_whole_row(text in any::<String>()) {
        check_row(&PUBLISHED, &text, 32)?;
    }

    #[test]
    fn any_markup_gives_a_whole_row(text in r"([&#;<>a-zA-Z0-9\x1b\[ ]|amp;|&#x|“|ﬁ|\u{85}|\u{301}){0,60}") {
        check_row(&PUBLISHED, &text, 32)?;
    }

    #[test]
    fn cleaning_leaves_no_double_spaces(text in any::<String>()) {
        let cleaned = clean(&text);
        prop_assert!(!cleaned.contains("  ") && cleaned.trim() == cleaned);
    }
}
