//! Making offers in the protocol `offers`, and what belongs to them: a test for each sentence of the contract.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::given::{NOW, On, Peer, Setup, offers, offers_frozen, on_each_store};

/// What the first server made of these: session description, topics, id.
const IDS: [(&str, &[&str], &str); 5] = [
    ("v=0", &["b", "a"], "8f2abf7ee46078e8c966a17a34ca9db8114aa89298f3b73cfccc0c1ba9d8bfb3"),
    (
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n",
        &["movie-xyz", "hd-content"],
        "831996bbe46490d0de484119dffd7382b646683f953d65b121657e366c513360",
    ),
    (
        "q\"\\\u{1}\u{7f}/é😀",
        &["Z", "a", "é"],
        "94a08a9bf1633b48efa672dfddf94a4422cd41e42d544fce38c34beca58f25b0",
    ),
    (
        "v=0",
        &["\u{E000}", "\u{1F600}"],
        "d9aad2f2f35766bb8331c41b37a827064e17e3d9aaa053b0989b7b01946a00c6",
    ),
    (
        "v=0",
        &["\u{1F600}", "\u{E000}"],
        "d9aad2f2f35766bb8331c41b37a827064e17e3d9aaa053b0989b7b01946a00c6",
    ),
];

#[tokio::test]
async fn what_the_server_is_and_how_it_is() {
    let mut setup = Setup::on(On::Memory).await;
    "7.8.9".clone_into(&mut setup.http.version);
    let given = setup.offers().await;
    let about = given.look("/").await;
    let description = "Topic-based peer discovery and signaling server";
    let wanted = json!({"version": "7.8.9", "name": "Rondevu", "description": description});
    assert_eq!(about.whole(), (200, wanted));
    assert_eq!(about.headers["content-type"], "application/json");
    let health = given.look("/health").await;
    let wanted = json!({"status": "ok", "timestamp": NOW, "version": "7.8.9"});
    assert_eq!(health.whole(), (200, wanted));
}

#[tokio::test]
async fn who_registers_gets_a_name_and_a_secret() {
    let given = offers().await;
    let (mut names, mut secrets) = (Vec::new(), Vec::new());
    for body in ["{}", "", "null", r#"{"peerId":"mine"}"#] {
        let made = given.send(Method::POST, "/register", None, body).await;
        let keys: Vec<_> = made.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((made.status, keys), (200, vec!["peerId", "secret"]), "{body}");
        let text = |key: &str| made.body[key].as_str().unwrap().to_owned();
        names.push(text("peerId"));
        secrets.push(text("secret"));
    }
    let is_hex = |it: char| matches!(it, '0'..='9' | 'a'..='f');
    let is_base64 = |it: char| it.is_ascii_alphanumeric() || it == '+' || it == '/';
    assert!(names.iter().all(|it| it.len() == 32 && it.chars().all(is_hex)), "{names:?}");
    assert!(secrets.iter().all(|it| it.len() == 80 && it.chars().all(is_base64)), "{secrets:?}");
    for some in [&mut names, &mut secrets] {
        some.sort_unstable();
        some.dedup();
        assert_eq!(some.len(), 4);
    }
}

async fn an_offer_is_named_by_what_it_says_and_topics_are_answered_as_sent(on: On) {
    let (given, _) = offers_frozen(on).await;
    for (sdp, topics, id) in IDS {
        let peer = given.peer().await;
        let body = json!({"offers": [{"sdp": sdp, "topics": topics}]});
        let made = given.post("/offers", &peer, &body).await;
        let expires = NOW + 300_000;
        let offer = json!({"id": id, "peerId": peer.id, "topics": topics, "expiresAt": expires});
        assert_eq!(made.whole(), (200, json!({"offers": [offer]})), "{sdp:?} {topics:?}");
        assert_eq!(made.headers["content-type"], "application/json");
        // The peer is no part of the name: the next one may have it once it is free.
        let path = format!("/offers/{id}");
        let deleted = given.send(Method::DELETE, &path, Some(&peer), "").await;
        assert_eq!(deleted.whole(), (200, json!({"deleted": true})));
    }
}

