//! The server dies at any moment while peers find each other, and nothing that it answered is lost.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nxmesh_benches::{Peer, ServerProcess, Wire, ask, free_port};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How many pairs of peers exchange something at a time.
const PAIRS: usize = 6;
/// How many requests with candidates each side makes, and how many candidates are in each.
const BATCHES: u64 = 4;
const BATCH: u64 = 3;

/// How many kills: five, or with `NXMESH_SOAK` fifty.
#[expect(clippy::disallowed_methods, reason = "how long to test is said in the environment")]
fn kills() -> usize {
    if std::env::var("NXMESH_SOAK").is_ok() { 50 } else { 5 }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_lose_no_answered_offer_answer_or_candidate() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut server = serve(folder.path(), address).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut pairs = JoinSet::new();
    for number in 0..PAIRS {
        pairs.spawn(exchanges(number, address, Arc::clone(&stop)));
    }
    let kills = kills();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
        server.kill_and_restart().await?;
    }
    stop.store(true, Ordering::Relaxed);
    let mut tally = Tally::default();
    let mut wire = Wire::open(address).await?;
    while let Some(made) = pairs.join_next().await {
        for exchange in made?? {
            exchange.is_kept(&mut wire, &mut tally).await?;
        }
    }
    println!(
        "{kills} kills: {} offers, {} answers and {} candidates were answered for, and are there; {} requests were cut off",
        tally.offers, tally.answers, tally.candidates, tally.cut_off
    );
    // Otherwise the server did not die under load.
    ensure!(tally.offers > 5 && tally.answers > 5 && tally.candidates > 50, "{tally:?}");
    ensure!(tally.cut_off >= kills, "{tally:?}");
    Ok(())
}

async fn serve(folder: &Path, address: SocketAddr) -> Result<ServerProcess> {
    let at = address.to_string();
    ServerProcess::start_with(folder, &["--rendezvous-http", &at]).await
}

/// What was answered for.
#[derive(Debug, Default)]
struct Tally {
    offers: usize,
    answers: usize,
    candidates: usize,
    cut_off: usize,
}

/// Pairs of peers, one after the other, until it is enough.
async fn exchanges(
    number: usize,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Exchange>> {
    let mut made = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let id = format!("{number} {}", made.len());
        made.push(Exchange::make(id, address).await?);
    }
    Ok(made)
}

/// An offer with its answer and candidates: what was sent, and what the server answered for.
struct Exchange {
    id: String,
    offerer: Side,
    answerer: Side,
    cut_off: usize,
}

impl Exchange {
    async fn make(id: String, address: SocketAddr) -> Result<Self> {
        let mut caller = Caller { address, wire: None, cut_off: 0 };
        let mut other = Caller { address, wire: None, cut_off: 0 };
        let mut offerer = Side::of(caller.register().await?);
        let mut answerer = Side::of(other.register().await?);

        let offer =
            json!({"id": id, "sdp": format!("offer {id}"), "topics": ["kills"], "ttl": 3_600_000});
        let offer = offerer.peer.post("/offers", &json!({"offers": [offer]}).to_string());
        // What was made, but whose answer was cut off, is made once.
        let (status, answer) = caller.insist(&offer).await?;
        ensure!(status == 200, "not published: {answer}");
        offerer.post(&id, &mut caller, 0).await?;

        let answer = json!({"sdp": format!("answer {id}")}).to_string();
        let answer = answerer.peer.post(&format!("/offers/{}/answer", escaped(&id)), &answer);
        let (status, said) = other.insist(&answer).await?;
        let before = status == 400 && said.contains("Offer already answered") && other.cut_off > 0;
        ensure!(status == 200 || before, "not answered: {said}");

        let (one, two) =
            tokio::join!(offerer.talk(&id, &mut caller), answerer.talk(&id, &mut other));
        one.and(two)?;
        Ok(Self { id, offerer, answerer, cut_off: caller.cut_off + other.cut_off })
    }

    /// Fails if anything is missing that the server answered for.
    async fn is_kept(&self, wire: &mut Wire, tally: &mut Tally) -> Result<()> {
        let Self { id, offerer, answerer, cut_off } = self;
        let mine = read(wire, &offerer.peer, "/offers/mine").await?;
        let offer = &mine["offers"][0];
        ensure!(mine["offers"].as_array().is_some_and(|it| it.len() == 1), "{id}: {mine}");
        ensure!(offer["id"] == **id && offer["sdp"] == format!("offer {id}"), "{id}: {mine}");
        let answers = read(wire, &offerer.peer, "/offers/answers").await?;
        let answer = &answers["answers"][0];
        let by = answer["answererId"] == *answerer.peer.id;
        ensure!(by && answer["sdp"] == format!("answer {id}"), "{id}: {answers}");
        for (from, to) in [(offerer, answerer), (answerer, offerer)] {
            let path = format!("/offers/{}/ice-candidates?since=0", escaped(id));
            let kept = read(wire, &to.peer, &path).await?;
            from.is_kept(&numbers(&kept)?, &to.heard).with_context(|| format!("{id}: {kept}"))?;
            tally.candidates += from.acknowledged.len();
        }
        tally.offers += 1;
        tally.answers += 1;
        tally.cut_off += cut_off;
        Ok(())
    }
}

