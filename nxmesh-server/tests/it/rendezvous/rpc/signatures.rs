//! Whose calls are believed.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::given::{Peer, START, error, result, server, servers};

const REPLAYED: (&str, &str) =
    ("INVALID_CREDENTIALS", "Nonce already used (replay attack detected)");

/// Test 1 of RFC 8032.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

#[tokio::test]
async fn what_the_first_client_signed_is_believed_once() {
    let batch = r#"[{"method":"publishOffer","params":{"ttl":300000,"tags":["b","a"],"offers":[{"sdp":"v=0\r\n"}]},
        "auth":{"publicKey":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "timestamp":1700000000000,"nonce":"123e4567-e89b-42d3-a456-426614174000",
        "signature":"bBOk6qvYIFeX/lG21u8ikM2VWHZzHw4GNJkPl29kcHpqLKWSdhuyjhXQ/N5kYM5IAmJ6N8YtdEoIuh/nGbIJCw=="}}]"#;
    for server in servers().await {
        assert_eq!(server.now(), 1_700_000_000_000);
        let answer = server.post(batch).await;
        assert_eq!(result(&answer.body[0])["publicKey"], Peer::of(SEED).id);
        assert_eq!(result(&answer.body[0])["tags"], json!(["b", "a"]));
        let again = server.post(batch).await;
        let replayed = ("INVALID_CREDENTIALS", "Nonce already used (replay attack detected)");
        assert_eq!(error(&again.body[0]), replayed);
    }
}

#[tokio::test]
async fn each_part_of_a_proof_is_needed_and_asked_for_in_order() {
    let server = server().await;
    let peer = Peer::new(1);
    let whole = peer.call(server.now(), "poll", json!({}));
    for (name, header) in [
        ("publicKey", "X-PublicKey"),
        ("timestamp", "X-Timestamp"),
        ("nonce", "X-Nonce"),
        ("signature", "X-Signature"),
    ] {
        let text =
            format!("Missing or invalid {name} (provide in request.auth or {header} header)");
        let odd = if name == "timestamp" { json!("1700000000000") } else { json!(7) };
        let empty = if name == "timestamp" { json!(0) } else { json!("") };
        for value in [Value::Null, odd, empty] {
            let mut call = whole.clone();
            call["auth"][name] = value;
            let answer = server.batch(vec![call]).await.remove(0);
            assert_eq!(error(&answer), ("AUTH_REQUIRED", &*text));
        }
    }
    let bare = server.ask("poll", json!({})).await;
    assert!(error(&bare).1.contains("publicKey"), "{bare}");
    result(&server.batch(vec![whole]).await[0]);
}

#[tokio::test]
async fn older_clients_prove_themselves_by_headers() {
    let server = server().await;
    let peer = Peer::new(1);
    let (nonce, now) = (Uuid::new_v4().to_string(), server.now().to_string());
    let auth = peer.auth(server.now(), &nonce, "poll", &json!({}));
    let signature = auth["signature"].as_str().unwrap();
    let headers = [
        ("x-publickey", peer.id.as_str()),
        ("x-timestamp", &now),
        ("x-nonce", &nonce),
        ("x-signature", signature),
    ];
    let batch = r#"[{"method":"poll"}]"#;
    for missing in 0..4 {
        let some: Vec<_> = (0..4).filter(|it| *it != missing).map(|it| headers[it]).collect();
        let answer = server.send(reqwest::Method::POST, "/rpc", &some, batch).await;
        assert_eq!(error(&answer.body[0]).0, "AUTH_REQUIRED");
    }
    let answer = server.send(reqwest::Method::POST, "/rpc", &headers, batch).await;
    result(&answer.body[0]);
    // Each part by itself falls back to its header, and what the call says comes first.
    let nonce = Uuid::new_v4().to_string();
    let auth = peer.auth(server.now(), &nonce, "poll", &json!({}));
    let auth = json!({"nonce": nonce, "signature": auth["signature"], "timestamp": null});
    let batch = json!([{"method": "poll", "auth": auth}]).to_string();
    let answer = server.send(reqwest::Method::POST, "/rpc", &headers, batch).await;
    result(&answer.body[0]);
}

