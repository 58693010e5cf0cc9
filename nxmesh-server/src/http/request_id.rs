use http::{HeaderMap, HeaderName};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 128;

/// The name of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The sane name that the caller gave, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&REQUEST_ID).and_then(|it| it.to_str().ok());
        let made = || uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        Self(given.filter(|it| is_sane(it)).map_or_else(made, str::to_owned))
    }
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        assert!(is_sane("a") && is_sane(&"a".repeat(128)));
        assert!(!is_sane("") && !is_sane("a b") && !is_sane("ä") && !is_sane(&"a".repeat(129)));
    }
}
