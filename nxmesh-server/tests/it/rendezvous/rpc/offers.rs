//! Making offers: `publishOffer`, `deleteOffer`, `updateOfferTags`.

use nxmesh_core::rendezvous::RendezvousSettings;
use serde_json::{Value, json};

use super::given::{Peer, error, result, server, servers, servers_with};

fn offers(sdps: &[&str]) -> Value {
    sdps.iter().map(|sdp| json!({"sdp": sdp})).collect()
}

#[tokio::test]
async fn offers_are_made_together_and_told_back() {
    for server in servers().await {
        let peer = Peer::new(1);
        let params =
            json!({"tags": ["b", "a"], "offers": offers(&["v=0", "v=1"]), "ttl": 90_000.7});
        let made = server.call(&peer, "publishOffer", params).await;
        let made = result(&made);
        let now = server.now();
        assert_eq!(made["publicKey"], peer.id);
        assert_eq!(made["tags"], json!(["b", "a"]));
        assert_eq!((&made["createdAt"], &made["expiresAt"]), (&json!(now), &json!(now + 90_000)));
        for (offer, sdp) in made["offers"].as_array().unwrap().iter().zip(["v=0", "v=1"]) {
            assert_eq!((&offer["sdp"], &offer["expiresAt"]), (&json!(sdp), &json!(now + 90_000)));
            assert!(offer["createdAt"].as_i64().unwrap() >= now);
            let id = offer["offerId"].as_str().unwrap();
            let is_digit = |it: u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
            assert!(id.len() == 64 && id.bytes().all(is_digit), "{id}");
        }
        assert_ne!(made["offers"][0]["offerId"], made["offers"][1]["offerId"]);
    }
}

#[tokio::test]
async fn the_same_offer_made_twice_is_two() {
    let server = server().await;
    let peer = Peer::new(1);
    let one = server.publish(&peer, &["a"], &["v=0", "v=0"]).await;
    let other = server.publish(&peer, &["a"], &["v=0", "v=0"]).await;
    let counted = server.ask("countOffersByTags", json!({"tags": ["a"]})).await;
    assert_eq!(result(&counted)["counts"]["a"], 4);
    assert!(one.iter().all(|it| !other.contains(it)));
}

#[tokio::test]
async fn an_offer_lives_as_long_as_it_says_within_bounds() {
    for server in servers().await {
        let peer = Peer::new(1);
        for (ttl, wanted) in [
            (None, 60_000),
            (Some(json!(0)), 60_000),
            (Some(json!(60_001)), 60_001),
            (Some(json!(86_400_001)), 86_400_000),
            (Some(json!(1e300)), 86_400_000),
        ] {
            let mut params = json!({"tags": ["a"], "offers": offers(&["v=0"])});
            if let Some(ttl) = ttl {
                params["ttl"] = ttl;
            }
            let made = server.call(&peer, "publishOffer", params).await;
            assert_eq!(result(&made)["expiresAt"], server.now() + wanted);
        }
        for ttl in [json!(-1), json!("60000"), json!(null), json!(true)] {
            let params = json!({"tags": ["a"], "offers": offers(&["v=0"]), "ttl": ttl});
            let answer = server.call(&peer, "publishOffer", params).await;
            let wanted = ("INVALID_PARAMS", "TTL must be a non-negative number");
            assert_eq!(error(&answer), wanted, "{ttl}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_offers_is_said_and_none_is_made() {
    let server = server().await;
    let peer = Peer::new(1);
    let long = "é".repeat(65_537);
    let missing = ("MISSING_PARAMS", "Must provide at least one offer");
    for (offers, wanted) in [
        (json!(null), missing),
        (json!({}), missing),
        (json!([]), missing),
        (json!(vec![json!({"sdp": "v=0"}); 101]), ("TOO_MANY_OFFERS", "Too many offers (max 100)")),
        (
            json!([{"sdp": "v=0"}, 7]),
            ("INVALID_PARAMS", "Invalid offer at index 1: must be an object"),
        ),
        (json!([null]), ("INVALID_PARAMS", "Invalid offer at index 0: must be an object")),
        (json!([{}]), ("INVALID_SDP", "Invalid offer at index 0: missing or invalid SDP")),
        (json!([{"sdp": ""}]), ("INVALID_SDP", "Invalid offer at index 0: missing or invalid SDP")),
        (json!([{"sdp": 7}]), ("INVALID_SDP", "Invalid offer at index 0: missing or invalid SDP")),
        (
            json!([{"sdp": " \r\n"}]),
            ("INVALID_SDP", "Invalid offer at index 0: SDP cannot be empty"),
        ),
        (
            json!([{"sdp": "v=0"}, {"sdp": long}]),
            ("SDP_TOO_LARGE", "SDP too large at index 1 (max 65536 bytes)"),
        ),
    ] {
        let answer =
            server.call(&peer, "publishOffer", json!({"tags": ["a"], "offers": offers})).await;
        assert_eq!(error(&answer), wanted);
    }
    let counted = server.ask("countOffersByTags", json!({"tags": ["a"]})).await;
    assert_eq!(result(&counted)["counts"]["a"], 0);
    // What counts are UTF-16 code units.
    server.publish(&peer, &["a"], &[&"é".repeat(65_536), &"😀".repeat(32_768)]).await;
}

#[tokio::test]
async fn a_key_may_have_so_many_offers_and_all_together_so_many() {
    let mut settings = RendezvousSettings::default();
    settings.max_offers_per_peer = 3;
    settings.max_offers = 5;
    for server in servers_with(settings).await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let params =
            |many: usize| json!({"tags": ["a"], "offers": vec![json!({"sdp": "v=0"}); many]});
        let answer = server.call(&one, "publishOffer", params(4)).await;
        let wanted = ("TOO_MANY_OFFERS_PER_USER", "User offer limit exceeded. The limit is 3.");
        assert_eq!(error(&answer), wanted);
        let ids = server.publish(&one, &["a"], &["v=0", "v=1", "v=2"]).await;
        assert_eq!(error(&server.call(&one, "publishOffer", params(1)).await), wanted);
        let answer = server.call(&other, "publishOffer", params(3)).await;
        let full = ("STORAGE_FULL", "Server offer limit reached (5). Try again later.");
        assert_eq!(error(&answer), full);
        result(&server.call(&other, "publishOffer", params(2)).await);
        result(&server.call(&one, "deleteOffer", json!({"offerId": ids[0]})).await);
        result(&server.call(&one, "publishOffer", params(1)).await);
    }
}

#[tokio::test]
async fn only_its_maker_deletes_an_offer() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a"], &["v=0"]).await;
        let wanted = ("NOT_AUTHORIZED", "Offer not found or not owned by this identity");
        let id = json!({"offerId": ids[0]});
        assert_eq!(error(&server.call(&other, "deleteOffer", id.clone()).await), wanted);
        let deleted = server.call(&one, "deleteOffer", id.clone()).await;
        assert_eq!(*result(&deleted), json!({"success": true}));
        assert_eq!(error(&server.call(&one, "deleteOffer", id).await), wanted);
    }
}

