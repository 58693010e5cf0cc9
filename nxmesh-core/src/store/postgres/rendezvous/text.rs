//! Texts as Postgres takes them, which has no U+0000.
//!
//! U+0000 is written as U+0001 U+0001, and U+0001 as U+0001 U+0002. So texts keep their order, by bytes, and what
//! begins with a text still does.

use std::borrow::Cow;

/// A text as it is stored.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\u{1}']) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => stored.push_str("\u{1}\u{1}"),
            '\u{1}' => stored.push_str("\u{1}\u{2}"),
            c => stored.push(c),
        }
    }
    Cow::Owned(stored)
}

/// A text that was stored.
pub(super) fn read(stored: &str) -> String {
    let mut parts = stored.split('\u{1}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        // Two of them stand together: between them is nothing.
        if let Some(rest) = part.strip_prefix('\u{2}') {
            text.push('\u{1}');
            text.push_str(rest);
        } else {
            text.push('\0');
            text.push_str(parts.next().unwrap_or_default());
        }
    }
    text
}

/// Texts as they are stored.
pub(super) fn all_stored(texts: &[String]) -> Vec<String> {
    texts.iter().map(|it| stored(it).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_back_and_keeps_its_place(
            one in "[\0\u{1}\u{2}a]{0,8}",
            other in "[\0\u{1}\u{2}a\u{10FFFF}]{0,8}",
        ) {
            prop_assert!(!stored(&one).contains('\0'));
            prop_assert_eq!(read(&stored(&one)), one.as_str());
            prop_assert_eq!(stored(&one).cmp(&stored(&other)), one.as_str().cmp(&other));
            prop_assert_eq!(stored(&one).starts_with(&*stored(&other)), one.starts_with(&other));
        }
    }
}
