//! Push: what reaches peers, by server-sent events and by WebSocket, a test for each sentence.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    given::{Given, NOW, On, Peer, Setup, answer, offers_frozen, on_each_store, origin_frozen},
    listener::{BOTH, By, Listener},
};

fn bearer(peer: &Peer) -> String {
    format!("Bearer {}", peer.credential)
}

/// Listens as a peer of `offers`, with these parameters.
async fn listen(by: By, given: &Given, peer: &Peer, query: &str) -> Listener {
    let bearer = bearer(peer);
    Listener::open(by, given, &format!("/events?{query}"), &[("authorization", &bearer)]).await
}

fn answered(id: &str, by: &Peer, sdp: &str, at: i64) -> Value {
    json!({"type": "answer", "offerId": id, "answererId": by.id, "sdp": sdp, "answeredAt": at})
}

fn candidate(id: &str, by: &Peer, role: &str, candidate: &Value, at: i64) -> Value {
    json!({
        "type": "candidate", "offerId": id, "peerId": by.id, "role": role, "candidate": candidate,
        "createdAt": at,
    })
}

async fn answers_and_candidates_are_pushed_to_whom_they_are_for(on: On) {
    let (given, clock) = offers_frozen(on).await;
    for by in BOTH {
        let (owner, other) = (given.peer().await, given.peer().await);
        let id = given.offer(&owner, &format!("{by:?}")).await;
        given.add(&owner, &id, json!(["early"])).await;
        let mut to_owner = listen(by, &given, &owner, "").await;
        let mut to_other = listen(by, &given, &other, "").await;
        clock.advance(TimeDelta::milliseconds(10));
        let at = given.answer(&other, &id, "v=1\r\n").await;
        assert_eq!(to_owner.hear().await, answered(&id, &other, "v=1\r\n", at));
        let early = candidate(&id, &owner, "offerer", &json!("early"), at + 1);
        assert_eq!(to_other.hear().await, early);
        // Any JSON, with line ends where its sender has them.
        let path = format!("/offers/{id}/ice-candidates");
        let body = "{\"candidates\": [{\n\n\"candidate\":\r\n \"a\\nb\"\r}, null]}";
        let added = given.send(Method::POST, &path, Some(&other), body).await;
        assert_eq!(added.status, 200, "{}", added.text);
        let first = json!({"candidate": "a\nb"});
        for (it, at) in [(first, at + 1), (Value::Null, at + 2)] {
            assert_eq!(to_owner.hear().await, candidate(&id, &other, "answerer", &it, at));
        }
        given.add(&owner, &id, json!([{"candidate": "c"}])).await;
        let it = json!({"candidate": "c"});
        assert_eq!(to_other.hear().await, candidate(&id, &owner, "offerer", &it, at + 2));
    }
}

async fn a_listener_goes_on_where_the_one_before_ended(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    let at = given.answer(&other, &id, "v=1").await;
    given.add(&other, &id, json!([0, 1, 2])).await;
    let mut all = vec![answered(&id, &other, "v=1", at)];
    all.extend((0..3).map(|it| candidate(&id, &other, "answerer", &json!(it), at + 1 + it)));
    let bearer = bearer(&owner);
    let headers = |last: Option<String>| {
        let mut headers = vec![("authorization".to_owned(), bearer.clone())];
        headers.extend(last.map(|it| ("last-event-id".to_owned(), it)));
        headers
    };
    for by in BOTH {
        for from in 0..=all.len() {
            let since = at - 1 + i64::try_from(from).unwrap();
            for (query, last) in [
                (format!("since={since}"), None),
                (String::new(), Some(since.to_string())),
                // What a browser says by itself counts more than what its page said at first.
                (format!("since={at}"), Some(since.to_string())),
                (format!("since={since}"), Some(String::new())),
            ] {
                let headers = headers(last);
                let headers: Vec<_> = headers.iter().map(|it| (&*it.0, &*it.1)).collect();
                let path = format!("/events?{query}");
                let mut listener = Listener::open(by, &given, &path, &headers).await;
                let heard = listener.hear_all(all.len() - from).await;
                assert_eq!(heard, all[from..], "{by:?} {path} {headers:?}");
            }
        }
        // From the beginning, for whoever says nothing.
        let mut listener = listen(by, &given, &owner, "").await;
        assert_eq!(listener.hear_all(4).await, all);
        for (query, last) in [("since=abc", None), ("", Some("abc")), ("since=7", Some("1x"))] {
            let headers = headers(last.map(Into::into));
            let headers: Vec<_> = headers.iter().map(|it| (&*it.0, &*it.1)).collect();
            let path = format!("/events?{query}");
            let refused = Listener::try_open(by, &given, &path, &headers).await.err().unwrap();
            let why = "Last-Event-ID and since must be the id of an event";
            assert_eq!(refused.whole(), (400, json!({"error": why})), "{by:?} {path}");
        }
    }
}

