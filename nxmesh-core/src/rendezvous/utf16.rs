//! Texts as JavaScript sees them, in which the limits and orders of the protocols are written.

use std::cmp::Ordering;

/// How long a text is: its `.length` in JavaScript.
#[must_use]
pub fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Compares by UTF-16 code units, as `Array.prototype.sort` does. That differs from the order of `str` where
/// one text has a character above U+FFFF and the other one from U+E000 to U+FFFF.
#[must_use]
pub fn utf16_cmp(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_orders_are_those_of_javascript() {
        assert_eq!((utf16_len("é😀"), utf16_len("")), (3, 0));
        assert_eq!(utf16_cmp("\u{1F600}", "\u{E000}"), Ordering::Less);
        assert_eq!("\u{1F600}".cmp("\u{E000}"), Ordering::Greater);
        assert_eq!(utf16_cmp("a", "ab"), Ordering::Less);
    }
}
