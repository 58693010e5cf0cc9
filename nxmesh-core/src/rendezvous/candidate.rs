use super::{Millis, Realm};

/// A peer's part in a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Who made the offer.
    Offerer,
    /// Who answered it.
    Answerer,
}

impl Role {
    /// The role as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offerer => "offerer",
            Self::Answerer => "answerer",
        }
    }

    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Offerer => Self::Answerer,
            Self::Answerer => Self::Offerer,
        }
    }
}

/// An ICE candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Whose it is.
    pub peer: String,
    /// That peer's part.
    pub role: Role,
    /// What was sent: JSON, to the letter.
    pub body: String,
    /// When it reached whom it is for, see [`Delivery::stamp`](super::Delivery::stamp); for one that
    /// is for nobody yet, when it came.
    pub stamp: Millis,
}

/// Candidates of one peer for one offer: all of them are added, in this order, or none.
#[derive(Debug, Clone)]
pub struct AddCandidates {
    /// Where.
    pub realm: Realm,
    /// To which offer.
    pub id: String,
    /// By whom: the offer's peer is its offerer, whoever answered it as well.
    pub by: String,
    /// Each as JSON, to the letter.
    pub bodies: Vec<String>,
    /// How many all those together may have at an offer who have no part in it, while there is no answer; for none,
    /// they may not add any. What they add is delivered once they have answered, and is gone when somebody else has.
    pub most_early: Option<u32>,
    /// How many one peer may have at an offer, those that are there included.
    pub most: u32,
    /// What the caller's clock shows.
    pub now: Millis,
}

/// What became of [`AddCandidates`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidatesAdded {
    /// They are there.
    Added {
        /// Whom they were delivered to: nobody, while there is no answer.
        to: Option<String>,
    },
    /// There is no such offer, or it has expired.
    NotFound,
    /// The peer has no part in it.
    NotAllowed,
    /// There would be more than [`AddCandidates::most`], or [`AddCandidates::most_early`].
    TooMany,
}

/// The candidates of the other side of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadCandidates {
    /// Those with a stamp above what was asked for, lowest first.
    Read(Vec<Candidate>),
    /// There is no such offer, or it has expired.
    NotFound,
    /// The peer has no part in it.
    NotAllowed,
}

/// How many arrays and objects are inside each other in a text of JSON.
pub(super) fn levels(json: &str) -> usize {
    let (mut deep, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                deep += 1;
                deepest = deepest.max(deep);
            }
            b']' | b'}' if !in_text => deep = deep.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::levels;

    #[test]
    fn levels_are_counted_outside_of_texts() {
        for (json, wanted) in [
            ("null", 0),
            ("[]", 1),
            (r#"{"a":[1,[2]],"b":[]}"#, 3),
            (r#"{"[[[":"\"{{{"}"#, 1),
            (r#"["\\",["]"]]"#, 2),
        ] {
            assert_eq!(levels(json), wanted, "{json}");
        }
    }
}