async fn an_offer_is_shown_whole_to_everybody_but_for_its_secret(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let peer = given.peer().await;
    let offers = json!([
        {"sdp": "one\r\n", "topics": ["z/é", "a", "z/é"], "secret": "hush", "info": "from \"EU\""},
        {"sdp": "two", "topics": ["a"], "secret": "", "info": "", "ttl": 60_000, "id": "mine"},
    ]);
    let ids = given.publish(&peer, offers).await;
    let shown = |peer: Value| {
        let mut one = json!({
            "id": ids[0], "sdp": "one\r\n", "topics": ["z/é", "a"], "expiresAt": NOW + 300_000,
            "lastSeen": NOW, "hasSecret": true, "info": "from \"EU\"",
        });
        let mut two = json!({
            "id": "mine", "sdp": "two", "topics": ["a"], "expiresAt": NOW + 60_000,
            "lastSeen": NOW, "hasSecret": false, "info": "",
        });
        if !peer.is_null() {
            (one["peerId"], two["peerId"]) = (peer.clone(), peer);
        }
        [two, one]
    };
    let found = given.look("/offers/by-topic/a").await;
    let wanted = json!({"topic": "a", "offers": shown(json!(peer.id)), "total": 2, "returned": 2});
    assert_eq!(found.whole(), (200, wanted));
    let found = given.look("/offers/by-topic/z%2F%C3%A9?limit=1").await;
    let [_, one] = shown(json!(peer.id));
    let wanted = json!({"topic": "z/é", "offers": [one], "total": 1, "returned": 1});
    assert_eq!(found.whole(), (200, wanted));
    let theirs = given.look(&format!("/peers/{}/offers", peer.id)).await;
    let wanted = json!({"peerId": peer.id, "offers": shown(Value::Null), "topics": ["a", "z/é"]});
    assert_eq!(theirs.whole(), (200, wanted));
    let nobody = given.look("/peers/no%2Fbody/offers").await;
    let wanted = json!({"peerId": "no/body", "offers": [], "topics": []});
    assert_eq!(nobody.whole(), (200, wanted));
    let nothing = given.look("/offers/by-topic/b").await;
    let wanted = json!({"topic": "b", "offers": [], "total": 0, "returned": 0});
    assert_eq!(nothing.whole(), (200, wanted));

    // Its peer also sees the secret, when each was made, and who answered.
    clock.advance(TimeDelta::milliseconds(5));
    let other = given.peer().await;
    let answered = given.answer(&other, "mine", "v=1").await;
    assert_eq!(answered, NOW + 5);
    let mine = given.get("/offers/mine", &peer).await;
    let [one, two] = [
        json!({
            "id": ids[0], "sdp": "one\r\n", "topics": ["z/é", "a"], "createdAt": NOW,
            "expiresAt": NOW + 300_000, "lastSeen": NOW, "secret": "hush", "info": "from \"EU\"",
        }),
        // No two of one peer were made at once.
        json!({
            "id": "mine", "sdp": "two", "topics": ["a"], "createdAt": NOW + 1,
            "expiresAt": NOW + 60_000, "lastSeen": NOW, "info": "",
            "answererPeerId": other.id, "answeredAt": NOW + 5,
        }),
    ];
    let wanted = json!({"peerId": peer.id, "offers": [two, one]});
    assert_eq!(mine.whole(), (200, wanted));
    let theirs = given.get("/offers/mine", &other).await;
    assert_eq!(theirs.whole(), (200, json!({"peerId": other.id, "offers": []})));
}

