//! Answering offers: `answerOffer`, `getOfferAnswer`.

use futures::future::join_all;
use serde_json::json;

use super::given::{Peer, error, result, server, servers};

#[tokio::test]
async fn an_answer_is_read_by_the_maker_of_the_offer() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let id = server.publish(&one, &["a"], &["v=0"]).await.remove(0);
        let asked = json!({"offerId": id});
        let early = server.call(&one, "getOfferAnswer", asked.clone()).await;
        assert_eq!(error(&early), ("OFFER_NOT_ANSWERED", "Offer not yet answered"));
        let given = server.call(&other, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await;
        assert_eq!(*result(&given), json!({"success": true, "offerId": id}));
        let found = server.call(&one, "getOfferAnswer", asked.clone()).await;
        let wanted = json!({
            "sdp": "v=9",
            "offerId": id,
            "answererPublicKey": other.id,
            "answeredAt": server.now(),
        });
        assert_eq!(*result(&found), wanted);
        let stranger = server.call(&other, "getOfferAnswer", asked).await;
        assert_eq!(error(&stranger), ("NOT_AUTHORIZED", "Not authorized to access this offer"));
    }
}

#[tokio::test]
async fn an_offer_that_is_not_there_is_not_answered() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let id = server.publish(&one, &["a"], &["v=0"]).await.remove(0);
        server.pass(60_000);
        for id in [&*id, "nothing"] {
            for (method, params) in [
                ("answerOffer", json!({"offerId": id, "sdp": "v=9"})),
                ("getOfferAnswer", json!({"offerId": id})),
                ("addIceCandidates", json!({"offerId": id, "candidates": [{}]})),
                ("getIceCandidates", json!({"offerId": id})),
            ] {
                let answer = server.call(&other, method, params).await;
                assert_eq!(error(&answer), ("OFFER_NOT_FOUND", "Offer not found"), "{method}");
            }
        }
    }
}

#[tokio::test]
async fn of_many_answers_one_counts_and_the_others_are_told() {
    for server in servers().await {
        let id = server.publish(&Peer::new(1), &["a"], &["v=0"]).await.remove(0);
        let answers = (2..22).map(|seed| {
            let (server, id) = (&server, &id);
            async move {
                let params = json!({"offerId": id, "sdp": format!("v={seed}")});
                server.call(&Peer::new(seed), "answerOffer", params).await
            }
        });
        let answers = join_all(answers).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it["success"] == true);
        assert_eq!((won.len(), lost.len()), (1, 19));
        for answer in lost {
            assert_eq!(error(answer), ("OFFER_ALREADY_ANSWERED", "Offer already answered"));
        }
        let winner = answers.iter().position(|it| it["success"] == true).unwrap() + 2;
        let found = server.call(&Peer::new(1), "getOfferAnswer", json!({"offerId": id})).await;
        assert_eq!(result(&found)["sdp"], format!("v={winner}"));
        let again = Peer::new(u8::try_from(winner).unwrap());
        let again = server.call(&again, "answerOffer", json!({"offerId": id, "sdp": "v"})).await;
        assert_eq!(error(&again).0, "OFFER_ALREADY_ANSWERED");
    }
}

#[tokio::test]
async fn an_answered_offer_lives_for_half_a_minute() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let made = json!({"tags": ["a"], "offers": [{"sdp": "v=0"}], "ttl": 3_600_000});
        let made = server.call(&one, "publishOffer", made).await;
        let id = &result(&made)["offers"][0]["offerId"];
        server.pass(60_000);
        result(&server.call(&other, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await);
        server.pass(29_999);
        result(&server.call(&one, "getOfferAnswer", json!({"offerId": id})).await);
        server.pass(1);
        let gone = server.call(&one, "getOfferAnswer", json!({"offerId": id})).await;
        assert_eq!(error(&gone).0, "OFFER_NOT_FOUND");
    }
}

#[tokio::test]
async fn tags_that_matched_are_those_of_the_offer() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a", "b"], &["v=0", "v=1", "v=2"]).await;
        let answer =
            |at: usize, tags| json!({"offerId": ids[at], "sdp": "v=9", "matchedTags": tags});
        let strange = server.call(&other, "answerOffer", answer(0, json!(["a", "x", "y"]))).await;
        let text = "matchedTags contains tags not on offer: x, y";
        assert_eq!(error(&strange), ("INVALID_PARAMS", text));
        for (tags, text) in [
            (json!("a"), "matchedTags must be an array"),
            (json!(null), "matchedTags must be an array"),
            (json!([1]), "matchedTags must be an array of strings"),
        ] {
            let bad = server.call(&other, "answerOffer", answer(0, tags)).await;
            assert_eq!(error(&bad), ("INVALID_PARAMS", text));
        }
        result(&server.call(&other, "answerOffer", answer(0, json!(["b", "a", "b"]))).await);
        result(&server.call(&other, "answerOffer", answer(1, json!([]))).await);
        let bare = json!({"offerId": ids[2], "sdp": "v=9"});
        result(&server.call(&other, "answerOffer", bare).await);
        let polled = server.call(&one, "poll", json!({})).await;
        let answers = result(&polled)["answers"].as_array().unwrap();
        let tags: Vec<_> = answers.iter().map(|it| it.get("matchedTags")).collect();
        assert_eq!(tags, [Some(&json!(["b", "a"])), Some(&json!([])), None]);
    }
}

#[tokio::test]
async fn an_answer_has_a_session_description() {
    let server = server().await;
    let (one, other) = (Peer::new(1), Peer::new(2));
    let id = server.publish(&one, &["a"], &["v=0"]).await.remove(0);
    for sdp in [json!(null), json!(""), json!(7), json!({})] {
        let bad = server.call(&other, "answerOffer", json!({"offerId": id, "sdp": sdp})).await;
        assert_eq!(error(&bad), ("INVALID_SDP", "Invalid SDP"));
    }
    let long = json!({"offerId": id, "sdp": "v".repeat(65_537)});
    let bad = server.call(&other, "answerOffer", long).await;
    assert_eq!(error(&bad), ("SDP_TOO_LARGE", "SDP too large (max 65536 bytes)"));
    let longest = json!({"offerId": id, "sdp": "v".repeat(65_536)});
    result(&server.call(&other, "answerOffer", longest).await);
}

#[tokio::test]
async fn one_may_answer_oneself() {
    for server in servers().await {
        let peer = Peer::new(1);
        let id = server.publish(&peer, &["a"], &["v=0"]).await.remove(0);
        result(&server.call(&peer, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await);
        let found = server.call(&peer, "getOfferAnswer", json!({"offerId": id})).await;
        assert_eq!(result(&found)["answererPublicKey"], peer.id);
    }
}

#[tokio::test]
async fn an_answer_at_the_last_moment_leaves_half_a_minute() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let id = server.publish(&one, &["a"], &["v=0"]).await.remove(0);
        server.pass(59_999);
        result(&server.call(&other, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await);
        server.pass(29_999);
        result(&server.call(&one, "getOfferAnswer", json!({"offerId": id})).await);
        let polled = server.call(&one, "poll", json!({})).await;
        assert_eq!(result(&polled)["answers"].as_array().map(Vec::len), Some(1));
        server.pass(1);
        let gone = server.call(&one, "getOfferAnswer", json!({"offerId": id})).await;
        assert_eq!(error(&gone).0, "OFFER_NOT_FOUND");
    }
}
