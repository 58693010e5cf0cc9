//! Exchanging candidates: `addIceCandidates`, `getIceCandidates`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::given::{Given, Peer, error, result, server, servers};

async fn add(server: &Given, peer: &Peer, id: &str, candidates: Value) -> Value {
    let params = json!({"offerId": id, "candidates": candidates});
    server.call(peer, "addIceCandidates", params).await
}

/// What a peer reads, and whose part each is.
async fn read(server: &Given, peer: &Peer, id: &str, since: i64) -> Vec<(Value, String, i64)> {
    let params = json!({"offerId": id, "since": since});
    let found = server.call(peer, "getIceCandidates", params).await;
    assert_eq!(result(&found)["offerId"], id);
    let candidates = result(&found)["candidates"].as_array().unwrap().iter();
    let of = |it: &Value| {
        let role = it["role"].as_str().unwrap().to_owned();
        (it["candidate"].clone(), role, it["createdAt"].as_i64().unwrap())
    };
    candidates.map(of).collect()
}

async fn offer(server: &Given, peer: &Peer) -> String {
    server.publish(peer, &["a"], &["v=0"]).await.remove(0)
}

async fn answer(server: &Given, peer: &Peer, id: &str) {
    result(&server.call(peer, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await);
}

#[tokio::test]
async fn each_side_reads_what_the_other_added_in_order_and_since_a_stamp() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let id = offer(&server, &one).await;
        answer(&server, &other, &id).await;
        let added = add(&server, &one, &id, json!([{"c": 1}, {"c": 2}])).await;
        assert_eq!(*result(&added), json!({"count": 2, "offerId": id}));
        result(&add(&server, &other, &id, json!([{"c": 3}])).await);
        result(&add(&server, &one, &id, json!([{"c": 4}])).await);
        let to_other = read(&server, &other, &id, 0).await;
        let bodies: Vec<_> =
            to_other.iter().map(|it| (it.0["c"].as_i64().unwrap(), &*it.1)).collect();
        assert_eq!(bodies, [(1, "offerer"), (2, "offerer"), (4, "offerer")]);
        let stamps: Vec<_> = to_other.iter().map(|it| it.2).collect();
        assert!(stamps.is_sorted_by(|one, next| one < next), "{stamps:?}");
        for (at, stamp) in stamps.iter().enumerate() {
            assert_eq!(read(&server, &other, &id, *stamp).await, to_other[at + 1..]);
        }
        let to_one = read(&server, &one, &id, 0).await;
        assert_eq!((to_one.len(), &to_one[0].0, &*to_one[0].1), (1, &json!({"c": 3}), "answerer"));
        let stranger = server.call(&Peer::new(3), "getIceCandidates", json!({"offerId": id})).await;
        let text = "Not authorized to access ICE candidates for this offer";
        assert_eq!(error(&stranger), ("NOT_AUTHORIZED", text));
    }
}

#[tokio::test]
async fn of_what_strangers_add_before_there_is_an_answer_only_the_answerer_s_is_delivered() {
    for server in servers().await {
        let (one, winner, loser) = (Peer::new(1), Peer::new(2), Peer::new(3));
        let id = offer(&server, &one).await;
        result(&add(&server, &loser, &id, json!([{"of": "loser"}])).await);
        result(&add(&server, &winner, &id, json!([{"of": "winner"}])).await);
        result(&add(&server, &one, &id, json!([{"of": "offerer"}])).await);
        assert!(read(&server, &one, &id, 0).await.is_empty());
        let early = server.call(&winner, "getIceCandidates", json!({"offerId": id})).await;
        assert_eq!(error(&early).0, "NOT_AUTHORIZED");
        answer(&server, &winner, &id).await;
        let to_one = read(&server, &one, &id, 0).await;
        assert_eq!(to_one.iter().map(|it| &it.0).collect::<Vec<_>>(), [&json!({"of": "winner"})]);
        let to_winner = read(&server, &winner, &id, 0).await;
        assert_eq!(
            to_winner.iter().map(|it| &it.0).collect::<Vec<_>>(),
            [&json!({"of": "offerer"})]
        );
        let late = add(&server, &loser, &id, json!([{"of": "loser"}])).await;
        assert_eq!(error(&late).0, "NOT_AUTHORIZED");
        assert_eq!(read(&server, &one, &id, 0).await, to_one);
    }
}

