use crate::{problems::Malformed, text::text_type};

text_type! {
    /// A short name for URLs: `[a-z0-9]` and inner `-`, 1 to 63 characters.
    Slug, check
}

/// The longest slug, in characters.
pub const MAX_SLUG_CHARS: usize = 63;

fn check(text: &str) -> Result<(), Malformed> {
    if !(1..=MAX_SLUG_CHARS).contains(&text.len()) {
        return Err(Malformed::range(format!("must have 1 to {MAX_SLUG_CHARS} characters")));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(Malformed::format("must be made of a-z, 0-9 and inner hyphens"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        for good in ["a", "a-b", "0", "a--b", &"a".repeat(63)] {
            assert!(Slug::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "ä", "a_b", "a b", &"a".repeat(64)] {
            assert!(Slug::parse(bad).is_err(), "{bad}");
        }
    }
}
