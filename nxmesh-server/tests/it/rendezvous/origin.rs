//! The protocol `origin`: a test for each sentence of the contract.

use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::given::{Given, NOW, On, Setup, answer, on_each_store, origin_frozen};

const HERE: &str = "https://a.example";
const THERE: &str = "https://b.example";
const GONE: &str = "Session not found, expired, or origin mismatch";
const SIDE: &str = "Invalid or missing parameter: side (must be \"offerer\" or \"answerer\")";

async fn post(given: &Given, origin: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = given.request(Method::POST, path).header("origin", origin);
    answer(request.body(body.to_string())).await.whole()
}

async fn get(given: &Given, origin: &str, path: &str) -> (u16, Value) {
    answer(given.request(Method::GET, path).header("origin", origin)).await.whole()
}

/// Opens a session in a topic; answers its code.
async fn open(given: &Given, origin: &str, topic: &str, info: &str) -> String {
    let body = json!({"info": info, "offer": format!("offer of {info}")});
    let made = post(given, origin, &format!("/{topic}/offer"), &body).await;
    assert_eq!(made.0, 200, "{}", made.1);
    made.1["code"].as_str().unwrap().to_owned()
}

async fn add(given: &Given, code: &str, side: &str, field: &str, what: Value) -> (u16, Value) {
    post(given, HERE, "/answer", &json!({"code": code, "side": side, field: what})).await
}

async fn poll(given: &Given, code: &str, side: &str) -> (u16, Value) {
    post(given, HERE, "/poll", &json!({"code": code, "side": side})).await
}

fn done() -> (u16, Value) {
    (200, json!({"success": true}))
}

fn refused(status: u16, why: &str) -> (u16, Value) {
    (status, json!({"error": why}))
}

#[tokio::test]
async fn what_the_server_is_and_how_it_is() {
    let mut setup = Setup::on(On::Memory).await;
    "7.8.9".clone_into(&mut setup.http.version);
    let given = setup.origin().await;
    let about = given.look("/").await;
    assert_eq!(about.whole(), (200, json!({"version": "7.8.9"})));
    assert_eq!(about.headers["content-type"], "application/json");
    let health = given.look("/health").await;
    assert_eq!(health.whole(), (200, json!({"status": "ok", "timestamp": NOW})));
}

async fn two_sides_find_each_other(on: On) {
    let (given, clock) = origin_frozen(on).await;
    let code = open(&given, HERE, "a%2Fb%20c", "ann").await;
    let is_v4 = uuid::Uuid::parse_str(&code).is_ok_and(|it| it.get_version_num() == 4);
    assert!(is_v4 && code == code.to_lowercase(), "{code}");
    let anything = [json!("c"), json!(7), json!(true), json!([]), json!({"b": 1, "a": [null]})];
    for (at, candidate) in anything.iter().enumerate() {
        let (one, other) = (candidate.clone(), json!({"at": at}));
        assert_eq!(add(&given, &code, "offerer", "candidate", one).await, done());
        assert_eq!(add(&given, &code, "answerer", "candidate", other).await, done());
    }
    let listed = get(&given, HERE, "/a%2Fb%20c/sessions").await;
    let session = json!({
        "code": code, "info": "ann", "peerId": "ann", "offer": "offer of ann",
        "offerCandidates": anything, "createdAt": NOW, "expiresAt": NOW + 300_000,
    });
    assert_eq!(listed, (200, json!({"sessions": [session]})));
    let offered = (200, json!({"offer": "offer of ann", "offerCandidates": anything}));
    assert_eq!(poll(&given, &code, "answerer").await, offered);
    let theirs: Vec<_> = (0..5).map(|it| json!({"at": it})).collect();
    let waiting = (200, json!({"answer": null, "answerCandidates": theirs}));
    assert_eq!(poll(&given, &code, "offerer").await, waiting, "also before there is an answer");

    clock.advance(TimeDelta::milliseconds(299_999));
    assert_eq!(add(&given, &code, "answerer", "answer", json!("yes")).await, done());
    // It leaves both listings, and can be polled all the same, by both sides, as often as they like.
    assert_eq!(get(&given, HERE, "/a%2Fb%20c/sessions").await, (200, json!({"sessions": []})));
    let none = json!({"page": 1, "limit": 100, "total": 0, "hasMore": false});
    let none = json!({"topics": [], "pagination": none});
    assert_eq!(get(&given, HERE, "/topics").await, (200, none));
    assert_eq!(add(&given, &code, "offerer", "candidate", json!("late")).await, done());
    let answered = (200, json!({"answer": "yes", "answerCandidates": theirs}));
    let mut anything = anything.to_vec();
    anything.push(json!("late"));
    let offered = (200, json!({"offer": "offer of ann", "offerCandidates": anything}));
    for _ in 0..2 {
        assert_eq!(poll(&given, &code, "offerer").await, answered);
        assert_eq!(poll(&given, &code, "answerer").await, offered);
    }
    // Nothing of that has made it live longer.
    clock.advance(TimeDelta::milliseconds(1));
    for side in ["offerer", "answerer"] {
        assert_eq!(poll(&given, &code, side).await, refused(404, GONE));
        let late = add(&given, &code, side, "candidate", json!("later")).await;
        assert_eq!(late, refused(404, GONE));
    }
    assert_eq!(add(&given, &code, "answerer", "answer", json!("v")).await, refused(404, GONE));
}

