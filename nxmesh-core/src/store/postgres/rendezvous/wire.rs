//! How news are written in notifications.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::rendezvous::{Expired, Realm, RendezvousNews};

/// How long a notification may be: Postgres takes 8000 bytes, with the end of the text.
const MAX_BYTES: usize = 7900;
/// What a notification is without its items.
const FRAME: usize = 150;

/// One piece of news, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Item {
    Delivered { realm: String, to: String },
    Published { realm: String, id: String, topics: Vec<String> },
    Expired { realm: String, id: String, peer: String },
    Missed,
}

impl Item {
    /// An offer, in as many pieces as it takes for each to fit.
    fn published(realm: &str, id: &str, topics: &[String]) -> Vec<Self> {
        let whole =
            Self::Published { realm: realm.to_owned(), id: id.to_owned(), topics: topics.to_vec() };
        if topics.len() < 2 || whole.fits() {
            return vec![whole];
        }
        let (some, others) = topics.split_at(topics.len() / 2);
        let pieces = [some, others].map(|it| Self::published(realm, id, it));
        pieces.concat()
    }

    /// How much room it takes, with what parts it from the next one.
    fn bytes(&self) -> usize {
        json(self).len() + 1
    }

    fn fits(&self) -> bool {
        FRAME + self.bytes() <= MAX_BYTES
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Notification {
    pub(super) from: Uuid,
    /// One more than that of the notification before.
    pub(super) number: u64,
    pub(super) items: Vec<Item>,
    /// It is the last one.
    pub(super) leaves: bool,
}

impl Notification {
    /// All that is to be said, as payloads: at least one.
    pub(super) fn all(from: Uuid, number: &mut u64, items: Vec<Item>, leaves: bool) -> Vec<String> {
        let mut parts: Vec<Vec<Item>> = vec![Vec::new()];
        let mut length = FRAME;
        for item in items {
            // There may be no room for a very long topic.
            let item = if item.fits() { item } else { Item::Missed };
            let size = item.bytes();
            if length + size > MAX_BYTES {
                parts.push(Vec::new());
                length = FRAME;
            }
            length += size;
            parts.last_mut().into_iter().for_each(|it| it.push(item.clone()));
        }
        let last = parts.len();
        let payloads = parts.into_iter().zip(1..).map(|(items, at)| {
            *number += 1;
            json(&Self { from, number: *number, items, leaves: leaves && at == last })
        });
        payloads.collect()
    }
}

fn json(value: &impl Serialize) -> String {
    // It has no maps, and nothing that fails.
    serde_json::to_string(value).unwrap_or_default()
}

/// News, piece by piece.
pub(super) fn items(news: &RendezvousNews) -> Vec<Item> {
    match news {
        RendezvousNews::Delivered { realm, to } => {
            vec![Item::Delivered { realm: realm.to_text(), to: to.to_string() }]
        }
        RendezvousNews::Published { realm, offers } => {
            let realm = realm.to_text();
            offers.iter().flat_map(|(id, topics)| Item::published(&realm, id, topics)).collect()
        }
        RendezvousNews::Expired(expired) => {
            let expired = expired.iter().map(|Expired { realm, id, peer }| Item::Expired {
                realm: realm.to_text(),
                id: id.clone(),
                peer: peer.clone(),
            });
            expired.collect()
        }
        RendezvousNews::Missed => vec![Item::Missed],
    }
}

/// The id of an offer, with its topics.
type Listed = (String, Vec<String>);

/// The news that these pieces are, as few as possible. Of realms that this program does not know there are
/// none.
pub(super) fn together(items: Vec<Item>) -> Vec<RendezvousNews> {
    let mut news = Vec::new();
    let mut gone = Vec::new();
    let mut published: Vec<(Realm, Vec<Listed>)> = Vec::new();
    for item in items {
        match item {
            Item::Missed => news.push(RendezvousNews::Missed),
            Item::Delivered { realm, to } => {
                if let Some(realm) = Realm::parse(&realm) {
                    news.push(RendezvousNews::Delivered { realm, to: to.into() });
                }
            }
            Item::Expired { realm, id, peer } => {
                if let Some(realm) = Realm::parse(&realm) {
                    gone.push(Expired { realm, id, peer });
                }
            }
            Item::Published { realm, id, topics } => {
                let Some(realm) = Realm::parse(&realm) else { continue };
                match published.iter_mut().find(|(of, _)| *of == realm) {
                    Some((_, offers)) => offers.push((id, topics)),
                    None => published.push((realm, vec![(id, topics)])),
                }
            }
        }
    }
    if !gone.is_empty() {
        news.push(RendezvousNews::Expired(gone.into()));
    }
    let published = published.into_iter();
    news.extend(
        published.map(|(realm, offers)| RendezvousNews::Published { realm, offers: offers.into() }),
    );
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_fits_and_is_understood() {
        let long = "\u{0}".repeat(600);
        let realm = Realm::Origin("https://example.com".into());
        let offers: Vec<_> =
            (0..40).map(|it| (format!("{it}{long}"), vec!["a".into(), "b".into()])).collect();
        let news = RendezvousNews::Published { realm, offers: offers.clone().into() };
        let mut number = 7;
        let payloads = Notification::all(Uuid::nil(), &mut number, items(&news), true);
        assert_eq!(number, 7 + payloads.len() as u64);
        let mut heard = Vec::new();
        for (payload, at) in payloads.iter().zip(1..) {
            assert!(payload.len() < 8000);
            let said: Notification = serde_json::from_str(payload).unwrap();
            assert_eq!((said.number, said.leaves), (7 + at as u64, at == payloads.len()));
            for news in together(said.items) {
                let RendezvousNews::Published { offers, .. } = news else { panic!("{news:?}") };
                heard.extend(offers.iter().cloned());
            }
        }
        assert_eq!(heard, offers);
    }

    #[test]
    fn an_offer_of_many_long_topics_is_said_in_pieces() {
        let topics: Vec<_> = (0..50).map(|it| format!("{it}{}", "\u{1}".repeat(254))).collect();
        let offers = vec![("id".to_owned(), topics.clone())];
        let news = RendezvousNews::Published { realm: Realm::Rpc, offers: offers.into() };
        let payloads = Notification::all(Uuid::nil(), &mut 0, items(&news), false);
        let mut heard = Vec::new();
        for payload in payloads {
            assert!(payload.len() < 8000);
            let said: Notification = serde_json::from_str(&payload).unwrap();
            for news in together(said.items) {
                let RendezvousNews::Published { offers, .. } = news else { panic!("{news:?}") };
                let of_one = offers.iter().flat_map(|(id, topics)| {
                    assert_eq!(id, "id");
                    topics.clone()
                });
                heard.extend(of_one);
            }
        }
        assert_eq!(heard, topics);
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_missed() {
        let topics = vec!["t".repeat(8000)];
        let offers = vec![("id".to_owned(), topics)];
        let news = RendezvousNews::Published { realm: Realm::Rpc, offers: offers.into() };
        let payloads = Notification::all(Uuid::nil(), &mut 0, items(&news), false);
        assert_eq!(payloads.len(), 1);
        let said: Notification = serde_json::from_str(&payloads[0]).unwrap();
        assert_eq!(together(said.items), [RendezvousNews::Missed]);
    }
}