/// Whoever listens goes away after every few events, and comes again with the last id, while many are sent.
async fn none_is_lost_and_none_comes_twice(on: On) {
    const ALL: usize = 400;
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    given.answer(&other, &id, "v=1").await;
    let sending = async {
        let mut next = 0;
        for some in [1, 7, 30, 2, 60, 1, 13].into_iter().cycle() {
            let batch: Vec<_> = (next..(next + some).min(ALL)).collect();
            if batch.is_empty() {
                return;
            }
            next += batch.len();
            given.add(&other, &id, json!(batch)).await;
        }
    };
    let hearing = async |by: By| {
        let (mut heard, mut last) = (Vec::new(), 0);
        for patience in [3, 50, 1, 17].into_iter().cycle() {
            let mut listener = listen(by, &given, &owner, &format!("since={last}")).await;
            for _ in 0..patience {
                let event = listener.hear().await;
                let stamp = listener.last.unwrap();
                assert!(stamp > last, "{stamp} after {last}");
                last = stamp;
                heard.push(event);
                if heard.len() == ALL + 1 {
                    return heard;
                }
            }
        }
        heard
    };
    let ((), one, other) =
        tokio::join!(sending, hearing(By::ServerSentEvents), hearing(By::WebSocket));
    assert_eq!(one[0]["type"], "answer");
    let numbers = one[1..].iter().map(|it| it["candidate"].as_u64().unwrap());
    assert!(numbers.eq(0..ALL as u64), "in the order in which they were sent");
    assert_eq!(one, other);
}

/// Of what is large less is read at a time.
async fn large_events_come_once_each_in_order(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let sdp = |it: usize| format!("{it} {}", "ü".repeat(60_000));
    let mut expected = Vec::new();
    for number in 0..12 {
        let id = given.offer(&owner, &number.to_string()).await;
        let at = given.answer(&other, &id, &sdp(number)).await;
        expected.push(answered(&id, &other, &sdp(number), at));
        let small: Vec<_> = (0..number * 3).collect();
        if !small.is_empty() {
            given.add(&other, &id, json!(small)).await;
        }
        expected.extend(small.iter().map(|it| json!(it)));
    }
    for by in BOTH {
        let mut listener = listen(by, &given, &owner, "").await;
        for expected in &expected {
            let event = listener.hear().await;
            let told = if event["type"] == "answer" { &event } else { &event["candidate"] };
            assert!(told == expected, "{by:?}: {} is not what comes next", event["type"]);
        }
    }
}

