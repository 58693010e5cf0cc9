//! The client's calls of the protocol `rpc`, one after the other and together.

use std::net::SocketAddr;

use nxmesh_client::rendezvous::{
    AddIceCandidates, AnswerOffer, CountOffersByTags, DeleteOffer, Discover, DiscoverOne,
    GetIceCandidates, GetOfferAnswer, KeyPair, NewRpcOffer, Poll, PublishOffer, RendezvousClient,
    Role, UpdateOfferTags,
};
use nxmesh_core::{rendezvous::Rendezvous, store::memory::MemoryRendezvous};
use nxmesh_server::rendezvous::{RendezvousHttpSettings, all};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

#[tokio::test]
async fn two_keys_meet_by_the_typed_calls() {
    let rendezvous = Rendezvous::builder().store(MemoryRendezvous::new()).build().unwrap();
    let routes = all(&rendezvous, &RendezvousHttpSettings::default());
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}/rendezvous", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let client = RendezvousClient::new(at).unwrap();
    let (one, other) = (client.rpc(KeyPair::generate()), client.rpc(KeyPair::generate()));
    let tags = vec!["movie-xyz".to_owned()];

    let none = other.call(&DiscoverOne { tags: tags.clone() }).await.unwrap_err();
    assert_eq!(none.to_string(), "No offers found matching tags (OFFER_NOT_FOUND)");
    let publish = |sdp: &str, ttl| PublishOffer {
        tags: tags.clone(),
        offers: vec![NewRpcOffer { sdp: sdp.to_owned() }],
        ttl,
    };
    // Several as one request, of which one fails.
    let mut batch = one.batch();
    let first = batch.add(&publish("v=0\r\n é😀", None)).unwrap();
    let second = batch.add(&publish("v=1", Some(300_000))).unwrap();
    let bad = batch.add(&UpdateOfferTags { tags: vec!["NOT A TAG".into()] }).unwrap();
    let mut answers = batch.send().await.unwrap();
    let first = answers.take(first).unwrap().offers.remove(0);
    let second = answers.take(second).unwrap().offers.remove(0);
    let bad = answers.take(bad).unwrap_err();
    assert_eq!(bad.rendezvous().unwrap().code.as_deref(), Some("INVALID_TAG"));

    let page = Discover { tags: tags.clone(), limit: 10, offset: 0 };
    let found = other.call(&page).await.unwrap();
    assert_eq!((found.count, found.offers.len()), (2, 2));
    assert!(found.offers.iter().all(|it| it.public_key == one.public_key().as_str()));
    assert_eq!(one.call(&page).await.unwrap().offers, [], "one's own are left out");
    let count = CountOffersByTags { tags: tags.clone(), unique: Some(true) };
    assert_eq!(other.call(&count).await.unwrap().counts["movie-xyz"], 1);
    one.call(&DeleteOffer { offer_id: second.offer_id }).await.unwrap();
    let left = other.call(&DiscoverOne { tags }).await.unwrap();
    assert_eq!((&left.offer_id, left.sdp.as_str()), (&first.offer_id, "v=0\r\n é😀"));
    assert_eq!(one.call(&UpdateOfferTags { tags: vec!["hd".into()] }).await.unwrap().count, 1);

    let offer_id = first.offer_id;
    let candidates = vec![json!({"candidate": "c", "sdpMLineIndex": 0})];
    let early = AddIceCandidates { offer_id: offer_id.clone(), candidates: candidates.clone() };
    assert_eq!(one.call(&early).await.unwrap().count, 1);
    let ask = GetOfferAnswer { offer_id: offer_id.clone() };
    let not_yet = one.call(&ask).await.unwrap_err();
    assert!(not_yet.to_string().contains("not yet answered"), "{not_yet}");
    let answer = AnswerOffer { offer_id: offer_id.clone(), sdp: "v=2".into(), matched_tags: None };
    other.call(&answer).await.unwrap();
    let twice = other.call(&answer).await.unwrap_err();
    assert!(twice.rendezvous().unwrap().is_already_answered(), "{twice}");
    assert_eq!(one.call(&ask).await.unwrap().sdp, "v=2");
    other.call(&early).await.unwrap();

    let polled = one.call(&Poll { since: None }).await.unwrap();
    assert_eq!(polled.answers[0].answerer_public_key, other.public_key().as_str());
    let theirs = &polled.ice_candidates[&offer_id];
    assert_eq!((theirs[0].role, &theirs[0].candidate), (Role::Answerer, &candidates[0]));
    let again = one.call(&Poll { since: polled.last() }).await.unwrap();
    assert_eq!((again.answers.len(), again.ice_candidates.len()), (0, 0));
    let read = other.call(&GetIceCandidates { offer_id, since: None }).await.unwrap();
    assert_eq!((read.candidates[0].role, read.candidates.len()), (Role::Offerer, 1));
}
