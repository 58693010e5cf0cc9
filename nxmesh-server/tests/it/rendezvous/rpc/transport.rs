//! What is around the calls: paths, headers, sizes.

use std::num::NonZeroU32;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::given::{Given, Peer, Settings, error, server, server_with, servers};

const COUNT: &str = r#"[{"method":"countOffersByTags","params":{"tags":["a"]}}]"#;

#[tokio::test]
async fn the_server_tells_what_it_is_and_how_many_offers_there_are() {
    for server in servers().await {
        server.publish(&Peer::new(1), &["a"], &["v=0", "v=1"]).await;
        let about = server.send(Method::GET, "/", &[], "").await;
        let wanted = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "name": "Rondevu",
            "description": "WebRTC signaling with RPC interface and Ed25519 signature-based authentication",
            "stats": {"offers": 2},
        });
        assert_eq!((about.status, &about.body), (200, &wanted));
        let health = server.send(Method::GET, "/health", &[], "").await;
        let wanted = json!({"status": "ok", "timestamp": server.now(), "version": env!("CARGO_PKG_VERSION")});
        assert_eq!(health.body, wanted);
    }
}

#[tokio::test]
async fn a_batch_is_taken_at_its_path_and_at_the_root_whatever_its_type() {
    let server = server().await;
    for (path, headers) in
        [("/rpc", vec![]), ("/", vec![]), ("//rpc", vec![("content-type", "text/plain")])]
    {
        let answer = server.send(Method::POST, path, &headers, COUNT).await;
        assert_eq!((answer.status, &answer.body[0]["success"]), (200, &json!(true)), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn there_is_nothing_at_other_paths() {
    let server = server().await;
    for (method, path) in [
        (Method::GET, "/rpc"),
        (Method::POST, "/health"),
        (Method::GET, "/rpc/"),
        (Method::PUT, "/"),
        (Method::DELETE, "/offers/1"),
    ] {
        let answer = server.send(method, path, &[], "").await;
        let wanted = json!({"error": "Not found. Use POST /rpc for all API calls."});
        assert_eq!((answer.status, answer.body), (404, wanted), "{path}");
    }
}

#[tokio::test]
async fn any_origin_may_call_and_no_cookie_counts() {
    let server = server().await;
    let headers = [("origin", "https://app.example")];
    let answer = server.send(Method::POST, "/rpc", &headers, COUNT).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("access-control-expose-headers"), Some("Content-Type"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let bare = server.post(COUNT).await;
    assert_eq!(bare.header("access-control-allow-origin"), None);
    for path in ["/rpc", "/anything"] {
        let preflight = server.send(Method::OPTIONS, path, &headers, "").await;
        assert_eq!((preflight.status, &*preflight.text), (204, ""));
        for (name, wanted) in [
            ("access-control-allow-origin", Some("https://app.example")),
            ("access-control-allow-credentials", None),
            ("access-control-max-age", Some("86400")),
            ("access-control-allow-methods", Some("GET,POST,OPTIONS")),
            (
                "access-control-allow-headers",
                Some("Content-Type,Origin,X-PublicKey,X-Timestamp,X-Nonce,X-Signature"),
            ),
            ("vary", Some("Origin, Access-Control-Request-Headers")),
        ] {
            assert_eq!(preflight.header(name), wanted, "{name}");
        }
    }
}

#[tokio::test]
async fn where_origins_are_named_others_are_told_the_first() {
    let mut settings = Settings::unlimited();
    let origins = ["https://one.example", "https://two.example"];
    settings.http.allowed_origins = Some(origins.map(|it| it.parse().unwrap()).into());
    let server = server_with(settings).await;
    for (asking, told) in [
        ("https://two.example", "https://two.example"),
        ("https://three.example", "https://one.example"),
    ] {
        let answer = server.send(Method::POST, "/rpc", &[("origin", asking)], COUNT).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(told));
    }
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_so_call_by_call() {
    let mut settings = Settings::default();
    settings.http.rpc_requests_per_second = NonZeroU32::new(1);
    settings.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let server = server_with(settings).await;
    let batch = json!([{"method": "poll"}, {"method": "discover"}]).to_string();
    let from = |address| [("x-forwarded-for", address)];
    let mut refused = None;
    for _ in 0..40 {
        let answer = server.send(Method::POST, "/rpc", &from("192.0.2.1"), batch.clone()).await;
        assert_eq!(answer.status, 200);
        let said: Vec<_> = answer.body.as_array().unwrap().iter().map(error).collect();
        assert_eq!(said.len(), 2);
        if said[0].0 == "RATE_LIMIT_EXCEEDED" {
            let text = "Rate limit exceeded. Maximum 1 requests per second per IP.";
            assert_eq!(said, [("RATE_LIMIT_EXCEEDED", text); 2]);
            refused = answer.header("retry-after").map(str::to_owned);
        }
    }
    assert_eq!(refused.as_deref(), Some("1"));
    let other = server.send(Method::POST, "/rpc", &from("192.0.2.2"), batch).await;
    assert_eq!(error(&other.body[0]).0, "AUTH_REQUIRED", "others are not concerned");
}

#[tokio::test]
async fn fifty_requests_a_second_are_the_most_if_nobody_says_otherwise() {
    let server = server_with(Settings::default()).await;
    for _ in 0..50 {
        let answers = join_all((0..100).map(|_| server.post(COUNT))).await;
        let refused: Vec<_> = answers.iter().filter(|it| it.body[0]["success"] == false).collect();
        let Some(first) = refused.first() else { continue };
        assert!(refused.len() <= 50, "fifty come at once");
        let text = "Rate limit exceeded. Maximum 50 requests per second per IP.";
        assert_eq!(error(&first.body[0]), ("RATE_LIMIT_EXCEEDED", text));
        assert_eq!((first.status, first.header("retry-after")), (200, Some("1")));
        return;
    }
    panic!("it is never refused");
}

#[tokio::test]
async fn what_is_said_of_an_address_counts_only_from_a_trusted_proxy() {
    let mut settings = Settings::default();
    settings.http.rpc_requests_per_second = NonZeroU32::new(1);
    let server = server_with(settings).await;
    let mut refused = 0;
    for at in 0..30 {
        let address = format!("192.0.2.{at}");
        let headers = [("x-forwarded-for", &*address), ("x-real-ip", &address)];
        let answer = server.send(Method::POST, "/rpc", &headers, COUNT).await;
        refused += usize::from(answer.body[0]["errorCode"] == "RATE_LIMIT_EXCEEDED");
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_batch_that_is_no_batch_is_refused_as_a_whole() {
    let server = server().await;
    let deep = format!("[{}1{}]", "[".repeat(5000), "]".repeat(5000));
    let many = format!("[{}]", vec![r#"{"method":"poll"}"#; 101].join(","));
    let values = format!("[{}0]", "{},".repeat(60_000));
    let invalid = "Invalid JSON in request body";
    for (batch, status, code, text) in [
        ("{}", 400, "INVALID_PARAMS", "Request must be an array of RPC calls"),
        ("null", 400, "INVALID_PARAMS", "Request must be an array of RPC calls"),
        (r#""[]""#, 400, "INVALID_PARAMS", "Request must be an array of RPC calls"),
        (" [ ] ", 400, "INVALID_PARAMS", "Empty request array"),
        (&many, 413, "BATCH_TOO_LARGE", "Too many requests in batch (max 100)"),
        (&values, 413, "BATCH_TOO_LARGE", "Too many values in request (max 20000)"),
        ("", 400, "INVALID_PARAMS", invalid),
        ("[", 400, "INVALID_PARAMS", invalid),
        ("[1,]", 400, "INVALID_PARAMS", invalid),
        ("[] []", 400, "INVALID_PARAMS", invalid),
        (r#"["\ud800"]"#, 400, "INVALID_PARAMS", invalid),
        ("[\"\u{1}\"]", 400, "INVALID_PARAMS", invalid),
        (&deep, 400, "INVALID_PARAMS", invalid),
        (r#"[{"method":"poll"},null]"#, 400, "INVALID_PARAMS", "Request must be valid JSON array"),
    ] {
        let answer = server.post(batch.to_owned()).await;
        let wanted = json!([{"success": false, "error": text, "errorCode": code}]);
        assert_eq!((answer.status, answer.body), (status, wanted), "{:.40}", batch);
    }
    let not_utf8 = server.post(b"[\"\xFF\"]".to_vec()).await;
    assert_eq!((not_utf8.status, error(&not_utf8.body[0]).1), (400, invalid));
}

#[tokio::test]
async fn a_batch_of_more_than_eight_mebibytes_is_refused() {
    let server = server().await;
    let of = |bytes: usize| format!(r#"[{{"method":"poll","x":"{}"}}]"#, "x".repeat(bytes - 27));
    let most = 8 * 1024 * 1024;
    let answer = server.post(of(most)).await;
    assert_eq!((answer.status, error(&answer.body[0]).0), (200, "AUTH_REQUIRED"));
    let said = r#"{"success":false,"error":"Request too large (max 8388608 bytes)","errorCode":"BATCH_TOO_LARGE"}"#;
    let head = format!("content-length: {}", most + 1);
    // Some do not say how much they send.
    let mut chunk = format!("{:x}\r\n", most / 128);
    chunk.push_str(&" ".repeat(most / 128));
    chunk.push_str("\r\n");
    let chunks = chunk.repeat(128) + "1\r\n[\r\n";
    for (head, body) in [(&*head, ""), ("transfer-encoding: chunked", &*chunks)] {
        let answer = raw(&server, head, body).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n[{said}]")), "{answer}");
    }
}

/// What is answered to a request that is not sent to its end.
async fn raw(server: &Given, header: &str, body: &str) -> String {
    let address = server.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /rpc HTTP/1.1\r\nhost: {address}\r\n{header}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn no_text_makes_the_server_fail() {
    let server = server().await;
    let peer = Peer::new(1);
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5),
        json!(1e300),
        json!(""),
        json!("x"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"sdp": {}}),
        json!([[[]]]),
        json!("\u{0}"),
    ];
    let methods = [
        "discover",
        "countOffersByTags",
        "publishOffer",
        "deleteOffer",
        "updateOfferTags",
        "answerOffer",
        "getOfferAnswer",
        "poll",
        "addIceCandidates",
        "getIceCandidates",
    ];
    let names = [
        "tags",
        "offers",
        "offerId",
        "sdp",
        "ttl",
        "since",
        "limit",
        "offset",
        "candidates",
        "matchedTags",
        "unique",
    ];
    for method in methods {
        let mut calls = Vec::new();
        for value in &odd {
            let params: Value = names.iter().map(|it| ((*it).to_owned(), value.clone())).collect();
            calls.push(peer.call(server.now(), method, params));
            calls.push(peer.call(server.now(), method, value.clone()));
            calls.push(json!({"method": value, "params": value, "auth": value}));
        }
        check(&server, calls).await;
    }
    let auths = odd.iter().flat_map(|value| {
        ["publicKey", "timestamp", "nonce", "signature"].map(|name| {
            let mut call = peer.call(server.now(), "poll", json!({}));
            call["auth"][name] = value.clone();
            call
        })
    });
    check(&server, auths.collect()).await;
    check(&server, odd.iter().filter(|it| !it.is_null()).cloned().collect()).await;
}

async fn check(server: &Given, calls: Vec<Value>) {
    let answers = server.batch(calls.clone()).await;
    for (call, answer) in calls.iter().zip(answers) {
        assert_ne!(answer["errorCode"], "INTERNAL_ERROR", "{call}");
    }
}