async fn an_open_session_expires_at_the_very_millisecond(on: On) {
    let (given, clock) = origin_frozen(on).await;
    let code = open(&given, HERE, "t", "ann").await;
    clock.advance(TimeDelta::milliseconds(299_999));
    let there = get(&given, HERE, "/topics").await.1;
    assert_eq!(there["topics"], json!([{"topic": "t", "count": 1}]));
    clock.advance(TimeDelta::milliseconds(1));
    let gone = get(&given, HERE, "/topics").await.1;
    assert_eq!((&gone["topics"], &gone["pagination"]["total"]), (&json!([]), &json!(0)));
    assert_eq!(get(&given, HERE, "/t/sessions").await.1, json!({"sessions": []}));
    // Its code may be had again.
    let body = json!({"info": "ben", "offer": "o", "code": code});
    assert_eq!(post(&given, HERE, "/t/offer", &body).await, (200, json!({"code": code})));
}

async fn origins_are_kept_apart(on: On) {
    let (given, _) = origin_frozen(on).await;
    let code = open(&given, HERE, "t", "ann").await;
    // To the letter: another case, another port, a slash more are other origins.
    for other in
        [THERE, "https://A.example", "https://a.example:8443", "https://a.example/", "null"]
    {
        let none = json!({"page": 1, "limit": 100, "total": 0, "hasMore": false});
        let none = json!({"topics": [], "pagination": none});
        assert_eq!(get(&given, other, "/topics").await, (200, none), "{other}");
        assert_eq!(get(&given, other, "/t/sessions").await, (200, json!({"sessions": []})));
        let session = json!({"code": code, "side": "answerer"});
        assert_eq!(post(&given, other, "/poll", &session).await, refused(404, GONE));
        for (field, what) in [("answer", "a"), ("candidate", "c")] {
            let mut session = session.clone();
            session[field] = what.into();
            assert_eq!(post(&given, other, "/answer", &session).await, refused(404, GONE));
        }
        // A code that is taken in one is free in another.
        let body = json!({"info": "ben", "offer": "theirs", "code": code});
        assert_eq!(post(&given, other, "/t/offer", &body).await, (200, json!({"code": code})));
    }
    let offered = json!({"offer": "offer of ann", "offerCandidates": []});
    assert_eq!(poll(&given, &code, "answerer").await, (200, offered));
    let taken = format!("Session code '{code}' already exists");
    let body = json!({"info": "ben", "offer": "theirs", "code": code});
    assert_eq!(post(&given, HERE, "/other/offer", &body).await, refused(409, &taken));
}

async fn sessions_are_listed_newest_first_and_topics_by_their_bytes(on: On) {
    let (given, clock) = origin_frozen(on).await;
    let mut codes = Vec::new();
    for info in ["1", "2", "3"] {
        codes.push(open(&given, HERE, "b", info).await);
        clock.advance(TimeDelta::milliseconds(1));
    }
    for topic in ["%C3%A9", "Z", "%F0%9F%98%80", "%EE%80%80", "a"] {
        open(&given, HERE, topic, "x").await;
    }
    let listed = get(&given, HERE, "/b/sessions").await.1;
    let infos = listed["sessions"].as_array().unwrap().iter().map(|it| it["info"].clone());
    assert_eq!(infos.collect::<Vec<_>>(), ["3", "2", "1"]);
    assert_eq!(add(&given, &codes[1], "answerer", "answer", json!("a")).await, done());
    let counts = [("Z", 1), ("a", 1), ("b", 2), ("é", 1), ("\u{E000}", 1), ("😀", 1)];
    let counts = counts.map(|(topic, count)| json!({"topic": topic, "count": count}));
    for (query, topics, page, limit, more) in [
        ("", &counts[..], 1, 100, false),
        ("page=1&limit=6", &counts[..], 1, 6, false),
        ("page=1&limit=5", &counts[..5], 1, 5, true),
        ("page=2&limit=5", &counts[5..], 2, 5, false),
        ("page=2&limit=2", &counts[2..4], 2, 2, true),
        ("page=4&limit=2", &[], 4, 2, false),
    ] {
        let pagination = json!({"page": page, "limit": limit, "total": 6, "hasMore": more});
        let wanted = json!({"topics": topics, "pagination": pagination});
        assert_eq!(get(&given, HERE, &format!("/topics?{query}")).await, (200, wanted), "{query}");
    }
}