#[tokio::test]
async fn a_key_may_have_fifty_candidates_at_an_offer_and_strangers_take_none_of_them() {
    for server in servers().await {
        let (one, other, stranger) = (Peer::new(1), Peer::new(2), Peer::new(3));
        let id = offer(&server, &one).await;
        let many = |many: usize| json!(vec![json!({}); many]);
        let text = "ICE candidate limit exceeded for offer. The limit is 50.";
        let wanted = ("TOO_MANY_ICE_CANDIDATES", text);
        result(&add(&server, &stranger, &id, many(50)).await);
        assert_eq!(error(&add(&server, &stranger, &id, many(1)).await), wanted);
        result(&add(&server, &other, &id, many(30)).await);
        assert_eq!(error(&add(&server, &other, &id, many(21)).await), wanted);
        answer(&server, &other, &id).await;
        assert_eq!(error(&add(&server, &other, &id, many(21)).await), wanted);
        result(&add(&server, &other, &id, many(20)).await);
        result(&add(&server, &one, &id, many(50)).await);
        assert_eq!(read(&server, &one, &id, 0).await.len(), 50);
    }
}

#[tokio::test]
async fn candidates_are_objects_and_what_is_wrong_with_them_is_said() {
    let server = server().await;
    let peer = Peer::new(1);
    let id = offer(&server, &peer).await;
    let missing = ("MISSING_PARAMS", "Missing or invalid required parameter: candidates");
    let nested = |levels: usize| (0..levels).fold(json!(1), |it, _| json!({"c": it}));
    for (candidates, wanted) in [
        (json!(null), missing),
        (json!({}), missing),
        (json!([]), missing),
        (json!(vec![json!({}); 101]), ("INVALID_PARAMS", "Too many candidates (max 100)")),
        (json!([{}, "c"]), ("INVALID_PARAMS", "Invalid candidate at index 1: must be an object")),
        (json!([null]), ("INVALID_PARAMS", "Invalid candidate at index 0: must be an object")),
        (
            json!([nested(11)]),
            ("INVALID_PARAMS", "Candidate at index 0 too deeply nested (max depth 10)"),
        ),
        (
            json!([{}, {"c": "x".repeat(4089)}]),
            ("INVALID_PARAMS", "Candidate at index 1 too large (max 4096 bytes)"),
        ),
    ] {
        assert_eq!(error(&add(&server, &peer, &id, candidates).await), wanted);
    }
    result(&add(&server, &peer, &id, json!([nested(10), {"c": "x".repeat(4088)}])).await);
}

#[tokio::test]
async fn a_candidate_comes_back_to_the_letter() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let id = offer(&server, &one).await;
        answer(&server, &other, &id).await;
        let candidate = r#"{"z":1.50,"a":[1e2, "\u00e9"],"m":{"b":null,"a":true}}"#;
        let params = format!(r#"{{"offerId":"{id}","candidates":[{candidate}]}}"#);
        let value: Value = serde_json::from_str(&params).unwrap();
        let nonce = Uuid::new_v4().to_string();
        let auth = one.auth(server.now(), &nonce, "addIceCandidates", &value);
        let batch = format!(r#"[{{"method":"addIceCandidates","auth":{auth},"params":{params}}}]"#);
        result(&server.post(batch).await.body[0]);
        for (method, params) in [("getIceCandidates", json!({"offerId": id})), ("poll", json!({}))]
        {
            let call = other.call(server.now(), method, params);
            let answer = server.post(json!([call]).to_string()).await;
            assert!(answer.text.contains(&format!("\"candidate\":{candidate}")), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn since_is_a_number_from_zero() {
    let server = server().await;
    let peer = Peer::new(1);
    let id = offer(&server, &peer).await;
    for since in [json!(-1), json!("0"), json!(null), json!([])] {
        for method in ["getIceCandidates", "poll"] {
            let params = json!({"offerId": id, "since": since});
            let answer = server.call(&peer, method, params).await;
            let text = "Invalid since parameter: must be a non-negative number";
            assert_eq!(error(&answer), ("INVALID_PARAMS", text));
        }
    }
    for since in [json!(0), json!(0.5), json!(1e300)] {
        for method in ["getIceCandidates", "poll"] {
            let params = json!({"offerId": id, "since": since});
            result(&server.call(&peer, method, params).await);
        }
    }
}