async fn new_offers_of_followed_topics_are_pushed(on: On) {
    let (given, clock) = offers_frozen(on).await;
    for by in BOTH {
        let (owner, other) = (given.peer().await, given.peer().await);
        let mut listener = listen(by, &given, &other, "topics=a,a,b%2Fc,%F0%9F%98%80").await;
        let publish = async |id: &str, topics: Value| {
            let offer = json!([{"sdp": "v=0", "topics": topics, "id": format!("{by:?}{id}"),
                "secret": "hush", "info": "from here", "ttl": 60_000}]);
            given.publish(&owner, offer).await;
        };
        let now = clock_now(&given);
        let shown = |topic: &str, id: &str, topics: Value| {
            let offer = json!({
                "id": format!("{by:?}{id}"), "peerId": owner.id, "sdp": "v=0", "topics": topics,
                "expiresAt": now + 60_000, "lastSeen": now, "hasSecret": true, "info": "from here",
            });
            json!({"type": "offer", "topic": topic, "offer": offer})
        };
        publish("1", json!(["other", "A"])).await;
        publish("2", json!(["a"])).await;
        // What is published once more is not new.
        publish("2", json!(["a"])).await;
        publish("3", json!(["😀", "b/c", "x"])).await;
        assert_eq!(listener.hear().await, shown("a", "2", json!(["a"])));
        let mut both = [listener.hear().await, listener.hear().await];
        both.sort_by_key(|it| it["topic"].to_string());
        let topics = json!(["😀", "b/c", "x"]);
        assert_eq!(both, [shown("b/c", "3", topics.clone()), shown("😀", "3", topics)]);
        // Deliveries come on the same way.
        let id = given.offer(&other, &format!("mine {by:?}")).await;
        let at = given.answer(&owner, &id, "v=1").await;
        assert_eq!(listener.hear().await, answered(&id, &owner, "v=1", at));
        clock.advance(TimeDelta::milliseconds(60_000));
    }
}

fn clock_now(given: &Given) -> i64 {
    given.rendezvous.now()
}

async fn the_end_of_ones_own_offers_is_pushed(on: On) {
    let mut setup = Setup::on(on).await;
    setup.settings.sweep_interval = Duration::from_millis(20);
    let given = setup.offers().await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let mut listeners = Vec::new();
    for by in BOTH {
        listeners.push(listen(by, &given, &owner, "").await);
    }
    let mut stranger = listen(By::ServerSentEvents, &given, &other, "topics=u").await;
    let ids = given
        .publish(
            &owner,
            json!([
                {"sdp": "1", "topics": ["t"], "ttl": 60_000},
                {"sdp": "2", "topics": ["t"], "ttl": 60_001},
            ]),
        )
        .await;
    for (id, left) in ids.iter().zip([60_000, 1]) {
        setup.clock.advance(TimeDelta::milliseconds(left));
        for listener in &mut listeners {
            let expired = json!({"type": "offer.expired", "offerId": id});
            assert_eq!(listener.hear().await, expired);
        }
    }
    // Somebody else hears nothing of it: this is the first thing they hear.
    given.publish(&owner, json!([{"sdp": "3", "topics": ["u"]}])).await;
    assert_eq!(stranger.hear().await["type"], "offer");
}

async fn both_sides_of_a_session_are_pushed_to(on: On) {
    let (given, _) = origin_frozen(on).await;
    let page = [("origin", "https://a.example")];
    let post = async |path: &str, body: Value| {
        let request = given.request(Method::POST, path).header("origin", "https://a.example");
        let done = answer(request.body(body.to_string())).await;
        assert_eq!(done.status, 200, "{}", done.text);
    };
    for by in BOTH {
        let code = format!("{by:?}");
        post("/t/offer", json!({"info": "ann", "offer": "o", "code": code})).await;
        let path = |side: &str| format!("/events?code={code}&side={side}");
        let mut to_offerer = Listener::open(by, &given, &path("offerer"), &page).await;
        let mut to_answerer = Listener::open(by, &given, &path("answerer"), &page).await;
        let add = async |side: &str, field: &str, what: &str| {
            post("/answer", json!({"code": code, "side": side, field: what})).await;
        };
        add("offerer", "candidate", "o1").await;
        add("answerer", "candidate", "a1").await;
        add("answerer", "answer", "yes").await;
        add("offerer", "candidate", "o2").await;
        add("answerer", "candidate", "a2").await;
        let told = |event: &Value| {
            assert_eq!(event["offerId"], *code);
            let what = if event["type"] == "answer" { &event["sdp"] } else { &event["candidate"] };
            (event["role"].as_str().map(str::to_owned), what.as_str().unwrap().to_owned())
        };
        let heard: Vec<_> = to_offerer.hear_all(3).await.iter().map(told).collect();
        let role = |it: &str| Some(it.to_owned());
        let wanted = [
            (None, "yes".to_owned()),
            (role("answerer"), "a1".to_owned()),
            (role("answerer"), "a2".to_owned()),
        ];
        assert_eq!(heard, wanted);
        let heard: Vec<_> = to_answerer.hear_all(2).await.iter().map(told).collect();
        let wanted = [(role("offerer"), "o1".to_owned()), (role("offerer"), "o2".to_owned())];
        assert_eq!(heard, wanted);
        let again = format!("{}&since={}", path("offerer"), to_offerer.last.unwrap() - 1);
        let mut again = Listener::open(by, &given, &again, &page).await;
        assert_eq!(told(&again.hear().await).1, "a2");
    }
}

