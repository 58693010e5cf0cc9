//! Answers in the protocol `offers`, and the secrets they may need: a test for each sentence of the contract.

use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};

use super::given::{Given, NOW, On, Peer, offers_frozen, on_each_store};

const NO_SDP: &str = "Missing or invalid required parameter: sdp";
const LONG_SDP: &str = "SDP must be 64KB or less";
const NO_TEXT: &str = "Secret must be a string";
const GONE: &str = "Offer not found or expired";
const WRONG: &str = "Invalid or missing secret";
const ANSWERED: &str = "Offer already answered";

async fn answer(given: &Given, peer: &Peer, id: &str, body: &Value) -> (u16, Value) {
    given.post(&format!("/offers/{id}/answer"), peer, body).await.whole()
}

fn refused(why: &str) -> (u16, Value) {
    (400, json!({"error": why}))
}

async fn an_answer_is_told_to_the_offers_peer_as_often_as_it_asks(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, one, other) = (given.peer().await, given.peer().await, given.peer().await);
    let ids = given
        .publish(
            &owner,
            json!([
                {"sdp": "1", "topics": ["b", "a", "b"], "ttl": 60_000},
                {"sdp": "2", "topics": ["t"]},
                {"sdp": "3", "topics": ["t"]},
            ]),
        )
        .await;
    clock.advance(TimeDelta::milliseconds(10));
    let made = answer(&given, &one, &ids[0], &json!({"sdp": "v=1\r\n", "secret": "any"})).await;
    let wanted = json!({"offerId": ids[0], "answererId": one.id, "answeredAt": NOW + 10});
    assert_eq!(made, (200, wanted), "where none is needed any secret will do");
    // In the same millisecond, and yet after it.
    assert_eq!(given.answer(&other, &ids[1], "v=2").await, NOW + 11);
    let first = json!({
        "offerId": ids[0], "answererId": one.id, "sdp": "v=1\r\n", "answeredAt": NOW + 10,
        "topics": ["b", "a"],
    });
    let second = json!({
        "offerId": ids[1], "answererId": other.id, "sdp": "v=2", "answeredAt": NOW + 11,
        "topics": ["t"],
    });
    let both = json!({"answers": [second, first]});
    for _ in 0..2 {
        assert_eq!(given.get("/offers/answers", &owner).await.whole(), (200, both.clone()));
    }
    // Nobody else is told.
    assert_eq!(given.get("/offers/answers", &one).await.body, json!({"answers": []}));
    clock.advance(TimeDelta::milliseconds(59_990));
    let left = json!({"answers": [second]});
    assert_eq!(given.get("/offers/answers", &owner).await.whole(), (200, left));
}

async fn what_is_wrong_with_an_answer_is_told_in_order(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    given
        .publish(
            &owner,
            json!([
                {"sdp": "1", "topics": ["t"], "id": "open", "secret": "hush"},
                {"sdp": "2", "topics": ["t"], "id": "done", "secret": "hush"},
                {"sdp": "3", "topics": ["t"], "id": "past", "secret": "hush", "ttl": 60_000},
            ]),
        )
        .await;
    clock.advance(TimeDelta::milliseconds(60_000));
    let long = "v".repeat(65_537);
    let right = json!({"sdp": "v=1", "secret": "hush"});
    assert_eq!(answer(&given, &other, "done", &right).await.0, 200);
    for (id, body, why) in [
        // Each is wrong in all that comes after it as well.
        ("none", json!({"secret": 7}), NO_SDP),
        ("none", json!({"sdp": "", "secret": 7}), NO_SDP),
        ("none", json!({"sdp": long, "secret": 7}), LONG_SDP),
        ("none", json!({"sdp": "v=1", "secret": 7}), NO_TEXT),
        ("none", json!({"sdp": "v=1", "secret": null}), NO_TEXT),
        ("none", json!({"sdp": "v=1"}), GONE),
        ("past", json!({"sdp": "v=1"}), GONE),
        ("done", json!({"sdp": "v=1"}), WRONG),
        ("done", json!({"sdp": "v=1", "secret": "Hush"}), WRONG),
        ("done", right.clone(), ANSWERED),
        ("open", json!({"sdp": "v=1"}), WRONG),
        ("open", json!({"sdp": "v=1", "secret": ""}), WRONG),
        ("open", json!({"sdp": "v=1", "secret": "hush "}), WRONG),
    ] {
        assert_eq!(answer(&given, &other, id, &body).await, refused(why), "{id} {body:.60}");
    }
    // The owner needs it as well, and may answer.
    assert_eq!(answer(&given, &owner, "open", &json!({"sdp": "v=1"})).await, refused(WRONG));
    let own = answer(&given, &owner, "open", &right).await;
    let at = own.1["answeredAt"].clone();
    assert_eq!(own, (200, json!({"offerId": "open", "answererId": owner.id, "answeredAt": at})));
    for peer in [&owner, &other] {
        assert_eq!(answer(&given, peer, "open", &right).await, refused(ANSWERED));
    }
}

