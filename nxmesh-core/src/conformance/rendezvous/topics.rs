//! What a store of rendezvous promises of topics.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "the names say it, and they panic to fail"
)]

use super::given::{
    END, HERE, NOW, Store, all_topics, answered, by_topic, count, ids, in_topics, made, make,
    offer, ok, publish, texts, topics,
};
use crate::rendezvous::{
    NewOffer, OfferPage, OfferQuery, PeerFilter, TopicOrder, TopicPage, TopicQuery,
};

pub async fn open_offers_are_listed_the_last_seen_first_then_the_newest(store: &Store) {
    let peers = ["ann", "bob", "ann", "cem", "bob"];
    for (peer, id) in peers.into_iter().zip(["1", "2", "3", "4", "5"]) {
        made(store, peer, id, &["t"]).await;
    }
    let listed = async || {
        let page = by_topic(store, in_topics(&["t"], NOW + 5)).await;
        assert_eq!(page.total, page.offers.len() as u64);
        ids(&page.offers).join(" ")
    };
    assert_eq!(listed().await, "5 4 3 2 1");
    ok(store.heartbeat(&HERE, "2", "bob", NOW + 2).await);
    ok(store.heartbeat(&HERE, "1", "ann", NOW + 1).await);
    assert_eq!(listed().await, "2 1 5 4 3");
    ok(store.heartbeat(&HERE, "4", "cem", NOW + 2).await);
    assert_eq!(listed().await, "4 2 1 5 3", "seen together, the newest first");
    answered(store, "2", "ann", NOW + 3).await;
    assert!(ok(store.delete_offer(&HERE, "5", "bob").await));
    assert_eq!(listed().await, "4 1 3", "open ones only");
}

pub async fn offers_are_listed_in_pages(store: &Store) {
    let all: Vec<_> = (0..57).map(|it| offer(&format!("{it:02}"), &["t", "u"])).collect();
    make(store, publish("ann", all, NOW)).await;
    let expected: Vec<_> = (0..57).rev().map(|it| format!("{it:02}")).collect();
    for topics in [&["t"][..], &["u", "t"]] {
        let mut seen = Vec::new();
        for offset in (0..70).step_by(10) {
            let query = OfferQuery { offset, limit: 10, ..in_topics(topics, NOW) };
            let page = by_topic(store, query).await;
            assert_eq!(page.total, 57);
            seen.extend(page.offers.into_iter().map(|it| it.id));
        }
        assert_eq!(seen, expected);
    }
    let none = OfferQuery { limit: 0, ..in_topics(&["t"], NOW) };
    assert_eq!(by_topic(store, none).await, OfferPage { offers: Vec::new(), total: 57 });
    let last = OfferQuery { offset: u32::MAX, limit: u32::MAX, ..in_topics(&["t"], NOW) };
    assert_eq!(by_topic(store, last).await, OfferPage { offers: Vec::new(), total: 57 });
    let all = OfferQuery { limit: u32::MAX, ..in_topics(&["t"], NOW) };
    assert_eq!(by_topic(store, all).await.offers.len(), 57);
}

pub async fn an_offer_of_several_topics_is_listed_once(store: &Store) {
    made(store, "ann", "1", &["a", "b"]).await;
    made(store, "bob", "2", &["b", "c"]).await;
    made(store, "cem", "3", &["c"]).await;
    made(store, "dan", "4", &["a"]).await;
    for (asked, listed, total) in [
        (&["a"][..], &["4", "1"][..], 2),
        (&["a", "b"], &["4", "2", "1"], 2),
        (&["b", "a", "c", "b"], &["4", "3", "2", "1"], 2),
        (&["nothing", "c"], &["3", "2"], 0),
        (&["A"], &[], 0),
        (&[], &[], 0),
    ] {
        let page = by_topic(store, in_topics(asked, NOW)).await;
        assert_eq!((ids(&page.offers), page.total), (listed.to_vec(), total), "{asked:?}");
    }
    let second = OfferQuery { offset: 1, limit: 2, ..in_topics(&["a", "b", "c"], NOW) };
    assert_eq!(ids(&by_topic(store, second).await.offers), ["3", "2"]);
}

pub async fn a_query_leaves_out_whom_it_says_and_counts_all(store: &Store) {
    for (peer, id) in [("ann", "a"), ("bob", "b"), ("cem", "c"), ("dan", "d"), ("bob", "e")] {
        made(store, peer, id, &["t"]).await;
    }
    let mut filter = PeerFilter::new(4096);
    filter.insert("bob");
    let all = in_topics(&["t"], NOW);
    let not_of = OfferQuery { not_of: Some("cem".to_owned()), ..all.clone() };
    let page = by_topic(store, not_of.clone()).await;
    assert_eq!((ids(&page.offers), page.total), (vec!["e", "d", "b", "a"], 5));
    let excluded = OfferQuery { excluded: Some(filter), ..all.clone() };
    let page = by_topic(store, excluded.clone()).await;
    assert_eq!((ids(&page.offers), page.total), (vec!["d", "c", "a"], 5));
    let both = OfferQuery { not_of: Some("cem".to_owned()), ..excluded };
    let page = by_topic(store, both.clone()).await;
    assert_eq!((ids(&page.offers), page.total), (vec!["d", "a"], 5));
    let page = by_topic(store, OfferQuery { offset: 1, limit: 1, ..both }).await;
    assert_eq!((ids(&page.offers), page.total), (vec!["a"], 5), "who is left out is on no page");
    let nobody = OfferQuery { excluded: Some(PeerFilter::new(0)), ..all };
    assert_eq!(by_topic(store, nobody).await.offers.len(), 5, "it excludes nobody");
}

