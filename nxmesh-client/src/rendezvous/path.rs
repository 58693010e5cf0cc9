use std::fmt::Write;

use crate::{Error, Result};

/// A path with texts of users in it, each as one segment.
///
/// Fails with [`Error::Address`] where no URL can name the text: `.` and `..` are not segments, but
/// steps on the way.
pub(super) fn path(before: &str, segment: &str, after: &str) -> Result<String> {
    if matches!(segment, "." | "..") {
        return Err(Error::Address(format!("{before}{segment}{after}")));
    }
    let mut path = before.to_owned();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // A String takes whatever is written to it.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path.push_str(after);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_user_is_one_segment() {
        let base = reqwest::Url::parse("http://a/b/").unwrap();
        for (text, expected) in [
            ("movies", "http://a/b/t/movies/x"),
            ("a/b?c#d", "http://a/b/t/a%2Fb%3Fc%23d/x"),
            ("../é +%", "http://a/b/t/..%2F%C3%A9%20%2B%25/x"),
        ] {
            let joined = base.join(&path("t/", text, "/x").unwrap()).unwrap();
            assert_eq!(joined.as_str(), expected);
        }
        for step in [".", ".."] {
            assert!(matches!(path("t/", step, ""), Err(Error::Address(_))), "{step}");
        }
    }
}
