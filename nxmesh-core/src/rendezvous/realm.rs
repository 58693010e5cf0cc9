use std::fmt;

/// Where offers are kept apart from all others: ids, topics and peers of one realm mean nothing in
/// another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// The protocol `offers`: peers with credentials.
    Offers,
    /// The protocol `rpc`: peers are public keys.
    Rpc,
    /// The protocol `origin`: whoever sends this `Origin` header.
    Origin(String),
}

impl Realm {
    /// The realm as one text, which stores keep.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// What [`to_text`](Self::to_text) made; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "offers" => Some(Self::Offers),
            "rpc" => Some(Self::Rpc),
            _ => text.strip_prefix("origin ").map(|origin| Self::Origin(origin.to_owned())),
        }
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offers => f.write_str("offers"),
            Self::Rpc => f.write_str("rpc"),
            Self::Origin(origin) => write!(f, "origin {origin}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_read_back_from_its_text() {
        for realm in
            [Realm::Offers, Realm::Rpc, Realm::Origin("rpc".into()), Realm::Origin(String::new())]
        {
            assert_eq!(Realm::parse(&realm.to_text()), Some(realm));
        }
        assert_eq!(Realm::parse("other"), None);
    }
}
