//! What reaches a peer, handed to the negotiations it is for: each thing once, in its order.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use nxmesh_core::rendezvous::{Millis, Role};
use tokio::{
    sync::{
        OnceCell,
        mpsc::{self, error::TrySendError},
    },
    time::{Instant, MissedTickBehavior},
};

use super::{Answer, Candidate, PeerEvent, RendezvousClient, Signal, push::Pushed};
use crate::Result;

/// How many negotiations are read at once.
const READS: usize = 8;
/// How often all are read although the server pushes: that tells of the end of somebody else's offer.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A negotiation that begins.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) offer: String,
    pub(super) role: Role,
    pub(super) to: mpsc::Sender<Result<Signal>>,
}

/// A negotiation that is under way.
#[derive(Debug)]
struct Open {
    /// Tells it from one before it of the same offer.
    turn: u64,
    to: mpsc::Sender<Result<Signal>>,
    state: State,
    /// What it is to be read from, if the answer is to come yet.
    round: Arc<Round>,
    /// Whether the answer was handed on, or there is none to come.
    answered: bool,
    /// The candidate that was handed on last.
    since: Millis,
}

/// How much of what there is was handed on.
///
/// What is pushed is handed on as it comes while nothing before it is missing. Else the server is asked, and what
/// it says is all there was: so that nothing is lost or comes twice, whatever is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All of it.
    Fresh,
    /// The server is to be asked.
    Stale,
    /// The server is being asked; whether something came meanwhile.
    Reading { again: bool },
    /// The server is to be asked, but not before the next tick.
    Waiting,
}

pub(super) struct Inbox {
    client: RendezvousClient,
    open: HashMap<String, Open>,
    /// Who is to be read, first come first served; some of them are not any more.
    stale: VecDeque<String>,
    /// The answers that nobody has begun to ask for.
    round: Arc<Round>,
    reads: FuturesUnordered<BoxFuture<'static, (String, u64, Result<Read>)>>,
    turns: u64,
    pushed: bool,
    looked: Instant,
}

/// All answers of the peer, asked for once for all who are doubted before that.
type Round = OnceCell<Vec<Answer>>;

/// What a server has for a negotiation.
#[derive(Debug)]
struct Read {
    answer: Option<Answer>,
    candidates: Vec<Candidate>,
}

impl Inbox {
    pub(super) fn new(client: RendezvousClient) -> Self {
        Self {
            client,
            open: HashMap::new(),
            stale: VecDeque::new(),
            round: Arc::default(),
            reads: FuturesUnordered::new(),
            turns: 0,
            pushed: false,
            looked: Instant::now(),
        }
    }