pub async fn a_page_is_found_behind_many_that_are_left_out(store: &Store) {
    made(store, "bob", "wanted", &["t"]).await;
    let of_ann = |from: u32| (from..from + 100).map(|it| offer(&format!("{it}"), &["t"])).collect();
    for from in [0, 100, 200, 300, 400, 500] {
        make(store, publish("ann", of_ann(from), NOW)).await;
    }
    let mut filter = PeerFilter::new(4096);
    filter.insert("ann");
    let all = in_topics(&["t"], NOW);
    let queries = [
        OfferQuery { excluded: Some(filter), limit: 1, ..all.clone() },
        OfferQuery { not_of: Some("ann".to_owned()), limit: 1, ..all },
    ];
    for query in queries {
        let page = by_topic(store, query).await;
        assert_eq!((ids(&page.offers), page.total), (vec!["wanted"], 601));
    }
}

/// Offers in topics that are named oddly: how many there are by how many peers.
const NAMES: [(&str, &[&str]); 8] = [
    ("b", &["ann", "bob", "cem"]),
    ("a", &["ann", "bob", "cem"]),
    ("B", &["ann", "ann", "ann", "ann"]),
    ("%", &["ann", "bob"]),
    ("_x", &["ann"]),
    ("é", &["ann"]),
    ("\u{E000}", &["ann"]),
    ("\u{1F600}", &["ann"]),
];

async fn many(store: &Store) {
    for (topic, peers) in NAMES {
        for (at, peer) in peers.iter().enumerate() {
            made(store, peer, &format!("{topic} {at}"), &[topic]).await;
        }
    }
}

fn names(page: &TopicPage) -> Vec<&str> {
    page.topics.iter().map(|it| it.topic.as_str()).collect()
}

pub async fn topics_are_listed_by_peers_then_name_or_by_the_bytes_of_the_name(store: &Store) {
    many(store).await;
    let page = topics(store, all_topics(TopicOrder::MostPeers, NOW)).await;
    let by_peers = ["a", "b", "%", "B", "_x", "é", "\u{E000}", "\u{1F600}"];
    assert_eq!((names(&page), page.total), (by_peers.to_vec(), 8));
    assert_eq!(page.topics[0], count("a", 3, 3));
    assert_eq!(page.topics[3], count("B", 4, 1), "peers are counted once");
    let page = topics(store, all_topics(TopicOrder::Name, NOW)).await;
    let by_name = ["%", "B", "_x", "a", "b", "é", "\u{E000}", "\u{1F600}"];
    assert_eq!((names(&page), page.total), (by_name.to_vec(), 8));
    for (order, expected) in [(TopicOrder::MostPeers, by_peers), (TopicOrder::Name, by_name)] {
        for offset in 0..9 {
            let query = TopicQuery { offset, limit: 3, ..all_topics(order, NOW) };
            let page = topics(store, query).await;
            let rest = &expected[offset as usize..];
            assert_eq!((names(&page), page.total), (rest[..rest.len().min(3)].to_vec(), 8));
        }
        let far = TopicQuery { offset: i64::MAX as u64, ..all_topics(order, NOW) };
        assert_eq!(topics(store, far).await, TopicPage { topics: Vec::new(), total: 8 });
        let none = TopicQuery { limit: 0, ..all_topics(order, NOW) };
        assert_eq!(topics(store, none).await, TopicPage { topics: Vec::new(), total: 8 });
    }
}

