//! Every limit of the protocol `origin`, at its edge and one beyond: lengths are in UTF-16 code units.

use reqwest::Method;
use serde_json::{Value, json};

use super::given::{Answer, Given, On, Setup, answer, origin};

const EMOJI: &str = "😀";
const PAGE: &str = "https://page.example";

async fn post(given: &Given, path: &str, body: &Value) -> Answer {
    answer(given.request(Method::POST, path).header("origin", PAGE).body(body.to_string())).await
}

async fn get(given: &Given, path: &str) -> Answer {
    answer(given.request(Method::GET, path).header("origin", PAGE)).await
}

async fn check(given: &Given, path: &str, body: &Value, wanted: (u16, &str)) {
    let answer = post(given, path, body).await;
    let shown: String = body.to_string().chars().take(200).collect();
    let said = answer.body["error"].as_str().unwrap_or_default();
    assert_eq!((answer.status, said), wanted, "{path:.60} {shown}");
}

const MADE: (u16, &str) = (200, "");
const NO_INFO: (u16, &str) = (400, "Missing or invalid required parameter: info");
const LONG_INFO: (u16, &str) = (400, "Info string must be 1024 characters or less");
const NO_OFFER: (u16, &str) = (400, "Missing or invalid required parameter: offer");
const TOPIC: (u16, &str) = (400, "Topic string must be 256 characters or less");
const NO_CODE: (u16, &str) = (400, "Missing or invalid required parameter: code");
const SIDE: (u16, &str) =
    (400, "Invalid or missing parameter: side (must be \"offerer\" or \"answerer\")");
const NEITHER: (u16, &str) = (400, "Missing required parameter: answer or candidate");
const BOTH: (u16, &str) = (400, "Cannot provide both answer and candidate");
const GONE: (u16, &str) = (404, "Session not found, expired, or origin mismatch");

/// A refusal whose words are our own.
async fn refused(given: &Given, path: &str, body: &Value) {
    let answer = post(given, path, body).await;
    let shown: String = body.to_string().chars().take(200).collect();
    assert!(answer.status == 400 && answer.body["error"].is_string(), "{} {shown}", answer.text);
}

#[tokio::test]
async fn a_session_is_taken_up_to_each_limit_and_refused_beyond() {
    let given = origin().await;
    for (body, wanted) in [
        (json!({"offer": "o"}), NO_INFO),
        (json!({"info": "", "offer": "o"}), NO_INFO),
        (json!({"info": 7, "offer": "o"}), NO_INFO),
        (json!({"info": "i".repeat(1024), "offer": "o"}), MADE),
        (json!({"info": "i".repeat(1025), "offer": "o"}), LONG_INFO),
        (json!({"info": EMOJI.repeat(512), "offer": "o"}), MADE),
        (json!({"info": EMOJI.repeat(512) + "i", "offer": "o"}), LONG_INFO),
        (json!({"peerId": "p", "offer": "o"}), MADE),
        (
            json!({"peerId": "p".repeat(1025), "offer": "o"}),
            (400, "PeerId string must be 1024 characters or less"),
        ),
        (
            json!({"peerId": 7, "offer": "o"}),
            (400, "Missing or invalid required parameter: peerId"),
        ),
        (json!({"info": "i"}), NO_OFFER),
        (json!({"info": "i", "offer": ""}), NO_OFFER),
        (json!({"info": "i", "offer": 7}), NO_OFFER),
        (json!({"info": "i", "offer": "o".repeat(65_536)}), MADE),
        (json!({"info": "i", "offer": EMOJI.repeat(32_768)}), MADE),
        (json!({"info": "i", "offer": "o", "code": "mine"}), MADE),
        (
            json!({"info": "i", "offer": "o", "code": "mine"}),
            (409, "Session code 'mine' already exists"),
        ),
        (json!([]), NO_INFO),
        (json!("info"), NO_INFO),
    ] {
        check(&given, "/t/offer", &body, wanted).await;
    }
    refused(&given, "/t/offer", &json!({"info": "i", "offer": "o".repeat(65_537)})).await;
    refused(&given, "/t/offer", &json!({"info": "i", "offer": EMOJI.repeat(32_768) + "o"})).await;
    let fine = json!({"info": "i", "offer": "o"});
    for (topic, wanted) in [
        ("t".repeat(256), MADE),
        ("t".repeat(257), TOPIC),
        ("%F0%9F%98%80".repeat(128), MADE),
        ("%F0%9F%98%80".repeat(128) + "t", TOPIC),
        ("a%2Fb".to_owned(), MADE),
    ] {
        check(&given, &format!("/{topic}/offer"), &fine, wanted).await;
        let listed = get(&given, &format!("/{topic}/sessions")).await;
        if wanted == TOPIC {
            assert_eq!(listed.refusal(), wanted, "{topic}");
        } else {
            assert_eq!(listed.body["sessions"].as_array().map(Vec::len), Some(1), "{topic}");
        }
    }
}