#[tokio::test]
async fn a_signature_is_good_for_a_minute_either_way() {
    for server in servers().await {
        let peer = Peer::new(1);
        for (ahead, wanted) in [
            (-60_000, None),
            (60_000, None),
            (-60_001, Some(("INVALID_PARAMS", "Timestamp too old"))),
            (60_001, Some(("INVALID_PARAMS", "Timestamp too far in future"))),
        ] {
            let call = peer.call(server.now() + ahead, "poll", json!({}));
            let answer = server.batch(vec![call]).await.remove(0);
            match wanted {
                None => _ = result(&answer),
                Some(wanted) => assert_eq!(error(&answer), wanted),
            }
        }
    }
}

#[tokio::test]
async fn a_nonce_is_remembered_for_as_long_as_its_signature_is_good() {
    for server in servers().await {
        let peer = Peer::new(1);
        let early = peer.call(START, "poll", json!({}));
        let late = peer.call(START + 60_000, "poll", json!({}));
        for answer in server.batch(vec![early.clone(), late.clone()]).await {
            result(&answer);
        }
        let replayed = ("INVALID_CREDENTIALS", "Nonce already used (replay attack detected)");
        for (passed, call) in [(60_000, &early), (60_000, &late)] {
            server.pass(passed);
            let answer = server.batch(vec![call.clone()]).await.remove(0);
            assert_eq!(error(&answer), replayed);
        }
        server.pass(1);
        let answer = server.batch(vec![late]).await.remove(0);
        assert_eq!(error(&answer).1, "Timestamp too old");
    }
}

#[tokio::test]
async fn a_nonce_is_used_once_by_each_key_in_one_batch_as_in_many() {
    for server in servers().await {
        let nonce = Uuid::new_v4().to_string();
        let call = |peer: &Peer, nonce: &str, method: &str, params: Value| {
            let auth = peer.auth(server.now(), nonce, method, &params);
            json!({"method": method, "params": params, "auth": auth})
        };
        let (one, other) = (Peer::new(1), Peer::new(2));
        let offer = json!({"tags": ["a"], "offers": [{"sdp": "v=0"}]});
        let answers = server
            .batch(vec![
                call(&one, &nonce, "publishOffer", offer.clone()),
                call(&one, &nonce, "publishOffer", offer.clone()),
                call(&one, &nonce.to_uppercase(), "publishOffer", offer),
                call(&other, &nonce, "poll", json!({})),
                call(&one, &nonce, "publishOffer", json!({"tags": []})),
            ])
            .await;
        result(&answers[0]);
        result(&answers[3]);
        for at in [1, 2, 4] {
            assert_eq!(error(&answers[at]).1, "Nonce already used (replay attack detected)");
        }
        let counted = server.ask("countOffersByTags", json!({"tags": ["a"]})).await;
        assert_eq!(result(&counted)["counts"]["a"], 1);
    }
}

#[tokio::test]
async fn a_call_that_is_not_believed_uses_no_nonce() {
    let server = server().await;
    let peer = Peer::new(1);
    let nonce = Uuid::new_v4().to_string();
    let good = peer.auth(server.now(), &nonce, "poll", &json!({}));
    let mut bad = good.clone();
    bad["signature"] = json!(peer.sign("something else"));
    let calls = [bad, good].map(|auth| json!({"method": "poll", "params": {}, "auth": auth}));
    let answers = server.batch(calls.into()).await;
    assert_eq!(error(&answers[0]), ("INVALID_CREDENTIALS", "Invalid signature"));
    result(&answers[1]);
}

#[tokio::test]
async fn a_signature_is_over_all_that_is_said() {
    let server = server().await;
    let peer = Peer::new(1);
    let whole = peer.call(server.now(), "poll", json!({"since": 5}));
    for (pointer, value) in [
        ("/params/since", json!(6)),
        ("/params/more", json!(1)),
        ("/method", json!("getOfferAnswer")),
        ("/auth/timestamp", json!(server.now() + 1)),
        ("/auth/nonce", json!(Uuid::new_v4())),
        ("/auth/publicKey", json!(Peer::new(2).id)),
        ("/auth/signature", json!("")),
        ("/auth/signature", json!("AAAA")),
        ("/auth/signature", json!("not base64!")),
    ] {
        let mut call = whole.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        call.pointer_mut(parent).unwrap()[name] = value.clone();
        let answer = server.batch(vec![call]).await.remove(0);
        let wanted = if value == "" { "AUTH_REQUIRED" } else { "INVALID_CREDENTIALS" };
        assert_eq!(error(&answer).0, wanted, "{pointer} {value}");
    }
    result(&server.batch(vec![whole]).await[0]);
}

