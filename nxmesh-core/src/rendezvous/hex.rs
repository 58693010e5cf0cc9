//! Bytes as hexadecimal digits.

/// Two lower-case digits a byte.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of digits in either case; `None` for anything else, or another number of them.
pub(super) fn from_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digits: Option<Vec<u32>> = text.chars().map(|it| it.to_digit(16)).collect();
    let digits = digits.filter(|it| it.len() == BYTES * 2)?;
    let byte = |pair: &[u32]| u8::try_from(pair[0] << 4 | pair[1]).ok();
    digits.chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_back_and_nothing_else_is() {
        assert_eq!(to_hex(&[0, 15, 0xA0, 255]), "000fa0ff");
        assert_eq!(from_hex("000fA0ff"), Some([0, 15, 0xA0, 255]));
        for bad in ["", "000fa0f", "000fa0ff0", "000fa0fg", "000fa0é", "+00fa0ff"] {
            assert_eq!(from_hex::<4>(bad), None, "{bad}");
        }
    }
}
