//! Finding offers and topics in the protocol `offers`: a test for each sentence of the contract.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::given::{Given, NOW, On, Peer, offers_frozen, on_each_store};

/// A filter of 1,024 bits in which these are set, as a parameter.
fn bloom(bits: &[usize]) -> String {
    let mut bytes = [0_u8; 128];
    for bit in bits {
        bytes[bit / 8] |= 1 << (bit % 8);
    }
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextet = |at: usize| {
        let bit = |it: usize| bytes.get(it / 8).map_or(0, |byte| byte >> (7 - it % 8) & 1);
        let value = (at * 6..at * 6 + 6).fold(0, |sum, it| sum << 1 | usize::from(bit(it)));
        char::from(alphabet[value])
    };
    // 1,024 bits are 170 letters of six, four bits, and one sign that there are no more.
    let text: String = (0..171).map(sextet).collect();
    format!("{text}=").replace('+', "%2B")
}

async fn publish_in(given: &Given, peer: &Peer, sdp: &str, topics: &[&str]) {
    given.publish(peer, json!([{"sdp": sdp, "topics": topics}])).await;
}

async fn whom(given: &Given, query: &str) -> (Vec<String>, Value, Value) {
    let mut found = given.look(&format!("/offers/by-topic/t?{query}")).await;
    assert_eq!(found.status, 200, "{query}: {}", found.text);
    let sdps = found.body["offers"].as_array().unwrap().iter();
    let sdps = sdps.map(|it| it["sdp"].as_str().unwrap().to_owned()).collect();
    (sdps, found.body["total"].take(), found.body["returned"].take())
}

async fn peers_in_a_filter_are_left_out_and_counted(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (known, other) = (Peer::known(), given.peer().await);
    for sdp in ["1", "2"] {
        publish_in(&given, &known, sdp, &["t"]).await;
        publish_in(&given, &other, &format!("other {sdp}"), &["t"]).await;
    }
    // The bits of the known peer, as the first client sets them.
    let bits = [980, 453, 922];
    let all = ["other 2", "2", "other 1", "1"];
    let others = ["other 2", "other 1"];
    for (query, sdps) in [
        (format!("bloom={}", bloom(&bits)), &others[..]),
        (format!("limit=1&bloom={}", bloom(&bits)), &others[..1]),
        // All three must be set.
        (format!("bloom={}", bloom(&bits[..2])), &all),
        (format!("bloom={}", bloom(&bits[1..])), &all),
        (format!("bloom={}", bloom(&[])), &all),
        // No filter at all, one without bytes, and one in which everybody is.
        ("bloom=".to_owned(), &all),
        ("bloom=%20".to_owned(), &all),
        ("bloom=/w".to_owned(), &[]),
        ("bloom=/w==".to_owned(), &[]),
    ] {
        let wanted = (sdps.iter().map(|&it| it.to_owned()).collect(), json!(4), json!(sdps.len()));
        assert_eq!(whom(&given, &query).await, wanted, "{query}");
    }
    // Of 64 bits.
    let (sdps, ..) = whom(&given, "bloom=IAAQBAAAAAA=").await;
    assert!(!sdps.contains(&"1".to_owned()) && !sdps.contains(&"2".to_owned()), "{sdps:?}");
    for bad in ["bloom=%21", "bloom=AAAAA", "bloom=A=", "bloom=_w"] {
        let refused = given.look(&format!("/offers/by-topic/t?{bad}")).await;
        let wanted = json!({"error": "Invalid bloom filter format"});
        assert_eq!(refused.whole(), (400, wanted), "{bad}");
    }
}

async fn offers_are_listed_the_last_seen_first(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (one, other) = (given.peer().await, given.peer().await);
    for (sdp, peer) in [("1", &one), ("2", &other), ("3", &one)] {
        publish_in(&given, peer, sdp, &["t"]).await;
        clock.advance(TimeDelta::milliseconds(1));
    }
    assert_eq!(whom(&given, "").await.0, ["3", "2", "1"]);
    assert_eq!(whom(&given, "limit=2").await, (vec!["3".into(), "2".into()], json!(3), json!(2)));
    assert_eq!(whom(&given, "limit=0").await, (vec![], json!(3), json!(0)));
    // Publishing once more is a sign of life.
    publish_in(&given, &one, "1", &["t"]).await;
    assert_eq!(whom(&given, "").await.0, ["1", "3", "2"]);
    let mine = given.get("/offers/mine", &one).await.body;
    let seen: Vec<_> =
        mine["offers"].as_array().unwrap().iter().map(|it| &it["lastSeen"]).collect();
    assert_eq!(seen, [&json!(NOW + 3), &json!(NOW + 2)]);
}