/// One of the two, with the numbers of candidates.
struct Side {
    peer: Peer,
    sent: Vec<u64>,
    acknowledged: Vec<u64>,
    /// Those of the other side, as they came.
    heard: Vec<u64>,
    since: i64,
}

impl Side {
    fn of(peer: Peer) -> Self {
        Self { peer, sent: vec![], acknowledged: vec![], heard: vec![], since: 0 }
    }

    /// Sends candidates, and asks for those of the other side, in turn.
    async fn talk(&mut self, id: &str, caller: &mut Caller) -> Result<()> {
        for batch in 1..=BATCHES {
            self.post(id, caller, batch).await?;
            self.hear(id, caller).await?;
        }
        Ok(())
    }

    /// Sends candidates once: whether they were taken may remain unknown.
    async fn post(&mut self, id: &str, caller: &mut Caller, batch: u64) -> Result<()> {
        let numbers: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).collect();
        let path = format!("/offers/{}/ice-candidates", escaped(id));
        let body = json!({"candidates": numbers}).to_string();
        self.sent.extend(&numbers);
        if let Some((status, answer)) = caller.once(&self.peer.post(&path, &body)).await? {
            ensure!(status == 200, "not added: {answer}");
            self.acknowledged.extend(numbers);
        }
        Ok(())
    }

    /// Reads on from what was read last.
    async fn hear(&mut self, id: &str, caller: &mut Caller) -> Result<()> {
        let path = format!("/offers/{}/ice-candidates?since={}", escaped(id), self.since);
        let (status, answer) = caller.insist(&self.peer.get(&path)).await?;
        ensure!(status == 200, "not read: {answer}");
        let answer: Value = serde_json::from_str(&answer)?;
        self.heard.extend(numbers(&answer)?);
        let last = answer["candidates"].as_array().and_then(|it| it.last());
        self.since = last.and_then(|it| it["createdAt"].as_i64()).unwrap_or(self.since);
        Ok(())
    }

    /// Fails unless these are all its candidates, whole requests of them, in order; and what the
    /// other side heard, polling through all kills, how they begin.
    fn is_kept(&self, kept: &[u64], heard: &[u64]) -> Result<()> {
        let whole = kept.chunks(BATCH as usize).all(|it| {
            it.len() as u64 == BATCH
                && it[0] % BATCH == 0
                && it.windows(2).all(|it| it[0] + 1 == it[1])
        });
        ensure!(whole, "not whole requests");
        ensure!(kept.is_sorted_by(|one, other| one < other), "not in order");
        ensure!(kept.iter().all(|it| self.sent.contains(it)), "what was never sent");
        let lost: Vec<_> = self.acknowledged.iter().filter(|it| !kept.contains(it)).collect();
        ensure!(lost.is_empty(), "lost {lost:?}");
        ensure!(kept.starts_with(heard), "another heard {heard:?}");
        Ok(())
    }
}

/// Asks a server that may be dead.
struct Caller {
    address: SocketAddr,
    wire: Option<Wire>,
    /// How many requests got no answer.
    cut_off: usize,
}

impl Caller {
    async fn register(&mut self) -> Result<Peer> {
        loop {
            let mut wire = self.wire().await?;
            if let Ok(peer) = Peer::register(&mut wire).await {
                self.wire = Some(wire);
                return Ok(peer);
            }
        }
    }

    /// Asks until there is an answer.
    async fn insist(&mut self, request: &[u8]) -> Result<(u16, String)> {
        loop {
            if let Some(answer) = self.once(request).await? {
                return Ok(answer);
            }
        }
    }

    /// Asks once; `None` when the server died before it answered.
    async fn once(&mut self, request: &[u8]) -> Result<Option<(u16, String)>> {
        let mut wire = self.wire().await?;
        match wire.ask(request).await {
            Ok(reply) => {
                let answer = (reply.status, String::from_utf8(reply.body.to_vec())?);
                self.wire = Some(wire);
                Ok(Some(answer))
            }
            Err(_) => {
                self.cut_off += 1;
                Ok(None)
            }
        }
    }

    /// The connection that there is, or a new one once the server is there.
    async fn wire(&mut self) -> Result<Wire> {
        if let Some(wire) = self.wire.take() {
            return Ok(wire);
        }
        for _ in 0..3000 {
            if let Ok(wire) = Wire::open(self.address).await {
                return Ok(wire);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the server does not come back")
    }
}

async fn read(wire: &mut Wire, peer: &Peer, path: &str) -> Result<Value> {
    Ok(serde_json::from_str(ask(wire, &peer.get(path)).await?)?)
}

fn numbers(answer: &Value) -> Result<Vec<u64>> {
    let candidates = answer["candidates"].as_array().context("no candidates")?;
    candidates.iter().map(|it| it["candidate"].as_u64().context("no number")).collect()
}

fn escaped(id: &str) -> String {
    id.replace(' ', "%20")
}
