//! Long lists and long names.

use std::sync::Arc;

use nxmesh_core::{
    conformance::rendezvous::given::{
        NOW, Store, all_topics, by_topic, ids, in_topics, make, offer, publish, topics,
    },
    rendezvous::{NewOffer, OfferQuery, PeerFilter, Publish, Realm, TopicOrder, TopicQuery},
};

use crate::open;

#[tokio::test(flavor = "multi_thread")]
async fn many_are_passed_over_where_a_filter_leaves_them_out() {
    let (store, _database) = open().await;
    let store: Store = Arc::new(store);
    let mut filter = PeerFilter::new(PeerFilter::MAX_BYTES * 8);
    let all = (0..1300).map(|it| offer(&format!("{it}"), &["t", "u"]));
    for offer in all {
        let peer = format!("peer {}", offer.id);
        if !offer.id.ends_with("99") {
            filter.insert(&peer);
        }
        make(&store, publish(&peer, vec![offer], NOW)).await;
    }
    let query = OfferQuery {
        excluded: Some(filter),
        offset: 2,
        limit: 9,
        ..in_topics(&["t", "u", "v"], NOW)
    };
    let page = by_topic(&store, query).await;
    // Thirteen end so, and the newest two are left out.
    let expected = ["1099", "999", "899", "799", "699", "599", "499", "399", "299"];
    assert_eq!((ids(&page.offers), page.total), (expected.to_vec(), 1300));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_length_are_found() {
    let (store, _database) = open().await;
    let store: Store = Arc::new(store);
    // Random enough that no index makes them short.
    let long = |seed: u32| -> String {
        let mut it = seed;
        let next = |_| {
            it = it.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x4E00 + (it >> 16) % 0x5000).unwrap()
        };
        (0..4000).map(next).collect()
    };
    let realm = Realm::Origin(long(1));
    let (id, peer) = (long(2), long(3));
    // They differ at their ends only.
    let names = [format!("{}Y", long(4)), format!("{}x", long(4)), format!("{}\0", long(4))];
    let new = NewOffer { topics: names.to_vec(), ..offer(&id, &[]) };
    let made = Publish { realm: realm.clone(), ..publish(&peer, vec![new], NOW) };
    make(&store, made).await;
    for order in [TopicOrder::Name, TopicOrder::MostPeers] {
        for prefix in [String::new(), long(4), format!("{}X", long(4))] {
            let query = TopicQuery {
                realm: realm.clone(),
                prefix: prefix.clone(),
                ..all_topics(order, NOW)
            };
            let listed = topics(&store, query).await.topics;
            let mut expected = names.to_vec();
            expected.sort();
            if prefix.ends_with('X') {
                expected.retain(|it| it.ends_with('x'));
            }
            assert_eq!(
                listed.iter().map(|it| &it.topic).collect::<Vec<_>>(),
                expected.iter().collect::<Vec<_>>()
            );
        }
    }
    let query = OfferQuery { realm, topics: vec![names[2].clone()], ..in_topics(&[], NOW) };
    let page = by_topic(&store, query).await;
    assert_eq!((page.total, page.offers[0].peer == peer), (1, true));
}