#[tokio::test]
async fn keys_and_nonces_have_one_form() {
    let server = server().await;
    let peer = Peer::new(1);
    let id = &peer.id;
    let length = "Public key must be 64 hex characters (32 bytes)";
    for (key, wanted) in [
        (id[1..].to_owned(), length.to_owned()),
        (format!("{id}0"), length.to_owned()),
        ("é".repeat(32), length.to_owned()),
        (
            format!("X{}", &id[1..]),
            "Invalid hex character at position 0: 'X' (use lowercase hex)".to_owned(),
        ),
        (
            format!("{}F", &id[..63]),
            "Invalid hex character at position 63: 'F' (use lowercase hex)".to_owned(),
        ),
    ] {
        let mut call = peer.call(server.now(), "poll", json!({}));
        call["auth"]["publicKey"] = json!(key);
        let answer = server.batch(vec![call]).await.remove(0);
        assert_eq!(error(&answer), ("INVALID_PUBLIC_KEY", &*wanted));
    }
    let good = Uuid::new_v4();
    for nonce in [
        "x".to_owned(),
        good.simple().to_string(),
        good.braced().to_string(),
        "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        Uuid::nil().to_string(),
        format!("{}g", &good.to_string()[..35]),
        "123e4567-e89b-42d3-c456-426614174000".to_owned(),
    ] {
        let auth = peer.auth(server.now(), &nonce, "poll", &json!({}));
        let call = json!({"method": "poll", "params": {}, "auth": auth});
        let answer = server.batch(vec![call]).await.remove(0);
        let wanted = "Nonce must be a valid UUID v4 (use crypto.randomUUID())";
        assert_eq!(error(&answer), ("INVALID_PARAMS", wanted), "{nonce}");
    }
}

