//! Finding offers: `discover`, `countOffersByTags`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::given::{Given, Peer, error, result, server, servers};

/// The session descriptions of a page.
async fn sdps(server: &Given, params: Value) -> Vec<String> {
    let page = server.ask("discover", params).await;
    let offers = result(&page)["offers"].as_array().unwrap().iter();
    offers.map(|it| it["sdp"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_page_has_offers_of_any_of_the_tags_newest_first() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a", "b"], &["first"]).await;
        server.pass(1);
        server.publish(&other, &["b"], &["second"]).await;
        server.pass(1);
        server.publish(&one, &["c"], &["third"]).await;
        let found = sdps(&server, json!({"tags": ["a", "b"], "limit": 10})).await;
        assert_eq!(found, ["second", "first"]);
        let page = server.ask("discover", json!({"tags": ["a"], "limit": 10})).await;
        let created = server.now() - 2;
        let offer = json!({
            "offerId": ids[0],
            "publicKey": one.id,
            "tags": ["a", "b"],
            "sdp": "first",
            "createdAt": created,
            "expiresAt": created + 60_000,
        });
        assert_eq!(
            *result(&page),
            json!({"offers": [offer], "count": 1, "limit": 10, "offset": 0})
        );
        let nothing = server.ask("discover", json!({"tags": ["d"], "limit": 10})).await;
        assert_eq!(*result(&nothing), json!({"offers": [], "count": 0, "limit": 10, "offset": 0}));
    }
}

#[tokio::test]
async fn pages_follow_each_other() {
    for server in servers().await {
        for at in 0..5 {
            server.publish(&Peer::new(at), &["a"], &[&format!("v={at}")]).await;
            server.pass(1);
        }
        for (limit, offset, wanted) in [
            (2.0, Some(0.0), vec!["v=4", "v=3"]),
            (2.0, Some(2.0), vec!["v=2", "v=1"]),
            (2.0, Some(4.0), vec!["v=0"]),
            (2.0, Some(10_000.0), vec![]),
            (0.0, None, vec!["v=4"]),
            (1e9, None, vec!["v=4", "v=3", "v=2", "v=1", "v=0"]),
        ] {
            let mut params = json!({"tags": ["a"], "limit": limit});
            if let Some(offset) = offset {
                params["offset"] = json!(offset);
            }
            assert_eq!(sdps(&server, params.clone()).await, wanted, "{params}");
        }
        let page = server.ask("discover", json!({"tags": ["a"], "limit": 0})).await;
        assert_eq!(result(&page)["limit"], 1);
        let page = server.ask("discover", json!({"tags": ["a"], "limit": 101, "offset": 3})).await;
        assert_eq!((&result(&page)["limit"], &result(&page)["offset"]), (&json!(100), &json!(3)));
    }
}

#[tokio::test]
async fn limits_and_offsets_are_whole_numbers_from_zero() {
    let server = server().await;
    for name in ["limit", "offset"] {
        for value in [json!(-1), json!(1.5), json!("1"), json!(null), json!(true), json!([1])] {
            let mut params = json!({"tags": ["a"], "limit": 1});
            params[name] = value;
            let answer = server.ask("discover", params).await;
            let text = format!("{name} must be a non-negative integer");
            assert_eq!(error(&answer), ("INVALID_PARAMS", &*text));
        }
    }
}

#[tokio::test]
async fn an_offset_has_a_limit() {
    let server = server().await;
    let at = async |offset: u64| {
        server.ask("discover", json!({"tags": ["a"], "limit": 1, "offset": offset})).await
    };
    assert_eq!(result(&at(10_000).await)["count"], 0);
    for offset in [10_001, u64::MAX] {
        let text = "offset must be 10000 or less";
        assert_eq!(error(&at(offset).await), ("INVALID_PARAMS", text));
    }
}

#[tokio::test]
async fn without_a_limit_one_of_the_offers_is_found_by_chance() {
    for server in servers().await {
        let nothing = server.ask("discover", json!({"tags": ["a"]})).await;
        assert_eq!(error(&nothing), ("OFFER_NOT_FOUND", "No offers found matching tags"));
        server.publish(&Peer::new(1), &["a"], &["v=1", "v=2"]).await;
        server.publish(&Peer::new(2), &["b"], &["v=3"]).await;
        server.publish(&Peer::new(3), &["c"], &["v=4"]).await;
        let mut found = BTreeSet::new();
        let mut calls = 0;
        // One that never comes up would take for ever; one of three is missed 400 times once in 10^70.
        while found.len() < 3 && calls < 400 {
            let answer = server.ask("discover", json!({"tags": ["b", "a"]})).await;
            let offer = result(&answer);
            assert_eq!(offer.as_object().unwrap().len(), 6, "{offer}");
            found.insert(offer["sdp"].as_str().unwrap().to_owned());
            calls += 1;
        }
        assert_eq!(Vec::from_iter(found), ["v=1", "v=2", "v=3"]);
    }
}

#[tokio::test]
async fn who_names_a_key_does_not_find_the_offers_of_it() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        server.publish(&one, &["a"], &["v=1"]).await;
        let ask = |method: &str, params: Value, key: &str| json!({"method": method, "params": params, "auth": {"publicKey": key}});
        let (page, any) = (json!({"tags": ["a"], "limit": 1}), json!({"tags": ["a"]}));
        let answers = server
            .batch(vec![
                ask("discover", page.clone(), &one.id),
                ask("discover", any.clone(), &one.id),
                ask("countOffersByTags", any.clone(), &one.id),
                ask("discover", page, &other.id),
                ask("discover", any.clone(), &other.id),
                ask("countOffersByTags", any.clone(), "nobody's"),
            ])
            .await;
        assert_eq!(result(&answers[0])["count"], 0);
        assert_eq!(error(&answers[1]).0, "OFFER_NOT_FOUND");
        assert_eq!(result(&answers[2])["counts"], json!({"a": 0}));
        assert_eq!(result(&answers[3])["count"], 1);
        assert_eq!(result(&answers[4])["sdp"], "v=1");
        assert_eq!(result(&answers[5])["counts"], json!({"a": 1}));
        let headers = [("x-publickey", one.id.as_str())];
        let batch = json!([{"method": "discover", "params": any}]).to_string();
        let answer = server.send(reqwest::Method::POST, "/rpc", &headers, batch).await;
        assert_eq!(error(&answer.body[0]).0, "OFFER_NOT_FOUND");
    }
}