#[tokio::test]
async fn an_offer_is_named_wherever_one_is_needed() {
    let server = server().await;
    let peer = Peer::new(1);
    let methods =
        ["deleteOffer", "answerOffer", "getOfferAnswer", "addIceCandidates", "getIceCandidates"];
    for method in methods {
        for id in [json!(null), json!(""), json!(7)] {
            let answer = server.call(&peer, method, json!({"offerId": id})).await;
            let wanted = ("INVALID_PARAMS", "offerId must be a non-empty string");
            assert_eq!(error(&answer), wanted, "{method} {id}");
        }
    }
}

#[tokio::test]
async fn new_tags_are_those_of_all_open_offers_of_the_caller() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        server.publish(&one, &["a"], &["v=0", "v=1"]).await;
        server.publish(&one, &["b"], &["v=2"]).await;
        server.publish(&other, &["a"], &["v=3"]).await;
        let retagged = server.call(&one, "updateOfferTags", json!({"tags": ["d", "c"]})).await;
        assert_eq!(*result(&retagged), json!({"success": true, "count": 3}));
        let counted = server.ask("countOffersByTags", json!({"tags": ["a", "b", "c", "d"]})).await;
        assert_eq!(result(&counted)["counts"], json!({"a": 1, "b": 0, "c": 3, "d": 3}));
        let found = server.ask("discover", json!({"tags": ["c"], "limit": 1})).await;
        assert_eq!(result(&found)["offers"][0]["tags"], json!(["d", "c"]));
        let none = server.call(&Peer::new(3), "updateOfferTags", json!({"tags": ["a"]})).await;
        assert_eq!(result(&none)["count"], 0);
    }
}

#[tokio::test]
async fn what_was_answered_keeps_its_tags() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a", "b"], &["v=0", "v=1"]).await;
        let answer = json!({"offerId": ids[0], "sdp": "v=9", "matchedTags": ["b"]});
        result(&server.call(&other, "answerOffer", answer).await);
        let retagged = server.call(&one, "updateOfferTags", json!({"tags": ["c"]})).await;
        assert_eq!(result(&retagged)["count"], 1);
        let counted = server.ask("countOffersByTags", json!({"tags": ["a", "b", "c"]})).await;
        assert_eq!(result(&counted)["counts"], json!({"a": 0, "b": 0, "c": 1}));
        let polled = server.call(&one, "poll", json!({})).await;
        assert_eq!(result(&polled)["answers"][0]["matchedTags"], json!(["b"]));
    }
}
