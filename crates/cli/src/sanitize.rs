//! Makes names from outside safe to print: a program chooses its own thread
//! names and paths, and must not write to the reader's terminal or break XML.

use std::borrow::Cow;

/// `text` with every character replaced that moves the cursor, reorders the
/// line, or may not stand in XML.
#[must_use]
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().map(replacement).collect())
    } else {
        Cow::Borrowed(text)
    }
}

fn replacement(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separators.
            '\u{2028}' | '\u{2029}'
            // Marks, embeddings, overrides and isolates of text direction.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Not characters; not allowed in XML.
            | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_lose_their_escape() {
        assert_eq!(clean("\u{1b}[31mred\u{7}"), "\u{fffd}[31mred\u{fffd}");
        assert_eq!(clean("a\tb\nc"), "a b c");
        assert_eq!(clean("evil\u{202e}gpj.exe"), "evil\u{fffd}gpj.exe");
    }

    #[test]
    fn ordinary_names_are_left_alone() {
        for name in ["main", "größe", "日本語", "a b", "core::fmt::Write"] {
            assert!(matches!(clean(name), Cow::Borrowed(_)));
        }
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left_and_the_length_stays(text in any::<String>()) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(is_unsafe));
            prop_assert_eq!(cleaned.chars().count(), text.chars().count());
        }
    }
}
