use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{hex, utf16_cmp};

/// The keys in the order in which they are hashed.
#[derive(Serialize)]
struct Content<'a> {
    sdp: &'a str,
    topics: Vec<&'a str>,
}

/// The name of an offer in the protocol `offers`: the same for the same session description and
/// topics, in whatever order, whoever offers them.
#[must_use]
pub fn offer_id(sdp: &str, topics: &[String]) -> String {
    let mut topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    topics.sort_by(|one, other| utf16_cmp(one, other));
    let content = serde_json::to_vec(&Content { sdp, topics });
    hex::to_hex(&Sha256::digest(content.expect("texts can be written as JSON")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sdp: &str, topics: &[&str]) -> String {
        offer_id(sdp, &topics.iter().map(|&it| it.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn ids_are_those_of_the_first_server() {
        for (sdp, topics, wanted) in [
            (
                "v=0",
                &["b", "a"][..],
                "8f2abf7ee46078e8c966a17a34ca9db8114aa89298f3b73cfccc0c1ba9d8bfb3",
            ),
            (
                "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n",
                &["movie-xyz", "hd-content"],
                "831996bbe46490d0de484119dffd7382b646683f953d65b121657e366c513360",
            ),
            ("", &["t"], "bfc1f1cb9a1599f77fffe9051f180ceb51e2fe6cbb938102bb1301a300abe818"),
            (
                "q\"\\\u{1}\u{7F}/é😀",
                &["Z", "a", "é"],
                "94a08a9bf1633b48efa672dfddf94a4422cd41e42d544fce38c34beca58f25b0",
            ),
            (
                "v=0",
                &["\u{E000}", "\u{1F600}"],
                "d9aad2f2f35766bb8331c41b37a827064e17e3d9aaa053b0989b7b01946a00c6",
            ),
        ] {
            assert_eq!(id(sdp, topics), wanted, "{sdp:?} {topics:?}");
        }
    }

    #[test]
    fn the_order_of_topics_does_not_count_and_what_is_twice_does() {
        assert_eq!(id("v=0", &["a", "b"]), id("v=0", &["b", "a"]));
        assert_ne!(id("v=0", &["a", "a"]), id("v=0", &["a"]));
        assert_ne!(id("v=0", &["a"]), id("v=1", &["a"]));
    }
}