#[tokio::test]
async fn what_is_left_out_may_be_signed_as_undefined() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let signed = |peer: &Peer, method: &str, params: &str, as_signed: &str| {
            let auth = peer.auth_of(server.now(), &Uuid::new_v4().to_string(), method, as_signed);
            let params: Value = serde_json::from_str(params).unwrap();
            json!({"method": method, "params": params, "auth": auth})
        };
        let made = server
            .batch(vec![signed(
                &one,
                "publishOffer",
                r#"{"tags":["a"],"offers":[{"sdp":"v=0"}]}"#,
                r#"{"offers":[{"sdp":"v=0"}],"tags":["a"],"ttl":undefined}"#,
            )])
            .await;
        let id = result(&made[0])["offers"][0]["offerId"].as_str().unwrap();
        let answers = server
            .batch(vec![
                signed(
                    &other,
                    "answerOffer",
                    &format!(r#"{{"offerId":"{id}","sdp":"v=1"}}"#),
                    &format!(r#"{{"matchedTags":undefined,"offerId":"{id}","sdp":"v=1"}}"#),
                ),
                signed(&one, "poll", "{}", r#"{"since":undefined}"#),
                signed(&one, "poll", r#"{"since":0}"#, r#"{"since":undefined}"#),
                signed(&one, "poll", "{}", r#"{"ttl":undefined}"#),
                signed(
                    &one,
                    "getIceCandidates",
                    &format!(r#"{{"offerId":"{id}"}}"#),
                    &format!(r#"{{"offerId":"{id}","since":undefined}}"#),
                ),
            ])
            .await;
        assert_eq!(result(&answers[0])["offerId"], *id);
        assert_eq!(result(&answers[1])["answers"][0]["sdp"], "v=1");
        for answer in &answers[2..] {
            assert_eq!(error(answer), ("INVALID_CREDENTIALS", "Invalid signature"));
        }
    }
}

#[tokio::test]
async fn parameters_that_are_none_are_signed_as_an_empty_object() {
    let server = server().await;
    let peer = Peer::new(1);
    for params in [json!(null), json!(false), json!(0), json!("")] {
        let auth = peer.auth_of(server.now(), &Uuid::new_v4().to_string(), "poll", "{}");
        let call = json!({"method": "poll", "params": params, "auth": auth});
        result(&server.batch(vec![call]).await[0]);
    }
    let auth = peer.auth_of(server.now(), &Uuid::new_v4().to_string(), "poll", "{}");
    result(&server.batch(vec![json!({"method": "poll", "auth": auth})]).await[0]);
    let mut deep = json!(1);
    for _ in 0..101 {
        deep = json!([deep]);
    }
    let auth = peer.auth_of(server.now(), &Uuid::new_v4().to_string(), "poll", "{}");
    let call = json!({"method": "poll", "params": deep, "auth": auth});
    let answer = server.batch(vec![call]).await.remove(0);
    assert_eq!(error(&answer), ("INVALID_PARAMS", "Object nesting too deep for canonicalization"));
}

#[tokio::test]
async fn what_is_wrong_with_a_proof_is_told_in_order() {
    let server = server().await;
    let (peer, now) = (Peer::new(1), server.now());
    let used = Uuid::new_v4().to_string();
    let good = peer.auth(now, &used, "poll", &json!({}));
    let call = json!({"method": "poll", "params": {}, "auth": good});
    result(&server.batch(vec![call]).await[0]);
    let missing = |name: &str, header: &str| {
        format!("Missing or invalid {name} (provide in request.auth or {header} header)")
    };
    let mut auth = json!({});
    // Each is wrong in all that comes after it as well.
    for (name, value, code, text) in [
        ("none", Value::Null, "AUTH_REQUIRED", missing("publicKey", "X-PublicKey")),
        ("publicKey", json!("x"), "AUTH_REQUIRED", missing("timestamp", "X-Timestamp")),
        ("timestamp", json!(now - 60_001), "AUTH_REQUIRED", missing("nonce", "X-Nonce")),
        ("nonce", json!("x"), "AUTH_REQUIRED", missing("signature", "X-Signature")),
        ("signature", json!("x"), "INVALID_PARAMS", "Timestamp too old".to_owned()),
        (
            "timestamp",
            json!(now),
            "INVALID_PUBLIC_KEY",
            "Public key must be 64 hex characters (32 bytes)".to_owned(),
        ),
        (
            "publicKey",
            json!(peer.id),
            "INVALID_PARAMS",
            "Nonce must be a valid UUID v4 (use crypto.randomUUID())".to_owned(),
        ),
        ("nonce", json!(used), "INVALID_CREDENTIALS", "Invalid signature".to_owned()),
        (
            "signature",
            json!(peer.sign(&format!("{now}:{used}:poll:{{\"since\":-1}}"))),
            REPLAYED.0,
            REPLAYED.1.to_owned(),
        ),
    ] {
        auth[name] = value;
        let call = json!({"method": "poll", "params": {"since": -1}, "auth": auth});
        let answer = server.batch(vec![call]).await.remove(0);
        assert_eq!(error(&answer), (code, &*text), "{auth}");
    }
    let answer = server.call(&peer, "poll", json!({"since": -1})).await;
    assert_eq!(error(&answer).1, "Invalid since parameter: must be a non-negative number");
}

#[tokio::test]
async fn what_a_call_says_comes_before_the_headers() {
    let server = server().await;
    let (one, other, now) = (Peer::new(1), Peer::new(2), server.now());
    let params = json!({"tags": ["a"], "offers": [{"sdp": "v=0"}]});
    let nonce = Uuid::new_v4().to_string();
    let of_one = one.auth(now, &nonce, "publishOffer", &params);
    let now = now.to_string();
    let headers = [
        ("x-publickey", one.id.as_str()),
        ("x-timestamp", &now),
        ("x-nonce", &nonce),
        ("x-signature", of_one["signature"].as_str().unwrap()),
    ];
    let whole = other.call(server.now(), "publishOffer", params.clone());
    let mut spoiled = whole.clone();
    spoiled["auth"]["signature"] = json!("x");
    let bare = json!({"method": "publishOffer", "params": params});
    let batch = json!([spoiled, whole, bare, bare]).to_string();
    let answer = server.send(Method::POST, "/rpc", &headers, batch).await;
    assert_eq!(error(&answer.body[0]), ("INVALID_CREDENTIALS", "Invalid signature"));
    assert_eq!(result(&answer.body[1])["publicKey"], other.id);
    // Headers prove one call of a batch.
    assert_eq!(result(&answer.body[2])["publicKey"], one.id);
    assert_eq!(error(&answer.body[3]), REPLAYED);
}

#[tokio::test]
async fn what_is_signed_as_undefined_is_believed_once_as_well() {
    for server in servers().await {
        let peer = Peer::new(1);
        let nonce = Uuid::new_v4().to_string();
        let auth = |params| peer.auth_of(server.now(), &nonce, "poll", params);
        let call = |params| json!({"method": "poll", "params": {}, "auth": auth(params)});
        let undefined = call("{\"since\":undefined}");
        let answers = server.batch(vec![undefined.clone(), undefined, call("{}")]).await;
        result(&answers[0]);
        for answer in &answers[1..] {
            assert_eq!(error(answer), REPLAYED);
        }
    }
}