pub async fn a_prefix_is_plain_text_with_ascii_letters_in_either_case(store: &Store) {
    let all =
        ["Chat-1", "chat-2", "CHAT", "cha_", "cha%", "chax", "école", "École", "ch\u{10FFFF}"];
    for (at, topic) in all.into_iter().enumerate() {
        for peer in 0..=at {
            made(store, &format!("peer {peer}"), &format!("{topic} {peer}"), &[topic]).await;
        }
    }
    for (prefix, expected) in [
        ("chat", &["CHAT", "Chat-1", "chat-2"][..]),
        ("ChA", &["CHAT", "Chat-1", "cha%", "cha_", "chat-2", "chax"]),
        ("cha_", &["cha_"]),
        ("cha%", &["cha%"]),
        ("%", &[]),
        ("_", &[]),
        ("é", &["école"]),
        ("É", &["École"]),
        ("CH\u{10FFFF}", &["ch\u{10FFFF}"]),
        ("chat-12", &[]),
        ("\u{10FFFF}", &[]),
    ] {
        let query = TopicQuery { prefix: prefix.to_owned(), ..all_topics(TopicOrder::Name, NOW) };
        let page = topics(store, query.clone()).await;
        assert_eq!((names(&page), page.total), (expected.to_vec(), expected.len() as u64));
        let query = TopicQuery { order: TopicOrder::MostPeers, ..query };
        let page = topics(store, query.clone()).await;
        let mut by_peers = expected.to_vec();
        by_peers.sort_by_key(|it| std::cmp::Reverse(all.iter().position(|other| other == it)));
        assert_eq!((names(&page), page.total), (by_peers.clone(), expected.len() as u64));
        let second = topics(store, TopicQuery { offset: 1, limit: 1, ..query }).await;
        let expected: Vec<_> = by_peers.into_iter().skip(1).take(1).collect();
        assert_eq!((names(&second), second.total), (expected, page.total));
    }
}

pub async fn long_names_are_told_apart_by_their_ends(store: &Store) {
    let long = |end: &str| format!("{}{end}", "lÖng".repeat(63));
    let all = ["a", "B", "b", "", "\u{1F600}"].map(long);
    let names_then: Vec<&str> = all.iter().map(String::as_str).collect();
    made(store, "ann", "one", &names_then).await;
    made(store, "bob", "two", &[&all[2]]).await;
    let mut sorted = names_then.clone();
    sorted.sort_unstable();
    for offset in 0..5 {
        let query = TopicQuery { offset, limit: 2, ..all_topics(TopicOrder::Name, NOW) };
        let rest = &sorted[offset as usize..];
        assert_eq!(names(&topics(store, query).await), rest[..rest.len().min(2)]);
    }
    let shouted = |end: &str| long(end).replace("lÖng", "LÖNG");
    for (prefix, expected) in [
        (long(""), sorted.clone()),
        (shouted(""), sorted.clone()),
        (shouted("b"), vec![&*all[1], &*all[2]]),
        (shouted("c"), vec![]),
    ] {
        let query = TopicQuery { prefix, ..all_topics(TopicOrder::Name, NOW) };
        let page = topics(store, query.clone()).await;
        assert_eq!((names(&page), page.total), (expected.clone(), expected.len() as u64));
        let query = TopicQuery { order: TopicOrder::MostPeers, limit: 1, ..query };
        let page = topics(store, query).await;
        let first = expected.contains(&&*all[2]).then_some(&*all[2]);
        assert_eq!(names(&page), first.into_iter().collect::<Vec<_>>());
    }
}

pub async fn topics_without_open_offers_are_not_listed(store: &Store) {
    made(store, "ann", "1", &["a", "b"]).await;
    made(store, "ann", "2", &["b"]).await;
    let short = NewOffer { expires_at: NOW + 5, ..offer("3", &["b", "c"]) };
    make(store, publish("bob", vec![short], NOW)).await;
    let listed = async |now| topics(store, all_topics(TopicOrder::Name, now)).await.topics;
    assert_eq!(listed(NOW).await, [count("a", 1, 1), count("b", 3, 2), count("c", 1, 1)]);
    answered(store, "1", "bob", NOW).await;
    assert_eq!(listed(NOW).await, [count("b", 2, 2), count("c", 1, 1)]);
    assert_eq!(listed(NOW + 5).await, [count("b", 1, 1)]);
    assert!(ok(store.delete_offer(&HERE, "2", "ann").await));
    let page = topics(store, all_topics(TopicOrder::MostPeers, NOW + 5)).await;
    assert_eq!(page, TopicPage::default());
}

pub async fn counts_are_told_in_the_order_asked_without_what_is_ones_own(store: &Store) {
    made(store, "ann", "1", &["a", "b"]).await;
    made(store, "ann", "2", &["a"]).await;
    made(store, "bob", "3", &["a"]).await;
    let asked = texts(&["b", "nothing", "a", "b"]);
    for (not_of, a, b) in [
        (None, (3, 2), (1, 1)),
        (Some("ann"), (1, 1), (0, 0)),
        (Some("bob"), (2, 1), (1, 1)),
        (Some("cem"), (3, 2), (1, 1)),
    ] {
        let told = ok(store.topic_counts(&HERE, &asked, not_of, NOW).await);
        let b = count("b", b.0, b.1);
        assert_eq!(told, [b.clone(), count("nothing", 0, 0), count("a", a.0, a.1), b]);
    }
    let told = ok(store.topic_counts(&HERE, &asked[..1], Some("bob"), END).await);
    assert_eq!(told, [count("b", 0, 0)]);
    assert_eq!(ok(store.topic_counts(&HERE, &[], None, NOW).await), []);
}