async fn only_the_answerer_answers_and_once(on: On) {
    let (given, _) = origin_frozen(on).await;
    let code = open(&given, HERE, "t", "ann").await;
    let own = add(&given, &code, "offerer", "answer", json!("mine")).await;
    assert_eq!(own, refused(400, "Only the answerer may answer"));
    let bodies: Vec<_> = (0..30).map(|it| json!(format!("answer {it}"))).collect();
    let answers = bodies.iter().map(|it| add(&given, &code, "answerer", "answer", it.clone()));
    let answers = join_all(answers).await;
    let won: Vec<_> = (0..30).filter(|it| answers[*it] == done()).collect();
    let lost = refused(400, "Session already answered");
    assert_eq!((won.len(), answers.iter().filter(|it| **it == lost).count()), (1, 29));
    let polled = poll(&given, &code, "offerer").await.1;
    assert_eq!(polled["answer"], bodies[won[0]], "it is the one that was told so");
}

async fn candidates_at_once_are_all_kept(on: On) {
    let (given, _) = origin_frozen(on).await;
    let code = open(&given, HERE, "t", "ann").await;
    let side = |it: usize| if it.is_multiple_of(2) { "offerer" } else { "answerer" };
    let all = (0..120).map(|it| add(&given, &code, side(it), "candidate", json!({"at": it})));
    let answer = add(&given, &code, "answerer", "answer", json!("yes"));
    let (all, answer) = tokio::join!(join_all(all), answer);
    assert!(answer == done() && all.iter().all(|it| *it == done()), "{all:?}");
    for (side, field, odd) in
        [("offerer", "answerCandidates", 1), ("answerer", "offerCandidates", 0)]
    {
        let polled = poll(&given, &code, side).await.1;
        let kept = polled[field].as_array().unwrap().iter();
        let mut kept: Vec<_> = kept.map(|it| it["at"].as_u64().unwrap()).collect();
        kept.sort_unstable();
        assert_eq!(kept, (0..60).map(|it| it * 2 + odd).collect::<Vec<_>>(), "{side}");
    }
}

on_each_store! {
    two_sides_find_each_other,
    an_open_session_expires_at_the_very_millisecond,
    origins_are_kept_apart,
    sessions_are_listed_newest_first_and_topics_by_their_bytes,
    only_the_answerer_answers_and_once,
    candidates_at_once_are_all_kept,
}

#[tokio::test]
async fn what_is_wrong_is_told_in_order() {
    let (given, _) = origin_frozen(On::Memory).await;
    open(&given, HERE, "t", "ann").await;
    let taken = json!({"info": "i", "offer": "o", "code": "c"});
    assert_eq!(post(&given, HERE, "/t/offer", &taken).await.0, 200);
    let long = "t".repeat(257);
    let missing = |name| format!("Missing or invalid required parameter: {name}");
    for (topic, body, status, why) in [
        // Each is wrong in all that comes after it as well.
        (&*long, json!({"code": "c"}), 400, "Topic string must be 256 characters or less".into()),
        ("t", json!({"code": "c"}), 400, missing("info")),
        ("t", json!({"info": "", "peerId": "p", "code": "c"}), 400, missing("info")),
        ("t", json!({"peerId": "", "code": "c"}), 400, missing("peerId")),
        (
            "t",
            json!({"info": "i".repeat(1025), "code": "c"}),
            400,
            "Info string must be 1024 characters or less".into(),
        ),
        ("t", json!({"info": "i", "code": "c"}), 400, missing("offer")),
        ("t", taken.clone(), 409, "Session code 'c' already exists".into()),
    ] {
        let met = post(&given, HERE, &format!("/{topic}/offer"), &body).await;
        assert_eq!(met, refused(status, &why), "{body:.80}");
    }
    let neither = "Missing required parameter: answer or candidate";
    let both = "Cannot provide both answer and candidate";
    for (body, status, why) in [
        (json!({"side": "x"}), 400, &*missing("code")),
        (json!({"code": "", "side": "x"}), 400, &*missing("code")),
        (json!({"code": "none", "side": "x"}), 400, SIDE),
        (json!({"code": "none"}), 400, SIDE),
        (json!({"code": "none", "side": "offerer"}), 400, neither),
        (json!({"code": "none", "side": "offerer", "answer": "a", "candidate": 1}), 400, both),
        (json!({"code": "none", "side": "offerer", "answer": "a"}), 404, GONE),
        (json!({"code": "none", "side": "answerer", "candidate": "c"}), 404, GONE),
    ] {
        assert_eq!(post(&given, HERE, "/answer", &body).await, refused(status, why), "{body}");
        // Polling asks for less of the same.
        if why == missing("code") || why == SIDE || why == GONE {
            assert_eq!(post(&given, HERE, "/poll", &body).await, refused(status, why), "{body}");
        }
    }
    // Before all that comes who asks.
    let request = given.request(Method::POST, &format!("/{long}/offer")).body("{");
    let no_origin = refused(400, "Missing required header: Origin");
    assert_eq!(answer(request).await.whole(), no_origin);
}