    /// Works until no more negotiations can begin.
    pub(super) async fn run(
        mut self,
        poll_every: Duration,
        mut opened: mpsc::Receiver<Opened>,
        mut pushed: mpsc::Receiver<Pushed>,
    ) {
        let mut ticks = tokio::time::interval(poll_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                opened = opened.recv() => match opened {
                    Some(opened) => self.begin(opened),
                    None => return,
                },
                Some(pushed) = pushed.recv() => self.take(pushed),
                Some((offer, turn, read)) = self.reads.next() => self.took(&offer, turn, read),
                _ = ticks.tick() => self.tick(),
            }
            self.start_reads();
        }
    }

    fn begin(&mut self, Opened { offer, role, to }: Opened) {
        let answered = role == Role::Answerer;
        self.turns += 1;
        // What came before is not known here.
        let (turn, round) = (self.turns, Arc::clone(&self.round));
        let open = Open { turn, to, state: State::Stale, round, answered, since: 0 };
        self.stale.push_back(offer.clone());
        self.open.insert(offer, open);
    }

    fn take(&mut self, pushed: Pushed) {
        match pushed {
            Pushed::Connected { resumed } => {
                self.pushed = true;
                if !resumed {
                    self.doubt_all();
                }
            }
            Pushed::Lost => self.pushed = false,
            Pushed::Event(PeerEvent::Answer(answer)) => {
                let offer = answer.offer_id.clone();
                self.hand_on(&offer, Signal::Answer(answer));
            }
            Pushed::Event(PeerEvent::Candidate { offer_id, candidate }) => {
                self.hand_on(&offer_id, Signal::Candidate(candidate));
            }
            Pushed::Event(PeerEvent::Expired { offer_id }) => {
                // It may be there again by now: whoever asks is told.
                if let Some(open) = self.open.get_mut(&offer_id)
                    && open.doubt(&self.round)
                {
                    self.stale.push_back(offer_id);
                }
            }
            Pushed::Event(PeerEvent::Missed) => self.doubt_all(),
            Pushed::Event(PeerEvent::Offer { .. }) => {}
        }
    }

    /// Something came for a negotiation.
    fn hand_on(&mut self, offer: &str, signal: Signal) {
        let Entry::Occupied(mut entry) = self.open.entry(offer.to_owned()) else { return };
        let open = entry.get_mut();
        match open.state {
            State::Fresh if open.in_order(&signal) => match open.deliver(signal) {
                Ok(()) => {}
                Err(Undelivered::Full) => open.state = State::Waiting,
                Err(Undelivered::Closed) => {
                    entry.remove();
                }
            },
            State::Fresh | State::Stale | State::Reading { .. } | State::Waiting => {
                if open.doubt(&self.round) {
                    self.stale.push_back(entry.key().clone());
                }
            }
        }
    }

    /// A read is done.
    fn took(&mut self, offer: &str, turn: u64, read: Result<Read>) {
        let Entry::Occupied(mut entry) = self.open.entry(offer.to_owned()) else { return };
        let open = entry.get_mut();
        if open.turn != turn {
            return;
        }
        let again = open.state == State::Reading { again: true };
        let read = match read {
            Ok(read) => read,
            Err(error) if error.is_passing() => {
                open.state = State::Waiting;
                return;
            }
            Err(error) if error.is_not_found() => {
                entry.remove();
                return;
            }
            Err(error) => {
                // There is room as soon as it is read, and then it is tried again.
                match open.to.try_send(Err(error)) {
                    Err(TrySendError::Full(_)) => open.state = State::Waiting,
                    Ok(()) | Err(TrySendError::Closed(_)) => {
                        entry.remove();
                    }
                }
                return;
            }
        };
        match open.deliver_all(read) {
            Ok(()) => {
                open.state = State::Fresh;
                if again && open.doubt(&self.round) {
                    self.stale.push_back(entry.key().clone());
                }
            }
            Err(Undelivered::Full) => open.state = State::Waiting,
            Err(Undelivered::Closed) => {
                entry.remove();
            }
        }
    }

    fn tick(&mut self) {
        self.open.retain(|_, open| !open.to.is_closed());
        if !self.pushed || self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.doubt_all();
        }
        for (offer, open) in &mut self.open {
            if open.state == State::Waiting && open.to.capacity() > 0 {
                (open.state, open.round) = (State::Stale, Arc::clone(&self.round));
                self.stale.push_back(offer.clone());
            }
        }
    }

    fn doubt_all(&mut self) {
        for (offer, open) in &mut self.open {
            if open.doubt(&self.round) {
                self.stale.push_back(offer.clone());
            }
        }
    }

    fn start_reads(&mut self) {
        while self.reads.len() < READS {
            let Some(offer) = self.stale.pop_front() else { return };
            let Some(open) = self.open.get_mut(&offer).filter(|it| it.state == State::Stale) else {
                continue;
            };
            open.state = State::Reading { again: false };
            let (client, turn) = (self.client.clone(), open.turn);
            let since = open.since;
            let round = (!open.answered).then(|| Arc::clone(&open.round));
            // Who is doubted from now on may have been answered after this.
            if round.as_ref().is_some_and(|it| Arc::ptr_eq(it, &self.round)) {
                self.round = Arc::default();
            }
            let read = async move {
                let read = Read::ask(&client, &offer, round.as_deref(), since).await;
                (offer, turn, read)
            };
            self.reads.push(read.boxed());
        }
    }
}

/// Why something did not reach a negotiation.
enum Undelivered {
    /// It is slow.
    Full,
    /// It is over.
    Closed,
}

impl Open {
    /// Something may have come. Answers whether it is to be put among those to be read.
    fn doubt(&mut self, round: &Arc<Round>) -> bool {
        match self.state {
            State::Fresh | State::Stale => {
                self.round = Arc::clone(round);
                std::mem::replace(&mut self.state, State::Stale) == State::Fresh
            }
            State::Reading { .. } => {
                self.state = State::Reading { again: true };
                false
            }
            State::Waiting => false,
        }
    }

    /// Whether it is the next, or was handed on before: not a candidate of an answer that is not known.
    fn in_order(&self, signal: &Signal) -> bool {
        self.answered || matches!(signal, Signal::Answer(_))
    }

    /// Hands on what was not handed on before.
    fn deliver(&mut self, signal: Signal) -> Result<(), Undelivered> {
        let (answered, since) = match &signal {
            Signal::Answer(_) if self.answered => return Ok(()),
            Signal::Answer(_) => (true, self.since),
            Signal::Candidate(it) if it.created_at <= self.since => return Ok(()),
            Signal::Candidate(it) => (self.answered, it.created_at),
        };
        self.to.try_send(Ok(signal)).map_err(|error| match error {
            TrySendError::Full(_) => Undelivered::Full,
            TrySendError::Closed(_) => Undelivered::Closed,
        })?;
        (self.answered, self.since) = (answered, since);
        Ok(())
    }

    fn deliver_all(&mut self, Read { answer, candidates }: Read) -> Result<(), Undelivered> {
        let answer = answer.map(Signal::Answer).into_iter();
        let mut all = answer.chain(candidates.into_iter().map(Signal::Candidate));
        all.try_for_each(|it| self.deliver(it))
    }
}

impl Read {
    async fn ask(
        client: &RendezvousClient,
        offer: &str,
        answers: Option<&Round>,
        since: Millis,
    ) -> Result<Self> {
        let answer = match answers {
            Some(round) => {
                let offers = client.offers();
                let answers = round.get_or_try_init(|| offers.answers()).await?;
                answers.iter().find(|it| it.offer_id == offer).cloned()
            }
            None => None,
        };
        // Asked for without an answer too: that tells whether there still is an offer.
        let mut candidates = client.ice_candidates().since(offer, since).await?;
        if answers.is_some() && answer.is_none() {
            // The answer came between the two: next time.
            candidates.clear();
        }
        Ok(Self { answer, candidates })
    }
}
