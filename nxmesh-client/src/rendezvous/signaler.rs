use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use nxmesh_core::{
    Secret, Tasks,
    rendezvous::{Credential, Millis, Role},
};
use tokio::sync::mpsc;

use super::{
    CandidateSender, EventFilter, Negotiation, NewOffer, Offer, PeerEvent, PeerFilter,
    RendezvousClient,
    inbox::{Inbox, LOOK_EVERY, Opened},
    push::{Pushed, push},
};
use crate::{Error, RendezvousError, Result};

/// How much waits for a negotiation that is slow to read it; the rest waits at the server.
const WAITING: usize = 128;
/// How many pushed events wait to be handed on; then the server waits.
const PUSHED: usize = 128;
/// How often the server is asked at most.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// So many that hardly ever somebody else looks like oneself.
const FILTER_BITS: usize = 2048;

/// Pairs peers: one offers, another one finds that and answers, and both tell each other how they are
/// reached, as they find out. Cheap to clone; it works until the last clone and
/// the last [`Negotiation`] are dropped.
///
/// What the other side says comes by push. Where a server or something before it has none, and while a connection
/// is broken, the server is asked again and again; nothing is lost or comes twice when one takes
/// over from the other.
///
/// ```no_run
/// # async fn f(sdp: String, candidate: serde_json::Value) -> Result<(), nxmesh_client::Error> {
/// use nxmesh_client::rendezvous::{NewOffer, RendezvousClient, Signal, Signaler};
///
/// let client = RendezvousClient::new("https://example.com/rendezvous")?;
/// let me = client.register().await?;
/// let signaler = Signaler::new(&client, me);
/// let mut negotiation = signaler.offer(&NewOffer::new(sdp, ["movie-xyz"])).await?;
/// negotiation.sender().send(&[candidate]).await?;
/// while let Some(signal) = negotiation.next().await? {
///     match signal {
///         Signal::Answer(answer) => println!("answered: {}", answer.sdp),
///         Signal::Candidate(it) => println!("may be reached: {}", it.candidate),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Signaler {
    works: Arc<Works>,
}

/// What is done for a signaler, while it or a negotiation of it is there.
#[derive(Debug)]
pub(super) struct Works {
    client: RendezvousClient,
    peer: String,
    poll_every: Duration,
    pushed: bool,
    opened: mpsc::Sender<Opened>,
    tasks: Tasks,
}

/// Puts a [`Signaler`] together.
#[derive(Debug)]
#[must_use]
pub struct SignalerBuilder {
    client: RendezvousClient,
    credential: Credential,
    poll_every: Duration,
    pushed: bool,
}

impl SignalerBuilder {
    /// How often the server is asked where nothing is pushed; once a second, if not set, and each
    /// millisecond at most.
    pub const fn poll_every(mut self, interval: Duration) -> Self {
        self.poll_every = interval;
        self
    }

    /// Asks again and again, and never for push.
    pub const fn without_push(mut self) -> Self {
        self.pushed = false;
        self
    }

    /// Begins to work. Has to be called in a Tokio runtime.
    #[must_use]
    pub fn build(self) -> Signaler {
        let Self { client, credential, poll_every, pushed } = self;
        let poll_every = poll_every.max(SHORTEST_INTERVAL);
        let peer = credential.peer_id.clone();
        let client = client.with_credential(credential);
        let tasks = Tasks::default();
        let (opened, begun) = mpsc::channel(1);
        let (to, events) = mpsc::channel(PUSHED);
        let spawn = |work: futures::future::BoxFuture<'static, ()>| {
            let stopping = tasks.stopping().clone();
            tasks.spawn(async move {
                stopping.run_until_cancelled(work).await;
            });
        };
        if pushed {
            spawn(Box::pin(push(client.clone(), EventFilter::default(), to)));
        }
        spawn(Box::pin(Inbox::new(client.clone()).run(poll_every, begun, events)));
        Signaler { works: Arc::new(Works { client, peer, poll_every, pushed, opened, tasks }) }
    }
}

impl Signaler {
    /// A signaler for the peer that this credential is of. Has to be called in a Tokio runtime.
    #[must_use]
    pub fn new(client: &RendezvousClient, credential: Credential) -> Self {
        Self::builder(client, credential).build()
    }

    /// Starts putting one together.
    pub fn builder(client: &RendezvousClient, credential: Credential) -> SignalerBuilder {
        let poll_every = Duration::from_secs(1);
        SignalerBuilder { client: client.clone(), credential, poll_every, pushed: true }
    }

    /// The calls that it is made of, as the peer.
    #[must_use]
    pub fn client(&self) -> &RendezvousClient {
        &self.works.client
    }

    /// Makes an offer, and listens for what comes of it. The same offer again takes over from the
    /// negotiation that there was.
    ///
    /// # Errors
    /// As [`Offers::publish`](super::Offers::publish).
    pub async fn offer(&self, new: &NewOffer) -> Result<Negotiation> {
        let made = self.works.client.offers().publish(std::slice::from_ref(new)).await?;
        let made = made.into_iter().next().ok_or(Error::Answer { status: 200, source: None })?;
        Ok(self.begin(made.id, Role::Offerer).await)
    }