#[tokio::test]
async fn info_and_peer_id_are_two_names_of_one_thing() {
    let (given, clock) = origin_frozen(On::Memory).await;
    for (body, name) in [
        (json!({"info": "ann", "offer": "o"}), "ann"),
        (json!({"peerId": "ben", "offer": "o"}), "ben"),
        (json!({"info": "carl", "peerId": "dora", "offer": "o"}), "carl"),
    ] {
        assert_eq!(post(&given, HERE, "/t/offer", &body).await.0, 200, "{body}");
        let listed = get(&given, HERE, "/t/sessions").await.1;
        let first = &listed["sessions"][0];
        assert_eq!((&first["info"], &first["peerId"]), (&json!(name), &json!(name)));
        clock.advance(TimeDelta::milliseconds(1));
    }
}

#[tokio::test]
async fn a_number_as_an_answer_is_a_text() {
    let (given, _) = origin_frozen(On::Memory).await;
    let code = open(&given, HERE, "t", "ann").await;
    for what in [json!({}), json!([1]), json!(true)] {
        let wrong = add(&given, &code, "answerer", "answer", what).await;
        assert_eq!(wrong, refused(400, "Missing or invalid required parameter: answer"));
    }
    assert_eq!(add(&given, &code, "answerer", "answer", json!(7)).await, done());
    let answered = json!({"answer": "7", "answerCandidates": []});
    assert_eq!(poll(&given, &code, "offerer").await, (200, answered));
}

#[tokio::test]
async fn those_without_an_origin_share_one_if_they_are_let_in() {
    let mut setup = Setup::on(On::Memory).await;
    setup.http.allow_no_origin = true;
    let given = setup.origin().await;
    let body = json!({"info": "i", "offer": "o", "code": "c"}).to_string();
    let made = given.send(Method::POST, "/t/offer", None, body).await;
    assert_eq!(made.whole(), (200, json!({"code": "c"})));
    assert_eq!(given.look("/topics").await.body["pagination"]["total"], 1);
    assert_eq!(get(&given, "unknown", "/topics").await.1["pagination"]["total"], 1);
    assert_eq!(get(&given, HERE, "/topics").await.1["pagination"]["total"], 0);
}

/// Pages that say so share one realm, whatever their origin, on servers that let them.
#[tokio::test]
async fn the_global_realm_is_there_for_those_who_ask_where_it_is_let() {
    let mut setup = Setup::on(On::Memory).await;
    let total = async |given: &Given, origin: Option<&str>, global: Option<&str>| {
        let mut request = given.request(Method::GET, "/topics");
        for (name, value) in [("origin", origin), ("x-rondevu-global", global)] {
            request = value.into_iter().fold(request, |it, value| it.header(name, value));
        }
        let answer = answer(request).await;
        (answer.status, answer.body["pagination"]["total"].as_u64())
    };
    let body = json!({"info": "i", "offer": "o"}).to_string();
    let open = async |given: &Given| {
        let request = given.request(Method::POST, "/t/offer").header("origin", HERE);
        answer(request.header("x-rondevu-global", "true").body(body.clone())).await.status
    };
    let given = setup.origin().await;
    assert_eq!(open(&given).await, 200);
    assert_eq!(total(&given, Some(HERE), None).await, (200, Some(1)), "the header says nothing");
    assert_eq!(total(&given, None, Some("true")).await, (400, None));
    setup.http.allow_global = true;
    let given = setup.origin().await;
    assert_eq!(open(&given).await, 200);
    for (origin, global, sessions) in [
        (Some(HERE), Some("true"), (200, Some(1))),
        (Some(THERE), Some("true"), (200, Some(1))),
        (None, Some("true"), (200, Some(1))),
        (Some("https://ronde.vu"), None, (200, Some(1))),
        (Some(THERE), None, (200, Some(0))),
        (Some(THERE), Some("1"), (200, Some(0))),
        (Some(THERE), Some("TRUE"), (200, Some(0))),
        (None, Some("false"), (400, None)),
    ] {
        assert_eq!(total(&given, origin, global).await, sessions, "{origin:?} {global:?}");
    }
}
