//! What is no request at all, or not quite one: refused in the words of the protocols, and harmless.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::given::{Given, answer, offers, origin};

const BAD_JSON: (u16, &str) = (400, "Invalid JSON body");

/// Bodies that are no JSON text, or none that could be meant.
fn bad_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, close: &str| {
        let levels = 8_000;
        format!("{{\"offers\":{}1{}}}", open.repeat(levels), close.repeat(levels)).into_bytes()
    };
    vec![
        ("nothing", vec![]),
        ("null", b"null".to_vec()),
        ("half of one", b"{\"offers\":[{\"sdp\":\"v".to_vec()),
        ("two", b"{} {}".to_vec()),
        ("a comma too many", b"{\"offers\":[1,]}".to_vec()),
        ("single quotes", b"{'offers':[]}".to_vec()),
        ("not a number", b"{\"offers\":NaN}".to_vec()),
        ("a byte order mark", b"\xEF\xBB\xBF{\"offers\":[]}".to_vec()),
        ("invalid UTF-8", b"{\"offers\":[{\"sdp\":\"\xFF\xFE\",\"topics\":[\"t\"]}]}".to_vec()),
        (
            "half a character",
            b"{\"offers\":[{\"sdp\":\"\xF0\x9F\x98\",\"topics\":[\"t\"]}]}".to_vec(),
        ),
        (
            "surrogates in UTF-8",
            b"{\"offers\":[{\"sdp\":\"\xED\xA0\xBD\",\"topics\":[\"t\"]}]}".to_vec(),
        ),
        ("a lone surrogate", br#"{"offers":[{"sdp":"\ud800","topics":["t"]}]}"#.to_vec()),
        ("a low one first", br#"{"offers":[{"sdp":"\udc00\ud800","topics":["t"]}]}"#.to_vec()),
        ("a zero byte", b"{\"offers\":[{\"sdp\":\"\0\",\"topics\":[\"t\"]}]}".to_vec()),
        ("UTF-16", "{\"offers\":[]}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("deep arrays", nested("[", "]")),
        ("deep objects", nested("{\"a\":", "}")),
        ("deep and open", "[".repeat(100_000).into_bytes()),
    ]
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_by_offers() {
    let given = offers().await;
    let peer = given.peer().await;
    let id = given.offer(&peer, "v=0").await;
    for path in
        ["/offers", &format!("/offers/{id}/answer"), &format!("/offers/{id}/ice-candidates")]
    {
        for (what, body) in bad_bodies() {
            let refused = given.send(Method::POST, path, Some(&peer), body.clone()).await;
            assert_eq!(refused.refusal(), BAD_JSON, "{path}: {what}");
            // Who asks comes before what.
            let stranger = given.send(Method::POST, path, None, body).await;
            assert_eq!(stranger.refusal(), (401, "Missing Authorization header"), "{path}: {what}");
        }
    }
    // What is sent to register is not looked at.
    for (what, body) in bad_bodies() {
        assert_eq!(given.send(Method::POST, "/register", None, body).await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_by_origin() {
    let given = origin().await;
    for path in ["/t/offer", "/answer", "/poll"] {
        for (what, body) in bad_bodies() {
            let request = given.request(Method::POST, path).header("origin", "https://a.example");
            let refused = answer(request.body(body)).await;
            assert_eq!(refused.refusal(), BAD_JSON, "{path}: {what}");
        }
    }
}

#[tokio::test]
async fn a_body_is_json_whatever_its_type_is_said_to_be() {
    let (offers, origin) = (offers().await, origin().await);
    let peer = offers.peer().await;
    let offer = json!({"offers": [{"sdp": "v=0", "topics": ["t"]}]}).to_string();
    let session = json!({"info": "i", "offer": "o"}).to_string();
    for kind in [
        None,
        Some("text/plain"),
        Some("application/xml"),
        Some("multipart/form-data; boundary=x"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json; charset=utf-16"),
        Some("nonsense"),
    ] {
        let mut requests = [
            offers
                .request(Method::POST, "/offers")
                .bearer_auth(&peer.credential)
                .body(offer.clone()),
            origin
                .request(Method::POST, "/t/offer")
                .header("origin", "https://a.example")
                .body(session.clone()),
        ];
        if let Some(kind) = kind {
            requests = requests.map(|it| it.header("content-type", kind));
        }
        for request in requests {
            let answer = answer(request).await;
            assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text);
            assert_eq!(answer.headers["content-type"], "application/json", "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_none_is_refused_in_the_words_of_the_protocol() {
    let given = offers().await;
    let peer = given.peer().await;
    let (id, secret) = peer.credential.split_once(':').unwrap();
    let form = "Invalid Authorization header format. Expected: Bearer {peerId}:{secret}";
    let parts = "Invalid credentials format. Expected: {peerId}:{secret}";
    let wrong = "Invalid credentials";
    for (header, why) in [
        (String::new(), "Missing Authorization header"),
        ("Bearer".to_owned(), form),
        (format!("bearer {id}:{secret}"), form),
        (format!("Basic {id}:{secret}"), form),
        (format!("Bearer {id}:{secret} x"), form),
        (format!("Bearer  {id}:{secret}"), form),
        (format!("Bearer {id}"), parts),
        (format!("Bearer {id}:{secret}:x"), parts),
        (format!("Bearer {id}:"), wrong),
        (format!("Bearer :{secret}"), wrong),
        (format!("Bearer {id}:!!!"), wrong),
        (format!("Bearer {}:{secret}", "0".repeat(32)), wrong),
        (format!("Bearer {id}:{}", secret.to_ascii_lowercase()), wrong),
        (format!("Bearer {id}:{}", &secret[4..]), wrong),
        (format!("Bearer {}:{}", "e".repeat(2000), "A".repeat(4000)), wrong),
    ] {
        let request = given.request(Method::GET, "/offers/mine");
        let header = reqwest::header::HeaderValue::from_bytes(header.as_bytes()).unwrap();
        let refused = answer(request.header("authorization", &header)).await;
        let shown = &header.as_bytes()[..header.len().min(80)];
        assert_eq!(refused.refusal(), (401, why), "{}", String::from_utf8_lossy(shown));
    }
    let refused = given.send(Method::GET, "/offers/mine", None, "").await;
    assert_eq!(refused.refusal(), (401, "Missing Authorization header"));
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_told_as_the_protocol_does() {
    let given = offers().await;
    let peer = given.peer().await;
    let id = given.offer(&peer, "v=0").await;
    // A base address that ends in a slash makes two of them.
    for path in ["//register", "///register"] {
        assert_eq!(given.send(Method::POST, path, None, "{}").await.status, 200, "{path}");
    }
    assert_eq!(given.send(Method::GET, "//offers//by-topic//t", None, "").await.body["total"], 1);
    for path in
        ["/register/", "/offers/", "/nothing", "/offers/by-topic", "/topics/", "/..", "/%00"]
    {
        let answer = given.send(Method::POST, path, None, "{}").await;
        assert_eq!((answer.status, answer.text.as_str()), (404, "404 Not Found"), "{path}");
        let kind = answer.headers["content-type"].to_str().unwrap().to_ascii_lowercase();
        assert_eq!(kind, "text/plain; charset=utf-8", "{path}");
    }
    for (path, status) in [
        ("/", 200),
        ("/health", 200),
        ("/topics", 200),
        ("/offers/by-topic/t", 200),
        ("/offers/mine", 401),
        ("/nothing", 404),
    ] {
        let answer = given.send(Method::HEAD, path, None, "").await;
        assert_eq!((answer.status, answer.text.as_str()), (status, ""), "HEAD {path}");
    }
    for path in ["/", "/offers", &format!("/offers/{id}/answer"), "/nothing", "/a/b/c"] {
        let request = given.request(Method::OPTIONS, path).header("origin", "https://a.example");
        let answer = answer(request).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "OPTIONS {path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example");
    }
    // What cannot be decoded names nothing that is there.
    for path in ["/offers/by-topic/%ff", "/offers/by-topic/%ED%A0%BD", "/peers/%c3%28/offers"] {
        let status = given.send(Method::GET, path, None, "").await.status;
        assert!((200..500).contains(&status), "{path}: {status}");
    }
    for bloom in ["!", "A", "%ff", "%00"] {
        let path = format!("/offers/by-topic/t?bloom={bloom}");
        let refused = given.send(Method::GET, &path, None, "").await;
        assert_eq!(refused.refusal(), (400, "Invalid bloom filter format"), "{bloom}");
    }
}

/// How much of a body of 100 MB the server takes before it answers, and what it answers.
async fn pour(given: &Given, head: &str) -> (usize, String) {
    const LARGE: usize = 100 * 1024 * 1024;
    let mut stream = TcpStream::connect(given.address).await.unwrap();
    let head = head.replace("LENGTH", &LARGE.to_string());
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = stream.split();
    let chunk = [b'['; 64 * 1024];
    let mut poured = 0;
    let pouring = async {
        while poured < LARGE && writes.write_all(&chunk).await.is_ok() {
            poured += chunk.len();
        }
        // Nothing more is sent, and the answer may still be on its way.
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
            match reads.read(&mut buffer).await {
                Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
                Ok(_) | Err(_) => break,
            }
        }
    };
    tokio::select! {
        () = pouring => {}
        () = reading => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => {}
    }
    (poured, String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_is_refused_without_being_read() {
    let (offers, origin) = (offers().await, origin().await);
    let peer = offers.peer().await;
    let bearer = format!("authorization: Bearer {}\r\n", peer.credential);
    let page = "origin: https://a.example\r\n";
    for (given, path, more) in [
        (&offers, "/offers", bearer.as_str()),
        (&offers, "/offers/x/answer", &bearer),
        (&offers, "/offers/x/ice-candidates", &bearer),
        (&origin, "/t/offer", page),
        (&origin, "/answer", page),
        (&origin, "/poll", page),
    ] {
        for length in ["content-length: LENGTH", "transfer-encoding: chunked"] {
            let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}{length}\r\n\r\n");
            let (poured, answer) = if length.contains("chunked") {
                // One chunk that is as large as all.
                pour(given, &format!("{head}6400000\r\n")).await
            } else {
                pour(given, &head).await
            };
            assert!(answer.starts_with("HTTP/1.1 413 "), "{path}, {length}: {answer}");
            // The rest of it is what the network holds by itself.
            assert!(poured < 24 * 1024 * 1024, "{path}, {length}: {poured} bytes");
        }
    }
}