#[tokio::test]
async fn offers_or_their_makers_are_counted_tag_by_tag() {
    for server in servers().await {
        server.publish(&Peer::new(1), &["a", "b"], &["v=1", "v=2"]).await;
        server.publish(&Peer::new(2), &["b"], &["v=3"]).await;
        let tags = json!(["b", "a", "c"]);
        let counted = server.ask("countOffersByTags", json!({"tags": tags})).await;
        assert_eq!(*result(&counted), json!({"counts": {"a": 2, "b": 3, "c": 0}}));
        let unique = server.ask("countOffersByTags", json!({"tags": tags, "unique": true})).await;
        assert_eq!(*result(&unique), json!({"counts": {"a": 1, "b": 2, "c": 0}}));
        let other = server.ask("countOffersByTags", json!({"tags": tags, "unique": 1})).await;
        assert_eq!(result(&other)["counts"]["a"], 2);
    }
}

#[tokio::test]
async fn what_is_answered_or_over_is_not_found() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a"], &["v=1", "v=2"]).await;
        let answer = json!({"offerId": ids[0], "sdp": "v=9"});
        result(&server.call(&other, "answerOffer", answer).await);
        assert_eq!(sdps(&server, json!({"tags": ["a"], "limit": 9})).await, ["v=2"]);
        server.pass(59_999);
        assert_eq!(sdps(&server, json!({"tags": ["a"], "limit": 9})).await, ["v=2"]);
        server.pass(1);
        assert!(sdps(&server, json!({"tags": ["a"], "limit": 9})).await.is_empty());
        let random = server.ask("discover", json!({"tags": ["a"]})).await;
        assert_eq!(error(&random).0, "OFFER_NOT_FOUND");
        let counted = server.ask("countOffersByTags", json!({"tags": ["a"]})).await;
        assert_eq!(result(&counted)["counts"]["a"], 0);
    }
}

#[tokio::test]
async fn tags_are_checked_wherever_they_are_given() {
    let server = server().await;
    let peer = Peer::new(1);
    let form = "Tag 2: Tag must be lowercase alphanumeric with optional dots/dashes, and start/end with alphanumeric";
    for (tags, text) in [
        (json!("a"), "Tags must be an array"),
        (json!([]), "At least one tag is required"),
        (json!(["a", "b_c"]), form),
        (json!(["a", "a"]), "Duplicate tags are not allowed"),
        (json!(vec!["a"; 21]), "Maximum 20 tags allowed"),
    ] {
        for method in ["discover", "countOffersByTags"] {
            let answer = server.ask(method, json!({"tags": tags})).await;
            assert_eq!(error(&answer), ("INVALID_TAG", text));
        }
        for method in ["publishOffer", "updateOfferTags"] {
            let answer = server.call(&peer, method, json!({"tags": tags})).await;
            assert_eq!(error(&answer), ("INVALID_TAG", text));
        }
    }
}