    /// Waits for an offer of somebody else under a topic.
    ///
    /// Of many, one by chance: who looks at the same time finds another one. Somebody may answer it first all the
    /// same: look again then.
    ///
    /// # Errors
    /// When the server refuses; one that is away is waited for.
    pub async fn find(&self, topic: &str) -> Result<Offer> {
        let Works { client, poll_every, pushed, .. } = &*self.works;
        let (to, mut told) = mpsc::channel(PUSHED);
        // What reaches the peer is told elsewhere.
        let filter = EventFilter { since: Some(Millis::MAX), topics: vec![topic.to_owned()] };
        let mut pushing = pin!(async {
            // A comma stands between topics there.
            if *pushed && !topic.contains(',') {
                push(client.clone(), filter, to).await;
            }
            pending::<()>().await;
        });
        let mut connected = false;
        loop {
            let look = async {
                let wait = match self.look(topic).await {
                    Ok(Some(offer)) => return Ok(Some(offer)),
                    Ok(None) if connected => LOOK_EVERY,
                    Ok(None) => *poll_every,
                    Err(error) if error.is_passing() => *poll_every,
                    Err(error) => return Err(error),
                };
                tokio::time::sleep(wait).await;
                Ok(None)
            };
            let found = tokio::select! {
                found = look => found?,
                Some(told) = self.told(&mut told, topic) => match told {
                    Told::Offer(offer) => Some(*offer),
                    // What came before is not told.
                    Told::Look { connected: now } => {
                        connected = now;
                        None
                    }
                },
                () = &mut pushing => None,
            };
            if let Some(offer) = found {
                return Ok(offer);
            }
        }
    }

    /// Answers an offer, and listens for what comes of it.
    ///
    /// An answer that counts although the server's word of that was lost is gone on with, now or when
    /// the call is repeated. What counts is the first one: repeat it with the same session description.
    ///
    /// # Errors
    /// As [`Offers::answer`](super::Offers::answer).
    pub async fn answer(
        &self,
        offer: &str,
        sdp: &str,
        secret: Option<&Secret<String>>,
    ) -> Result<Negotiation> {
        match self.works.client.offers().answer(offer, sdp, secret).await {
            Ok(_) => {}
            Err(error) if may_count(&error) && self.has_answered(offer).await => {}
            Err(error) => return Err(error),
        }
        Ok(self.begin(offer.to_owned(), Role::Answerer).await)
    }

    /// Ends all negotiations, and waits until nothing works any more.
    pub async fn shutdown(&self) {
        self.works.tasks.shutdown().await;
    }

    /// Whether an answer of one's own counts, as far as the server can be asked.
    async fn has_answered(&self, offer: &str) -> bool {
        let Works { client, peer, .. } = &*self.works;
        if client.ice_candidates().since(offer, 0).await.is_err() {
            return false;
        }
        // Who has a part in it answered it, or made it.
        client.offers().mine().await.is_ok_and(|mine| {
            let made = mine.iter().find(|it| it.id == offer);
            made.is_none_or(|it| it.answerer_peer_id.as_ref() == Some(peer))
        })
    }

    async fn begin(&self, offer: String, role: Role) -> Negotiation {
        let (to, from) = mpsc::channel(WAITING);
        let client = self.works.client.clone();
        let sender = CandidateSender { client, offer: offer.as_str().into() };
        // After a shutdown nobody takes it: the negotiation is over then, as all others are.
        let _ = self.works.opened.send(Opened { offer, role, to }).await;
        Negotiation { sender, role, from, _works: Arc::clone(&self.works) }
    }

    /// One of the offers that are there.
    async fn look(&self, topic: &str) -> Result<Option<Offer>> {
        // One's own would take up the room of others.
        let mut own = PeerFilter::new(FILTER_BITS);
        own.insert(&self.works.peer);
        let found = self.works.client.offers().by_topic(topic, Some(&own), None).await?;
        Ok(any_of(found.offers.into_iter().filter(|it| self.is_others(it)).collect()))
    }

    /// What is told next; `None` where nothing is.
    async fn told(&self, told: &mut mpsc::Receiver<Pushed>, topic: &str) -> Option<Told> {
        loop {
            match told.recv().await? {
                Pushed::Connected { .. } | Pushed::Event(PeerEvent::Missed) => {
                    return Some(Told::Look { connected: true });
                }
                Pushed::Lost => return Some(Told::Look { connected: false }),
                Pushed::Event(PeerEvent::Offer { topic: under, offer })
                    if under == topic && self.is_others(&offer) =>
                {
                    return Some(Told::Offer(offer));
                }
                Pushed::Event(_) => {}
            }
        }
    }

    fn is_others(&self, offer: &Offer) -> bool {
        offer.peer_id != self.works.peer
    }
}

/// What a server tells who looks for an offer.
enum Told {
    /// There is one.
    Offer(Box<Offer>),
    /// It is time to look; whether offers are told of from now on.
    Look { connected: bool },
}

impl Drop for Works {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

/// Whether an answer that failed so may count all the same.
fn may_count(error: &Error) -> bool {
    error.is_passing() || error.rendezvous().is_some_and(RendezvousError::is_already_answered)
}

fn any_of(mut offers: Vec<Offer>) -> Option<Offer> {
    if offers.is_empty() {
        return None;
    }
    let at = rand::random_range(0..offers.len());
    Some(offers.swap_remove(at))
}
