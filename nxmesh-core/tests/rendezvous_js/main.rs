//! What peers compute themselves comes out the same in JavaScript, which they are written in.

#![cfg(feature = "rendezvous")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod js;
mod random;

use std::time::Duration;

use nxmesh_core::rendezvous::{
    CredentialKey, CredentialKeys, PeerFilter, PublicKey, TurnKey, canonical_json, offer_id, verify,
};
use serde_json::{Value, json};

use self::{js::ask, random::Random};

/// How many values of each kind.
const MANY: usize = 10_000;
/// Of what takes a signature or a cipher.
const SOME: usize = 1_000;

#[test]
fn filters_are_those_of_javascript() {
    let mut random = Random::new();
    let peer =
        |random: &mut Random| if random.below(2) == 0 { random.hex(32) } else { random.text(20) };
    let cases: Vec<_> = (0..MANY)
        .map(|_| {
            let size = 1 + random.below(100);
            let peers: Vec<_> = (0..random.below(30)).map(|_| peer(&mut random)).collect();
            let others: Vec<_> = (0..4).map(|_| peer(&mut random)).collect();
            (size, peers, others)
        })
        .collect();
    let question = |(size, peers, others): &(usize, Vec<String>, Vec<String>)| json!({"what": "filter", "size": size, "peers": peers, "others": others});
    let mut hits = 0;
    for ((size, peers, others), answer) in cases.iter().zip(ask(cases.iter().map(question))) {
        let mut filter = PeerFilter::new(size * 8);
        peers.iter().for_each(|it| filter.insert(it));
        let found: Vec<_> = others.iter().map(|it| filter.contains(it)).collect();
        hits += found.iter().filter(|it| **it).count();
        assert_eq!(answer, json!({"filter": filter.to_base64(), "in": found}), "{size} {peers:?}");
    }
    assert!(hits > 100, "hardly anybody was in a filter: {hits}");
}

#[test]
fn offer_ids_are_those_of_javascript() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..MANY)
        .map(|_| {
            let topics: Vec<_> = (0..1 + random.below(6)).map(|_| random.text(6)).collect();
            (random.text(60), topics)
        })
        .collect();
    let question = |(sdp, topics): &(String, Vec<String>)| json!({"what": "offer", "sdp": sdp, "topics": topics});
    for ((sdp, topics), answer) in cases.iter().zip(ask(cases.iter().map(question))) {
        assert_eq!(answer, offer_id(sdp, topics), "{sdp:?} {topics:?}");
    }
}

#[test]
fn canonical_json_is_that_of_javascript() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..MANY).map(|_| random.json(4)).collect();
    let question = |text: &String| json!({"what": "canonical", "text": text});
    for (text, answer) in cases.iter().zip(ask(cases.iter().map(question))) {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(answer, canonical_json(&value).unwrap(), "{text}");
    }
}

#[test]
fn base64_is_read_as_javascript_does() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..MANY).map(|_| random.base64(12)).collect();
    let question = |text: &String| json!({"what": "atob", "text": text});
    let mut refused = 0;
    for (text, answer) in cases.iter().zip(ask(cases.iter().map(question))) {
        // A filter is the one place where what was read is seen again.
        let read = PeerFilter::parse(text).ok().map(|it| it.to_base64());
        let wanted = answer.as_str().map(js::base64_of_hex);
        refused += usize::from(wanted.is_none());
        assert_eq!(read, wanted, "{text:?}");
    }
    assert!((MANY / 10..MANY * 9 / 10).contains(&refused), "{refused} were refused");
}

#[test]
fn credentials_are_read_and_made_as_javascript_does() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..SOME)
        .map(|_| {
            let key = random.hex(64);
            let keys = CredentialKeys::new(CredentialKey::parse(&key).unwrap(), None);
            let made = keys.issue().unwrap();
            (key, keys, made)
        })
        .collect();
    let questions = cases.iter().map(|(key, _, made)| {
        let secret = made.secret.expose();
        json!({"what": "credential", "key": key, "peer": made.peer_id, "secret": secret})
    });
    for ((_, keys, made), answer) in cases.iter().zip(ask(questions)) {
        assert_eq!(answer["opened"], made.peer_id);
        assert!(keys.check(&made.peer_id, answer["made"].as_str().unwrap()), "{answer}");
        assert_ne!(answer["made"], *made.secret.expose());
    }
}

#[test]
fn signatures_are_read_as_javascript_makes_them() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..SOME).map(|_| (random.hex(64), random.text(80))).collect();
    let question = |(seed, message): &(String, String)| json!({"what": "signature", "seed": seed, "message": message});
    for ((_, message), answer) in cases.iter().zip(ask(cases.iter().map(question))) {
        let key = PublicKey::parse(answer["key"].as_str().unwrap()).unwrap();
        let signature = answer["signature"].as_str().unwrap();
        assert!(verify(&key, message, signature), "{message:?} {answer}");
        assert!(!verify(&key, &format!("{message} "), signature), "{message:?} {answer}");
    }
}

#[test]
fn credentials_of_turn_are_those_of_javascript() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..SOME)
        .map(|at| {
            let (key, peer) = (format!("k{}", random.text(90)), random.hex(32));
            let now = 1_700_000_000_000 + i64::try_from(at).unwrap();
            let made = TurnKey::parse(&key).unwrap().issue(&peer, now, Duration::from_secs(600));
            (key, made)
        })
        .collect();
    let questions = cases
        .iter()
        .map(|(key, made)| json!({"what": "turn", "key": key, "username": made.username}));
    for ((key, made), answer) in cases.iter().zip(ask(questions)) {
        assert_eq!(answer, *made.credential.expose(), "{key:?} {}", made.username);
    }
}