#[tokio::test]
async fn what_a_side_adds_is_taken_up_to_each_limit_and_refused_beyond() {
    let given = origin().await;
    let open = json!({"info": "i", "offer": "o", "code": "c"});
    assert_eq!(post(&given, "/t/offer", &open).await.body["code"], "c");
    let body = |more: Value| {
        let mut body = json!({"code": "c", "side": "answerer"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, wanted) in [
        (json!({"side": "answerer", "answer": "a"}), NO_CODE),
        (json!({"code": 7, "side": "answerer", "answer": "a"}), NO_CODE),
        (json!({"code": "c", "answer": "a"}), SIDE),
        (json!({"code": "c", "side": "both", "answer": "a"}), SIDE),
        (body(json!({})), NEITHER),
        (body(json!({"answer": ""})), NEITHER),
        (body(json!({"candidate": null})), NEITHER),
        (body(json!({"candidate": 0})), NEITHER),
        (body(json!({"answer": "a", "candidate": "c"})), BOTH),
        (json!({"code": "other", "side": "answerer", "answer": "a"}), GONE),
        // With its two quotes that is 4,096 bytes of JSON.
        (body(json!({"candidate": "c".repeat(4094)})), MADE),
        (body(json!({"candidate": {"b": 1, "a": [null]}})), MADE),
        (body(json!({"candidate": true})), MADE),
    ] {
        check(&given, "/answer", &body, wanted).await;
    }
    refused(&given, "/answer", &body(json!({"candidate": "c".repeat(4095)}))).await;
    refused(&given, "/answer", &body(json!({"answer": "a".repeat(65_537)}))).await;
    for number in 3..100 {
        check(&given, "/answer", &body(json!({"candidate": format!("c{number}")})), MADE).await;
    }
    refused(&given, "/answer", &body(json!({"candidate": "one too many"}))).await;
    check(&given, "/answer", &body(json!({"answer": EMOJI.repeat(32_768)})), MADE).await;
    let again = (400, "Session already answered");
    check(&given, "/answer", &body(json!({"answer": "a"})), again).await;
    let polled = post(&given, "/poll", &json!({"code": "c", "side": "offerer"})).await.body;
    assert_eq!(polled["answer"], EMOJI.repeat(32_768));
    let candidates = polled["answerCandidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 100);
    assert_eq!(candidates[1], json!({"b": 1, "a": [null]}));
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_read_and_one_more_byte_is_not() {
    let given = origin().await;
    let filled = |size: usize| {
        let empty = json!({"info": "i", "offer": "o", "more": ""}).to_string().len();
        json!({"info": "i", "offer": "o", "more": "m".repeat(size - empty)})
    };
    assert_eq!(post(&given, "/t/offer", &filled(256 * 1024)).await.status, 200);
    assert_eq!(post(&given, "/t/offer", &filled(256 * 1024 + 1)).await.status, 413);
}

#[tokio::test]
async fn pages_of_topics_are_clamped() {
    let given = origin().await;
    for topic in 0..5 {
        let body = json!({"info": "i", "offer": "o"});
        assert_eq!(post(&given, &format!("/t{topic}/offer"), &body).await.status, 200);
    }
    for (query, page, limit, returned, more) in [
        ("", 1, 100, 5, false),
        ("page=2&limit=2", 2, 2, 2, true),
        ("page=3&limit=2", 3, 2, 1, false),
        ("page=0&limit=0", 1, 1, 1, true),
        ("page=-2&limit=-1", 1, 1, 1, true),
        ("page=a&limit=b", 1, 100, 5, false),
        ("limit=1001", 1, 1000, 5, false),
    ] {
        let listed = get(&given, &format!("/topics?{query}")).await.body;
        let wanted = json!({"page": page, "limit": limit, "total": 5, "hasMore": more});
        assert_eq!(listed["pagination"], wanted, "{query}");
        assert_eq!(listed["topics"].as_array().map(Vec::len), Some(returned), "{query}");
    }
    // However far away it is.
    let listed = get(&given, "/topics?page=99999999999999999999&limit=1000").await;
    assert_eq!((listed.status, &listed.body["topics"]), (200, &json!([])), "{}", listed.text);
}

#[tokio::test]
async fn a_request_that_says_no_origin_is_told_so() {
    let given = origin().await;
    let body = json!({"info": "i", "offer": "o"}).to_string();
    for (method, path) in [
        (Method::GET, "/topics"),
        (Method::GET, "/t/sessions"),
        (Method::POST, "/t/offer"),
        (Method::POST, "/answer"),
        (Method::POST, "/poll"),
    ] {
        let refused = given.send(method, path, None, body.clone()).await;
        let why = refused.body["error"].as_str().unwrap_or_default();
        assert!(refused.status == 400 && why.contains("Origin"), "{path}: {}", refused.text);
    }
    for path in ["/", "/health"] {
        assert_eq!(given.send(Method::GET, path, None, "").await.status, 200);
    }
}

#[tokio::test]
async fn an_origin_may_have_512_bytes() {
    let given = origin().await;
    for (length, status) in [(512, 200), (513, 400)] {
        let long = format!("https://{}", "a".repeat(length - 8));
        let asked = given.request(Method::GET, "/topics").header("origin", long);
        let said = answer(asked).await;
        assert_eq!(said.status, status);
        if status == 400 {
            assert_eq!(said.refusal(), (400, "The Origin header is longer than 512 bytes"));
        }
    }
}

#[tokio::test]
async fn a_candidate_may_have_a_hundred_levels() {
    let given = origin().await;
    let made = post(&given, "/t/offer", &json!({"info": "i", "offer": "o", "code": "c"})).await;
    assert_eq!(made.status, 200);
    for (levels, wanted) in [
        (100, (200, "")),
        (101, (400, "Candidate must have 100 levels of arrays and objects or less")),
    ] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let body = format!(r#"{{"code":"c","side":"offerer","candidate":{deep}}}"#);
        let asked = given.request(Method::POST, "/answer").header("origin", PAGE).body(body);
        let said = answer(asked).await;
        assert_eq!((said.status, said.body["error"].as_str().unwrap_or_default()), wanted);
    }
}

#[tokio::test]
async fn a_list_of_sessions_ends_after_sixteen_mebibytes() {
    let given = origin().await;
    let offer = "o".repeat(65_536);
    for number in 0..260 {
        let body = json!({"info": "i", "offer": offer, "code": number.to_string()});
        assert_eq!(post(&given, "/t/offer", &body).await.status, 200);
    }
    let listed = get(&given, "/t/sessions").await.body;
    let codes: Vec<_> =
        listed["sessions"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    let newest: Vec<_> = (4..260).rev().map(|it| json!(it.to_string())).collect();
    assert!(codes == newest.iter().collect::<Vec<_>>(), "{} were listed: {codes:?}", codes.len());
}

#[tokio::test]
async fn an_empty_origin_is_none() {
    let mut setup = Setup::on(On::Memory).await;
    let given = setup.origin().await;
    let empty = |given: &Given| given.request(Method::GET, "/topics").header("origin", "");
    let refused = answer(empty(&given)).await;
    assert_eq!(refused.refusal(), (400, "Missing required header: Origin"));
    setup.http.allow_no_origin = true;
    let given = setup.origin().await;
    let body = json!({"info": "i", "offer": "o"}).to_string();
    assert_eq!(given.send(Method::POST, "/t/offer", None, body).await.status, 200);
    assert_eq!(answer(empty(&given)).await.body["pagination"]["total"], 1);
}

#[tokio::test]
async fn a_code_is_a_text_up_to_its_limit() {
    let given = origin().await;
    let open = async |code: &Value| {
        let body = json!({"info": "i", "offer": "o", "code": code});
        post(&given, "/t/offer", &body).await
    };
    for code in [json!("c".repeat(128)), json!(EMOJI.repeat(64)), json!("a/b c")] {
        assert_eq!(open(&code).await.body["code"], code);
    }
    for code in [json!(null), json!(false), json!(0), json!("")] {
        let made = open(&code).await.body;
        assert_eq!(made["code"].as_str().map(str::len), Some(36), "{code}");
    }
    let why = "Code must be a string of 128 characters or less";
    let long = [json!("c".repeat(129)), json!(EMOJI.repeat(64) + "c")];
    for code in long.into_iter().chain([json!(7), json!(true), json!([]), json!({})]) {
        assert_eq!(open(&code).await.refusal(), (400, why), "{code}");
    }
    let listed = get(&given, "/t/sessions").await;
    assert_eq!(listed.body["sessions"].as_array().map(Vec::len), Some(7));
}