on_each_store! {
    answers_and_candidates_are_pushed_to_whom_they_are_for,
    a_listener_goes_on_where_the_one_before_ended,
    none_is_lost_and_none_comes_twice,
    large_events_come_once_each_in_order,
    new_offers_of_followed_topics_are_pushed,
    the_end_of_ones_own_offers_is_pushed,
    both_sides_of_a_session_are_pushed_to,
}

#[tokio::test]
async fn who_may_listen_and_how_it_is_answered() {
    let (given, _) = offers_frozen(On::Memory).await;
    let peer = Peer::known();
    let bearer = bearer(&peer);
    let token = format!("access_token={}", peer.credential.replace('+', "%2B"));
    let many = |count: usize| {
        let topics: Vec<_> = (0..count).map(|it| it.to_string()).collect();
        format!("{token}&topics={}", topics.join(","))
    };
    let wrong = format!("access_token={}x:y", peer.id);
    for by in BOTH {
        for (query, authorization) in [
            ("", Some(&bearer)),
            // Browsers cannot send a header with either.
            (&token, None),
            (&many(50), None),
            (&wrong, Some(&bearer)),
        ] {
            let headers = authorization.map(|it| ("authorization", it.as_str()));
            let headers: Vec<_> = headers.into_iter().collect();
            let path = format!("/events?{query}");
            let listener = Listener::open(by, &given, &path, &headers).await;
            let header = |name: &str| listener.headers.get(name).and_then(|it| it.to_str().ok());
            if by == By::ServerSentEvents {
                assert_eq!(header("content-type"), Some("text/event-stream"));
                assert_eq!(header("cache-control"), Some("no-cache"));
                assert_eq!(header("x-accel-buffering"), Some("no"));
            }
            assert_eq!(header("access-control-allow-credentials"), Some("true"));
        }
        let bare = format!("access_token={}", peer.id);
        for (query, headers, status, why) in [
            ("", vec![], 401, "Missing Authorization header"),
            (&*bare, vec![], 401, "Invalid credentials format. Expected: {peerId}:{secret}"),
            (&wrong, vec![], 401, "Invalid credentials"),
            (&token, vec![("authorization", "Bearer a:b")], 401, "Invalid credentials"),
            (&many(51), vec![], 400, "Too many topics. Maximum 50 per listener"),
        ] {
            let path = format!("/events?{query}");
            let refused = Listener::try_open(by, &given, &path, &headers).await.err().unwrap();
            assert_eq!(refused.whole(), (status, json!({"error": why})), "{by:?} {query:.80}");
        }
    }
    // All of them have gone.
    while given.rendezvous.feed().listeners() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_may_listen_to_a_session() {
    let (given, _) = origin_frozen(On::Memory).await;
    let body = json!({"info": "ann", "offer": "o", "code": "c"}).to_string();
    let made = given.request(Method::POST, "/t/offer").header("origin", "https://a.example");
    assert_eq!(answer(made.body(body)).await.status, 200);
    let gone = "Session not found, expired, or origin mismatch";
    let no_code = "Missing or invalid required parameter: code";
    let side = "Invalid or missing parameter: side (must be \"offerer\" or \"answerer\")";
    for by in BOTH {
        for (query, origin, status, why) in [
            ("", None, 400, "Missing required header: Origin"),
            ("side=x", Some("https://a.example"), 400, no_code),
            ("code=none&side=x", Some("https://a.example"), 400, side),
            ("code=none", Some("https://a.example"), 400, side),
            ("code=none&side=offerer", Some("https://a.example"), 404, gone),
            ("code=c&side=offerer", Some("https://b.example"), 404, gone),
        ] {
            let headers: Vec<_> = origin.into_iter().map(|it| ("origin", it)).collect();
            let path = format!("/events?{query}");
            let refused = Listener::try_open(by, &given, &path, &headers).await.err().unwrap();
            assert_eq!(refused.whole(), (status, json!({"error": why})), "{by:?} {query}");
        }
    }
}

/// A listener that reads too slowly is told that there was more than it is told of.
#[tokio::test]
async fn who_reads_too_slowly_is_told_what_was_missed() {
    let (given, _) = offers_frozen(On::Memory).await;
    for by in BOTH {
        let (owner, other) = (given.peer().await, given.peer().await);
        let mut listener = listen(by, &given, &other, "topics=t").await;
        // More than all that buffers may hold, and than may wait here.
        for some in 0..8 {
            let sdp = |it: i32| format!("{some} {it} {}", "v".repeat(65_000));
            let offers: Vec<_> =
                (0..100).map(|it| json!({"sdp": sdp(it), "topics": ["t"]})).collect();
            given.publish(&owner, json!(offers)).await;
        }
        let mut last = listen(by, &given, &other, "topics=last").await;
        given.publish(&owner, json!([{"sdp": format!("{by:?}"), "topics": ["last"]}])).await;
        // By now all were told of, or missed.
        assert_eq!(last.hear().await["topic"], "last");
        // An answer is not missed, however many offers were.
        let id = given.offer(&other, &format!("{by:?}")).await;
        let at = given.answer(&owner, &id, "v=1").await;
        let (mut offers, mut missed, mut answers) = (0, 0, 0);
        while missed == 0 || answers == 0 {
            let event = listener.hear_any().await;
            match event["type"].as_str().unwrap() {
                "offer" => offers += 1,
                "missed" => {
                    assert_eq!(event, json!({"type": "missed"}));
                    missed += 1;
                }
                _ => {
                    assert_eq!(event, answered(&id, &owner, "v=1", at));
                    answers += 1;
                }
            }
        }
        assert!((8..800).contains(&offers) && answers == 1, "{by:?}: {offers} were told");
        let mine = given.get("/offers/mine", &owner).await.body;
        for offer in mine["offers"].as_array().unwrap() {
            let path = format!("/offers/{}", offer["id"].as_str().unwrap());
            given.send(Method::DELETE, &path, Some(&owner), "").await;
        }
    }
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let (given, _) = offers_frozen(On::Memory).await;
    let peer = given.peer().await;
    let mut listeners = Vec::new();
    for by in BOTH {
        listeners.push(listen(by, &given, &peer, "").await);
    }
    let ending = given.rendezvous.shutdown();
    let hearing = async {
        for listener in &mut listeners {
            assert_eq!(listener.next().await, None);
        }
    };
    tokio::join!(ending, hearing);
}

/// Waits until one server is told by the other.
async fn hears_of(one: &Given, other: &Given) {
    let peer = other.peer().await;
    let mut listener = listen(By::ServerSentEvents, one, &peer, "topics=hello").await;
    let hearing = listener.hear();
    let calling = async {
        for number in 0.. {
            let offer = json!([{"sdp": format!("{} {number}", peer.id), "topics": ["hello"]}]);
            other.publish(&peer, offer).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        heard = hearing => assert_eq!(heard["type"], "offer"),
        () = calling => {}
    }
}

/// What is done at one server reaches those who listen at the other one.
#[tokio::test]
async fn two_servers_on_one_database_push_for_each_other() {
    let mut setup = Setup::on(On::Postgres).await;
    let here = setup.offers().await;
    // Only the other one sweeps.
    setup.settings.sweep_interval = Duration::from_millis(20);
    let mut beside = setup.beside().await;
    beside.settings = setup.settings.clone();
    let there = beside.offers().await;
    hears_of(&here, &there).await;
    hears_of(&there, &here).await;
    for by in BOTH {
        // Who is known at one is known at the other.
        let (owner, other) = (here.peer().await, there.peer().await);
        let mut to_owner = listen(by, &here, &owner, "").await;
        let mut to_other = listen(by, &there, &other, "topics=t").await;
        let offer =
            json!([{"sdp": format!("{by:?}"), "topics": ["t"], "secret": "hush", "ttl": 60_000}]);
        let id = here.publish(&owner, offer).await.remove(0);
        assert_eq!(to_other.hear().await["offer"]["id"], *id);
        let body = json!({"sdp": "v=1", "secret": "hush"});
        let told = there.post(&format!("/offers/{id}/answer"), &other, &body).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let at = told.body["answeredAt"].as_i64().unwrap();
        assert_eq!(to_owner.hear().await, answered(&id, &other, "v=1", at));
        for round in 0..10 {
            // At either server, to either side.
            let (one, two) = if round % 2 == 0 { (&here, &there) } else { (&there, &here) };
            one.add(&owner, &id, json!([round])).await;
            two.add(&other, &id, json!([round])).await;
            let it = json!(round);
            let wanted = candidate(&id, &owner, "offerer", &it, at + 1 + round);
            assert_eq!(to_other.hear().await, wanted);
            let wanted = candidate(&id, &other, "answerer", &it, at + 1 + round);
            assert_eq!(to_owner.hear().await, wanted);
        }
        // Whoever comes back to the other one goes on there.
        let last = to_owner.last.unwrap();
        here.add(&other, &id, json!(["more"])).await;
        let mut again = listen(by, &there, &owner, &format!("since={last}")).await;
        assert_eq!(again.hear().await["candidate"], "more");
        assert_eq!(to_owner.hear().await["candidate"], "more");
        setup.clock.advance(TimeDelta::milliseconds(60_000));
        let expired = json!({"type": "offer.expired", "offerId": id});
        assert_eq!(to_owner.hear().await, expired);
        assert_eq!(again.hear().await, expired);
    }
}

/// News of a database may be lost: all who listen are told so, and what is for a peer comes all the same.
#[tokio::test]
async fn what_a_database_did_not_tell_is_told_as_missed() {
    let setup = Setup::on(On::Postgres).await;
    let given = setup.offers().await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    let mut listeners = Vec::new();
    for by in BOTH {
        for (peer, query) in [(&owner, ""), (&other, "topics=t")] {
            let mut listener = listen(by, &given, peer, query).await;
            // What the store missed while it connected was most likely told before this.
            let offer = given.offer(peer, &format!("{by:?} {query}")).await;
            let at = given.answer(peer, &offer, "v=1").await;
            while listener.hear_any().await != answered(&offer, peer, "v=1", at) {}
            listeners.push(listener);
        }
    }
    assert!(setup.kept().database.as_ref().unwrap().cut_off_all().await > 0);
    for listener in &mut listeners {
        while listener.hear_any().await != json!({"type": "missed"}) {}
    }
    let at = given.answer(&other, &id, "v=1").await;
    for listener in [0, 2] {
        while listeners[listener].hear().await != answered(&id, &other, "v=1", at) {}
    }
    assert!(at >= NOW);
}