async fn topics_are_listed_by_their_peers_then_by_their_bytes(on: On) {
    let (given, _) = offers_frozen(on).await;
    let peers = [given.peer().await, given.peer().await];
    publish_in(&given, &peers[0], "1", &["b", "é", "Z", "a"]).await;
    publish_in(&given, &peers[0], "2", &["a", "a"]).await;
    publish_in(&given, &peers[1], "3", &["b", "\u{E000}", "\u{1F600}"]).await;
    let all: Vec<_> = [("b", 2), ("Z", 1), ("a", 1), ("é", 1), ("\u{E000}", 1), ("\u{1F600}", 1)]
        .into_iter()
        .map(|(topic, peers)| json!({"topic": topic, "activePeers": peers}))
        .collect();
    for (query, topics, limit, offset) in [
        ("", &all[..], 50, 0),
        ("limit=2", &all[..2], 2, 0),
        ("limit=2&offset=1", &all[1..3], 2, 1),
        ("offset=5&limit=999", &all[5..], 200, 5),
        ("offset=6", &[], 50, 6),
        ("limit=-1&offset=-1", &[], 0, 0),
        ("limit=x&offset=y", &all[..], 50, 0),
        // An empty beginning is none.
        ("startsWith=", &all[..], 50, 0),
    ] {
        let page = given.look(&format!("/topics?{query}")).await;
        let wanted = json!({"topics": topics, "total": 6, "limit": limit, "offset": offset});
        assert_eq!(page.whole(), (200, wanted), "{query}");
    }
}

async fn topics_are_found_by_how_they_begin_whatever_is_in_it(on: On) {
    let (given, _) = offers_frozen(on).await;
    let peer = given.peer().await;
    let topics = [
        "100%", "100x", "a_b", "axb", "A_B", "a\\b", "É", "é", "[a]", "*", "'", "%", "_", "😀x",
        "\u{212A}", "k",
    ];
    publish_in(&given, &peer, "v=0", &topics).await;
    for (sent, begins, found) in [
        ("100%25", "100%", vec!["100%"]),
        ("%25", "%", vec!["%"]),
        ("_", "_", vec!["_"]),
        ("a_", "a_", vec!["A_B", "a_b"]),
        ("A", "A", vec!["A_B", "a\\b", "a_b", "axb"]),
        ("a%5C", "a\\", vec!["a\\b"]),
        // Letters beyond ASCII are only themselves.
        ("%C3%89", "É", vec!["É"]),
        ("%C3%A9", "é", vec!["é"]),
        ("K", "K", vec!["k"]),
        ("%5B", "[", vec!["[a]"]),
        ("*", "*", vec!["*"]),
        ("'", "'", vec!["'"]),
        ("%F0%9F%98%80", "😀", vec!["😀x"]),
        ("+", " ", vec![]),
        ("nothing", "nothing", vec![]),
    ] {
        let page = given.look(&format!("/topics?startsWith={sent}")).await;
        let topics: Vec<_> =
            found.iter().map(|it| json!({"topic": it, "activePeers": 1})).collect();
        let wanted = json!({
            "topics": topics, "total": found.len(), "limit": 50, "offset": 0, "startsWith": begins,
        });
        assert_eq!(page.whole(), (200, wanted), "{sent}");
    }
}

async fn an_answered_offer_leaves_what_everybody_sees(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let ids = given
        .publish(&owner, json!([{"sdp": "1", "topics": ["t", "u"]}, {"sdp": "2", "topics": ["t"]}]))
        .await;
    given.answer(&other, &ids[0], "v=1").await;
    let page = given.look("/topics").await.body;
    assert_eq!(page["topics"], json!([{"topic": "t", "activePeers": 1}]));
    assert_eq!(page["total"], 1);
    assert_eq!(whom(&given, "").await, (vec!["2".into()], json!(1), json!(1)));
    assert_eq!(given.look("/offers/by-topic/u").await.body["total"], 0);
    let theirs = given.look(&format!("/peers/{}/offers", owner.id)).await.body;
    assert_eq!(theirs["topics"], json!(["t"]));
    assert_eq!(theirs["offers"].as_array().map(Vec::len), Some(1));
    let mine = given.get("/offers/mine", &owner).await.body;
    assert_eq!(mine["offers"].as_array().map(Vec::len), Some(2));
    // Deleting it changes no count once more.
    let path = format!("/offers/{}", ids[0]);
    assert_eq!(given.send(Method::DELETE, &path, Some(&owner), "").await.status, 200);
    assert_eq!(given.look("/topics").await.body, page);
}

on_each_store! {
    peers_in_a_filter_are_left_out_and_counted,
    offers_are_listed_the_last_seen_first,
    topics_are_listed_by_their_peers_then_by_their_bytes,
    topics_are_found_by_how_they_begin_whatever_is_in_it,
    an_answered_offer_leaves_what_everybody_sees,
}