async fn times_to_live_are_exact(on: On) {
    let (given, _) = offers_frozen(on).await;
    let peer = given.peer().await;
    let wrong = "TTL must be a number";
    for (ttl, lives) in [
        (Value::Null, Ok(300_000)),
        (json!(0), Ok(300_000)),
        (json!("0"), Ok(300_000)),
        (json!(-1), Ok(60_000)),
        (json!(1), Ok(60_000)),
        (json!(59_999), Ok(60_000)),
        (json!(60_000), Ok(60_000)),
        (json!(60_001.9), Ok(60_001)),
        (json!("60002.9"), Ok(60_002)),
        (json!(" 70000 "), Ok(70_000)),
        (json!(86_400_000), Ok(86_400_000)),
        (json!(86_400_001), Ok(86_400_000)),
        (json!("1e300"), Ok(86_400_000)),
        (json!("soon"), Err(wrong)),
        (json!("60000ms"), Err(wrong)),
        (json!("NaN"), Err(wrong)),
        (json!("Infinity"), Err(wrong)),
        (json!([60_000]), Err(wrong)),
        (json!({}), Err(wrong)),
        (json!(true), Err(wrong)),
    ] {
        let body = json!({"offers": [{"sdp": "v=0", "topics": ["t"], "ttl": ttl}]});
        let made = given.post("/offers", &peer, &body).await;
        let met = match made.status {
            200 => Ok(made.body["offers"][0]["expiresAt"].as_i64().unwrap() - NOW),
            _ => Err(made.refusal().1),
        };
        assert_eq!(met, lives, "{ttl}");
    }
}

async fn the_same_once_more_lives_longer(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let peer = given.peer().await;
    let first = json!([{"sdp": "v=0", "topics": ["a", "b"], "info": "first", "secret": "s"}]);
    let ids = given.publish(&peer, first).await;
    clock.advance(TimeDelta::milliseconds(1000));
    // The order of topics is no part of what it says; twice in a request is no more than once.
    let again = json!([
        {"sdp": "v=0", "topics": ["b", "a"], "info": "again"},
        {"sdp": "v=0", "topics": ["b", "a"], "info": "again"},
    ]);
    let body = json!({"offers": again});
    let made = given.post("/offers", &peer, &body).await;
    let one = json!({
        "id": ids[0], "peerId": peer.id, "topics": ["b", "a"], "expiresAt": NOW + 301_000,
    });
    assert_eq!(made.whole(), (200, json!({"offers": [one, one]})));
    let mine = given.get("/offers/mine", &peer).await.body;
    let wanted = json!([{
        "id": ids[0], "sdp": "v=0", "topics": ["a", "b"], "createdAt": NOW,
        "expiresAt": NOW + 301_000, "lastSeen": NOW + 1000, "info": "again",
    }]);
    assert_eq!(mine["offers"], wanted);
    assert_eq!(given.look("/offers/by-topic/a").await.body["total"], 1);
    // Also when it has been answered: it stays so.
    let other = given.peer().await;
    let answered = given.answer(&other, &ids[0], "v=1").await;
    assert_eq!(given.post("/offers", &peer, &body).await.status, 200);
    assert_eq!(given.look("/offers/by-topic/a").await.body["total"], 0);
    let mine = given.get("/offers/mine", &peer).await.body;
    assert_eq!(mine["offers"][0]["answeredAt"], answered);
}

