//! Base64 as `btoa` writes it and `atob` reads it: white space does not count, padding may be left
//! out, and so may the zero bits at the end be anything.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// What `btoa` makes of these bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What `atob` makes of this text; `None` where that throws.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let is_space = |it: &char| matches!(it, ' ' | '\t' | '\n' | '\r' | '\u{C}');
    let text: String = text.chars().filter(|it| !is_space(it)).collect();
    let padded = text.len().is_multiple_of(4);
    let bare = if padded { without_padding(&text) } else { &text };
    FORGIVING.decode(bare).ok()
}

fn without_padding(text: &str) -> &str {
    text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_atob_reads() {
        for (text, bytes) in [
            ("", &b""[..]),
            (" \t\n\r\u{C}", b""),
            ("YQ==", b"a"),
            ("YQ", b"a"),
            (" Y\nQ = =", b"a"),
            ("YR==", b"a"),
            ("YWI=", b"ab"),
            ("YWI", b"ab"),
            ("YWJj", b"abc"),
            ("+/+/", &[0xFB, 0xFF, 0xBF]),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text:?}");
        }
        for bad in ["Y", "YQ=", "Y===", "====", "=", "YWJj=", "YWJjYQ=", "-_-_", "YQ\u{B}", "é"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