async fn of_answers_at_once_exactly_one_wins(on: On) {
    let (given, _) = offers_frozen(on).await;
    let owner = given.peer().await;
    let peers = join_all((0..40).map(|_| given.peer())).await;
    for secret in [None, Some("hush")] {
        let mut offer = json!({"sdp": "v=0", "topics": ["t"], "id": format!("{secret:?}")});
        let mut body = json!({"sdp": "v=1"});
        if let Some(secret) = secret {
            (offer["secret"], body["secret"]) = (secret.into(), secret.into());
        }
        let id = given.publish(&owner, json!([offer])).await.remove(0);
        let id = id.replace('"', "%22");
        let answers = join_all(peers.iter().map(|it| answer(&given, it, &id, &body))).await;
        let won: Vec<_> = answers.iter().filter(|it| it.0 == 200).collect();
        assert_eq!(won.len(), 1);
        let lost = answers.iter().filter(|it| it.0 != 200);
        let race = "Offer already answered (race condition)";
        assert!(lost.into_iter().all(|it| *it == refused(ANSWERED) || *it == refused(race)));
        let told = given.get("/offers/answers", &owner).await.body;
        assert_eq!(told["answers"][0]["answererId"], won[0].1["answererId"]);
    }
}

async fn ten_wrong_secrets_lock_an_offer_for_a_minute(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    given
        .publish(
            &owner,
            json!([
                {"sdp": "1", "topics": ["t"], "id": "one", "secret": "hush"},
                {"sdp": "2", "topics": ["t"], "id": "two", "secret": "hush"},
            ]),
        )
        .await;
    let right = json!({"sdp": "v=1", "secret": "hush"});
    let guess = async |times: usize| {
        for number in 0..times {
            // None at all counts as well, whoever it is.
            let peer = if number.is_multiple_of(3) { &owner } else { &other };
            let body = match number % 2 {
                0 => json!({"sdp": "v=1"}),
                _ => json!({"sdp": "v=1", "secret": number.to_string()}),
            };
            assert_eq!(answer(&given, peer, "one", &body).await, refused(WRONG));
        }
    };
    guess(10).await;
    assert_eq!(answer(&given, &other, "one", &right).await, refused(WRONG), "it is locked");
    clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(answer(&given, &other, "one", &right).await, refused(WRONG), "to the end");
    // What is tried meanwhile makes it no longer.
    clock.advance(TimeDelta::milliseconds(1));
    guess(9).await;
    // Another offer knows nothing of it.
    assert_eq!(answer(&given, &other, "two", &right).await.0, 200);
    // The tenth try is the last that counts.
    assert_eq!(answer(&given, &other, "one", &right).await.0, 200);
}

async fn of_many_guesses_at_once_ten_count(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    for round in 0..5 {
        let id = format!("offer-{round}");
        let offer = json!([{"sdp": "1", "topics": ["t"], "id": id, "secret": "27"}]);
        given.publish(&owner, offer).await;
        let guesses = (0..30).map(|it| json!({"sdp": "v=1", "secret": it.to_string()}));
        let guesses: Vec<_> = guesses.collect();
        let told = join_all(guesses.iter().map(|it| answer(&given, &other, &id, it))).await;
        let allowed =
            |it: &(u16, Value)| it.0 == 200 || *it == refused(WRONG) || *it == refused(ANSWERED);
        assert!(told.iter().all(allowed), "{told:?}");
        // Whether the right one was among the first ten or not: what comes now is none of them.
        let wrong = answer(&given, &other, &id, &json!({"sdp": "v=1", "secret": "x"})).await;
        assert_eq!(wrong, refused(WRONG));
        let right = answer(&given, &other, &id, &guesses[27]).await;
        let won = told.iter().any(|it| it.0 == 200);
        assert!(!won || right.0 == 400, "{right:?}");
        assert!(won || right == refused(WRONG), "{right:?}");
    }
}

on_each_store! {
    an_answer_is_told_to_the_offers_peer_as_often_as_it_asks,
    what_is_wrong_with_an_answer_is_told_in_order,
    of_answers_at_once_exactly_one_wins,
    ten_wrong_secrets_lock_an_offer_for_a_minute,
    of_many_guesses_at_once_ten_count,
}
