//! What reaches peers, pushed to those that listen at this server.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    task::yield_now,
};

use super::{
    FeedEvent, Millis, Realm, RendezvousNews, RendezvousStore,
    listener::{Listener, Listeners, Registered},
    subscription::Subscription,
};
use crate::{Clock, Result, Tasks};

/// How many topics one listener may follow.
pub const MAX_FOLLOWED: usize = 50;
/// How many changes may wait whose new offers are to be told of; of further ones followers are told that they missed
/// some.
const MAX_WAITING: usize = 16;

/// Tells those that listen at this server.
#[derive(Debug, Clone)]
pub struct Feed {
    store: Arc<dyn RendezvousStore>,
    clock: Arc<dyn Clock>,
    listeners: Arc<Listeners>,
}

/// New offers of a realm: their ids, with their topics.
type Published = (Realm, Arc<[(String, Vec<String>)]>);

impl Feed {
    /// For so many listeners.
    pub(super) fn start(
        store: Arc<dyn RendezvousStore>,
        clock: Arc<dyn Clock>,
        most: usize,
        tasks: &Tasks,
    ) -> Self {
        let feed = Self { store, clock, listeners: Arc::new(Listeners::new(most)) };
        let (to_announcer, published) = mpsc::channel(MAX_WAITING);
        let until_stopped = |work: BoxFuture<'static, ()>| {
            let stopping = tasks.stopping().clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = work => {}
                    () = stopping.cancelled() => {}
                }
            });
        };
        until_stopped(feed.clone().hear(to_announcer).boxed());
        // To read new offers takes time, in which what reached peers is told all the same.
        until_stopped(feed.clone().announce_all(published).boxed());
        feed
    }

    /// What reaches a peer after this stamp, and new offers of some topics from now on; of more topics than
    /// [`MAX_FOLLOWED`] the first ones.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the peer has
    /// [`MAX_LISTENERS_OF_PEER`](super::MAX_LISTENERS_OF_PEER), or all together have as many as they may.
    pub fn subscribe(
        &self,
        realm: Realm,
        peer: String,
        since: Millis,
        mut topics: Vec<String>,
    ) -> Result<Subscription> {
        topics.truncate(MAX_FOLLOWED);
        topics.sort_unstable();
        topics.dedup();
        let registered = Registered::new(&self.listeners, realm, peer, topics)?;
        Ok(Subscription::new(registered, Arc::clone(&self.store), Arc::clone(&self.clock), since))
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.count()
    }

    async fn hear(self, to_announcer: mpsc::Sender<Published>) {
        let mut news = self.store.news();
        loop {
            match news.recv().await {
                Ok(news) => self.route(news, &to_announcer),
                Err(RecvError::Lagged(_)) => self.listeners.all_miss(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn route(&self, news: RendezvousNews, to_announcer: &mpsc::Sender<Published>) {
        match news {
            RendezvousNews::Delivered { realm, to } => {
                self.listeners.of_peer(&realm, &to).iter().for_each(|it| it.look());
            }
            RendezvousNews::Published { realm, offers } => {
                if self.listeners.follow_any()
                    && let Err(full) = to_announcer.try_send((realm, offers))
                {
                    let (realm, offers) = full.into_inner();
                    let topics = offers.iter().flat_map(|(_, topics)| topics);
                    let followers = topics.flat_map(|it| self.listeners.of_topic(&realm, it));
                    followers.for_each(|it| it.miss());
                }
            }
            RendezvousNews::Expired(expired) => {
                for it in expired.iter() {
                    for listener in self.listeners.of_peer(&it.realm, &it.peer) {
                        listener.tell(FeedEvent::Expired { offer: it.id.clone() });
                    }
                }
            }
            RendezvousNews::Missed => self.listeners.all_miss(),
        }
    }

    async fn announce_all(self, mut published: mpsc::Receiver<Published>) {
        while let Some((realm, offers)) = published.recv().await {
            for (id, topics) in offers.iter() {
                self.announce(&realm, id, topics).await;
                yield_now().await;
            }
        }
    }

    /// Tells those who follow one of the topics. The offer is read once for all.
    async fn announce(&self, realm: &Realm, id: &str, topics: &[String]) {
        let followers = topics.iter().map(|it| (it, self.listeners.of_topic(realm, it)));
        let told: Vec<(&String, Vec<Arc<Listener>>)> =
            followers.filter(|(_, listeners)| !listeners.is_empty()).collect();
        if told.is_empty() {
            return;
        }
        let offer = self.store.offer(realm, id, self.clock.now().timestamp_millis()).await;
        let offer = match offer {
            Ok(Some(offer)) if offer.answered.is_none() => Arc::new(offer),
            // It is gone already.
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot tell of a new offer");
                told.iter().flat_map(|(_, it)| it).for_each(|it| it.miss());
                return;
            }
        };
        for (topic, listeners) in told {
            for listener in listeners {
                let offer = Arc::clone(&offer);
                listener.tell(FeedEvent::Published { topic: topic.clone(), offer });
            }
        }
    }
}