async fn an_offer_of_somebody_else_is_not_replaced(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    given.publish(&owner, json!([{"sdp": "v=0", "topics": ["t"], "id": "a/b c"}])).await;
    let taken = (409, json!({"error": "Offer already exists"}));
    let hashed = given.publish(&owner, json!([{"sdp": "hashed", "topics": ["t"]}])).await;
    for (peer, offers) in [
        (&other, json!([{"sdp": "v=0", "topics": ["t"], "id": "a/b c"}])),
        (&other, json!([{"sdp": "hashed", "topics": ["t"]}])),
        (&other, json!([{"sdp": "free", "topics": ["t"]}, {"sdp": "hashed", "topics": ["t"]}])),
        // Nor one's own by something else.
        (
            &owner,
            json!([{"sdp": "free", "topics": ["t"]}, {"sdp": "1", "topics": ["t"], "id": "a/b c"}]),
        ),
        (&owner, json!([{"sdp": "v=0", "topics": ["t", "u"], "id": "a/b c"}])),
        (
            &owner,
            json!([
                {"sdp": "1", "topics": ["t"], "id": "new"},
                {"sdp": "2", "topics": ["t"], "id": "new"},
            ]),
        ),
    ] {
        let refused = given.post("/offers", peer, &json!({"offers": offers})).await;
        assert_eq!(refused.whole(), taken, "{offers}");
    }
    // Nothing of what was refused is there.
    let found = given.look("/offers/by-topic/t").await.body;
    let found: Vec<_> = found["offers"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(found, [&json!(hashed[0]), &json!("a/b c")]);
    // What has expired is in nobody's way, swept or not.
    clock.advance(TimeDelta::milliseconds(300_000));
    let ids = json!([{"sdp": "v=1", "topics": ["t"], "id": "a/b c"}]);
    assert_eq!(given.publish(&other, ids).await, ["a/b c"]);
    let found = given.look("/offers/by-topic/t").await.body;
    assert_eq!((&found["total"], &found["offers"][0]["sdp"]), (&json!(1), &json!("v=1")));
}

async fn an_id_of_ones_own_names_the_offer_in_every_path(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    for (id, path) in [
        ("mine", "mine"),
        ("answers", "answers"),
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("é 😀?#", "%C3%A9%20%F0%9F%98%80%3F%23"),
        ("'; DROP TABLE offers; --", "'%3B%20DROP%20TABLE%20offers;%20--"),
    ] {
        given.publish(&owner, json!([{"sdp": id, "topics": ["t"], "id": id}])).await;
        let all = format!("/offers/{path}");
        let seen = given.send(Method::PUT, &format!("{all}/heartbeat"), Some(&owner), "").await;
        assert_eq!(seen.whole(), (200, json!({"id": id, "lastSeen": NOW})));
        let sdp = json!({"sdp": "v=1"});
        let answered = given.post(&format!("{all}/answer"), &other, &sdp).await;
        let at = answered.body["answeredAt"].clone();
        let wanted = json!({"offerId": id, "answererId": other.id, "answeredAt": at});
        assert_eq!(answered.whole(), (200, wanted));
        let candidates = json!({"candidates": [1]});
        let added = given.post(&format!("{all}/ice-candidates"), &owner, &candidates).await;
        assert_eq!(added.whole(), (200, json!({"offerId": id, "candidatesAdded": 1})));
        let read = given.get(&format!("{all}/ice-candidates"), &other).await;
        assert_eq!((read.status, &read.body["offerId"]), (200, &json!(id)));
        let deleted = given.send(Method::DELETE, &all, Some(&owner), "").await;
        assert_eq!(deleted.whole(), (200, json!({"deleted": true})), "{id}");
    }
}

async fn a_heartbeat_is_the_owners_and_ends_nothing_later(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let ids = given
        .publish(&owner, json!([{"sdp": "1", "topics": ["t"]}, {"sdp": "2", "topics": ["t"]}]))
        .await;
    let order = async || {
        let found = given.look("/offers/by-topic/t").await.body;
        let found = found["offers"].as_array().unwrap().clone();
        found.iter().map(|it| it["sdp"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order().await, ["2", "1"]);
    clock.advance(TimeDelta::milliseconds(7));
    let path = format!("/offers/{}/heartbeat", ids[0]);
    let beat = async |path: &str, peer: Option<&Peer>| {
        given.send(Method::PUT, path, peer, "").await.whole()
    };
    assert_eq!(beat(&path, Some(&owner)).await, (200, json!({"id": ids[0], "lastSeen": NOW + 7})));
    assert_eq!(order().await, ["1", "2"], "the one last seen first");
    let theirs = given.look("/offers/by-topic/t?limit=1").await.body;
    let wanted = json!({
        "id": ids[0], "peerId": owner.id, "sdp": "1", "topics": ["t"], "lastSeen": NOW + 7,
        "expiresAt": NOW + 300_000, "hasSecret": false,
    });
    assert_eq!(theirs["offers"], json!([wanted]));
    let missing = json!({"error": "Missing Authorization header"});
    let foreign = json!({"error": "Not authorized to update this offer"});
    let gone = json!({"error": "Offer not found or expired"});
    assert_eq!(beat(&path, None).await, (401, missing));
    assert_eq!(beat(&path, Some(&other)).await, (403, foreign));
    assert_eq!(beat("/offers/none/heartbeat", Some(&other)).await, (404, gone.clone()));
    clock.advance(TimeDelta::milliseconds(300_000 - 7));
    assert_eq!(beat(&path, Some(&owner)).await, (404, gone.clone()));
    assert_eq!(beat(&path, Some(&other)).await, (404, gone));
}

async fn an_offer_is_deleted_with_all_that_belongs_to_it(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let offer = json!([{"sdp": "1", "topics": ["t"], "id": "one"}]);
    let delete = async |peer: Option<&Peer>| {
        given.send(Method::DELETE, "/offers/one", peer, "").await.whole()
    };
    let deleted = (200, json!({"deleted": true}));
    let refused = (404, json!({"error": "Offer not found or not authorized"}));
    assert_eq!(delete(Some(&owner)).await, refused);
    given.publish(&owner, offer.clone()).await;
    given.answer(&other, "one", "v=1").await;
    given.add(&owner, "one", json!(["a"])).await;
    given.add(&other, "one", json!(["b"])).await;
    assert_eq!(delete(None).await, (401, json!({"error": "Missing Authorization header"})));
    assert_eq!(delete(Some(&other)).await, refused, "also for who answered it");
    assert_eq!(delete(Some(&owner)).await, deleted);
    assert_eq!(delete(Some(&owner)).await, refused);
    assert_eq!(given.get("/offers/answers", &owner).await.body, json!({"answers": []}));
    let path = "/offers/one/ice-candidates";
    let gone = (404, json!({"error": "Offer not found or expired"}));
    assert_eq!(given.get(path, &other).await.whole(), gone);
    // Who has the name next has nothing of it.
    given.publish(&owner, offer.clone()).await;
    assert_eq!(given.look("/offers/by-topic/t").await.body["total"], 1);
    let none = json!({"offerId": "one", "candidates": []});
    assert_eq!(given.get(path, &owner).await.whole(), (200, none));
    given.answer(&given.peer().await, "one", "v=2").await;
    // What has expired can be deleted as well, until it is swept.
    clock.advance(TimeDelta::milliseconds(300_001));
    assert_eq!(delete(Some(&other)).await, refused);
    assert_eq!(delete(Some(&owner)).await, deleted);
}

async fn an_offer_is_gone_at_the_very_millisecond(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    given
        .publish(
            &owner,
            json!([
                {"sdp": "1", "topics": ["t"], "ttl": 60_000, "id": "open"},
                {"sdp": "2", "topics": ["t"], "ttl": 60_000, "id": "done"},
            ]),
        )
        .await;
    given.answer(&other, "done", "v=1").await;
    given.add(&owner, "done", json!(["a"])).await;
    let count = async |path: &str, field: &str, peer: Option<&Peer>| {
        let read = given.send(Method::GET, path, peer, "").await;
        assert_eq!(read.status, 200, "{path}: {}", read.text);
        read.body[field].as_array().unwrap().len()
    };
    let theirs = format!("/peers/{}/offers", owner.id);
    let counts = async || {
        (
            count("/offers/by-topic/t", "offers", None).await,
            count("/topics", "topics", None).await,
            count(&theirs, "offers", None).await,
            count("/offers/mine", "offers", Some(&owner)).await,
            count("/offers/answers", "answers", Some(&owner)).await,
        )
    };
    clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(counts().await, (1, 1, 1, 2, 1));
    assert_eq!(count("/offers/done/ice-candidates", "candidates", Some(&other)).await, 1);
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(counts().await, (0, 0, 0, 0, 0));
    let total = given.look("/offers/by-topic/t").await.body["total"].clone();
    assert_eq!((total, &given.look("/topics").await.body["total"]), (json!(0), &json!(0)));
    let gone = json!({"error": "Offer not found or expired"});
    let body = json!({"sdp": "v=1", "candidates": ["b"]});
    let answer = given.post("/offers/open/answer", &other, &body).await;
    assert_eq!(answer.whole(), (400, gone.clone()), "of all that, an answer is a 400");
    let path = "/offers/done/ice-candidates";
    assert_eq!(given.post(path, &owner, &body).await.whole(), (404, gone.clone()));
    assert_eq!(given.get(path, &other).await.whole(), (404, gone));
}

on_each_store! {
    an_offer_is_named_by_what_it_says_and_topics_are_answered_as_sent,
    an_offer_is_shown_whole_to_everybody_but_for_its_secret,
    times_to_live_are_exact,
    the_same_once_more_lives_longer,
    an_offer_of_somebody_else_is_not_replaced,
    an_id_of_ones_own_names_the_offer_in_every_path,
    a_heartbeat_is_the_owners_and_ends_nothing_later,
    an_offer_is_deleted_with_all_that_belongs_to_it,
    an_offer_is_gone_at_the_very_millisecond,
}

#[tokio::test]
async fn a_path_is_what_it_says_to_the_letter() {
    let (given, _) = offers_frozen(On::Memory).await;
    let peer = given.peer().await;
    given.publish(&peer, json!([{"sdp": "v=0", "topics": ["a/b", "a b", "a+b", "a%2Fb"]}])).await;
    for (path, topic) in [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a%20b", "a b"),
        // A plus is a space in parameters only.
        ("a+b", "a+b"),
        ("a%252Fb", "a%2Fb"),
    ] {
        let found = given.look(&format!("/offers/by-topic/{path}")).await.body;
        assert_eq!((&found["topic"], &found["total"]), (&json!(topic), &json!(1)), "{path}");
    }
    for (method, path) in [
        (Method::GET, "/health/"),
        (Method::POST, "/register/"),
        (Method::GET, "/offers/mine/"),
        (Method::GET, "/offers/by-topic/a%2Fb/"),
        (Method::GET, "/offers/by-topic/a/b"),
        (Method::GET, "/offers/by-topic/"),
        (Method::GET, "/Offers/mine"),
        // Of another method there is no route.
        (Method::GET, "/register"),
        (Method::GET, "/offers"),
        (Method::POST, "/topics"),
        (Method::PUT, "/offers/x"),
        (Method::PATCH, "/offers/x"),
    ] {
        let answer = given.send(method.clone(), path, Some(&peer), "{}").await;
        assert_eq!((answer.status, &*answer.text), (404, "404 Not Found"), "{method} {path}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=UTF-8", "{path}");
        assert_eq!(answer.headers["access-control-allow-credentials"], "true", "{path}");
    }
    let (got, head) = (
        given.look("/offers/by-topic/a%2Fb").await,
        given.request(Method::HEAD, "/offers/by-topic/a%2Fb"),
    );
    let head = super::given::answer(head).await;
    assert_eq!((head.status, &*head.text), (200, ""));
    for name in ["content-type", "content-length", "vary", "access-control-allow-credentials"] {
        assert_eq!(head.headers.get(name), got.headers.get(name), "{name}");
    }
}
