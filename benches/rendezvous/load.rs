//! What is asked of a server, again and again.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use nxmesh_benches::{
    Met, Peer, Wire, ask, field, repeat, request, request_for, session_description,
};

use crate::server::{Server, Store, offer};

/// How many offers a peer makes before another goes on: one may have a thousand.
const OFFERS_OF_A_PEER: usize = 900;

/// What is asked again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Hello,
    Register,
    Create,
    ByTopic(usize),
    Topics,
    Handshake,
}

/// What rondevu-server 0.1.5 on Node 20 answered a second, in one process on two cores, to 8
/// connections, or 16 where it makes something: measured once, on 2026-11-21.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) in_memory: f64,
    pub(crate) sqlite_file: f64,
}

impl Load {
    pub(crate) const ALL: [Self; 7] = [
        Self::Hello,
        Self::Register,
        Self::Create,
        Self::ByTopic(1000),
        Self::ByTopic(10_000),
        Self::Topics,
        Self::Handshake,
    ];
    const TOPICS: usize = 10_000;

    pub(crate) fn name(self) -> String {
        match self {
            Self::Hello => "hello".to_owned(),
            Self::Register => "register".to_owned(),
            Self::Create => "create offer".to_owned(),
            Self::ByTopic(offers) => format!("by topic, {offers} offers"),
            Self::Topics => format!("topics, {} topics", Self::TOPICS),
            Self::Handshake => "handshake".to_owned(),
        }
    }

    pub(crate) fn node(self) -> Option<Node> {
        let node = |in_memory, sqlite_file| Some(Node { in_memory, sqlite_file });
        match self {
            Self::Hello => None,
            Self::Register => node(2243.0, 1490.0),
            Self::Create => node(908.0, 64.0),
            Self::ByTopic(1000) => node(29.6, 19.0),
            Self::ByTopic(_) => node(1.8, 1.4),
            Self::Topics => node(11.6, 7.0),
            Self::Handshake => node(110.0, 21.0),
        }
    }

    /// How many times what rondevu-server did is wanted.
    pub(crate) fn goal(self, store: Store) -> Option<f64> {
        match (self, store) {
            (Self::Handshake, Store::Durable) => Some(50.0),
            (Self::Handshake, Store::Relaxed | Store::Memory) => Some(20.0),
            (Self::ByTopic(1000), _) => Some(100.0),
            (Self::ByTopic(_), _) => Some(1000.0),
            (Self::Topics, _) => Some(500.0),
            (Self::Hello | Self::Register | Self::Create, _) => None,
        }
    }

    /// How many requests that is.
    pub(crate) fn requests(self) -> usize {
        if self == Self::Handshake { 10 } else { 1 }
    }

    /// Makes what is asked for.
    pub(crate) async fn prepare(self, server: &Server) -> Result<()> {
        match self {
            Self::ByTopic(offers) => {
                server.fill(offers, |_| format!("\"of {offers}\",\"of {offers} too\"")).await
            }
            Self::Topics => {
                let topics = |number: usize| {
                    let ten = (0..10).map(|it| format!("\"topic {}\"", number * 10 + it));
                    ten.collect::<Vec<_>>().join(",")
                };
                server.fill(Self::TOPICS / 10, topics).await
            }
            Self::Hello | Self::Register | Self::Create | Self::Handshake => Ok(()),
        }
    }

    #[expect(clippy::future_not_send, reason = "all of it asks from one thread")]
    pub(crate) async fn repeat(
        self,
        (address, server): (SocketAddr, u32),
        connections: usize,
        lasting: Duration,
    ) -> Result<Met> {
        let mut wires = Vec::new();
        for _ in 0..connections {
            wires.push(Wire::open(address).await?);
        }
        match self {
            Self::Hello => {
                let ask = request_for("/", "");
                let right = |body: &[u8]| body == b"{\"hello\":\"world\"}";
                repeat(server, same(wires, &ask, &right), lasting).await
            }
            Self::Register => {
                let ask = request("POST", "/register", "", "{}");
                // {"peerId":"32 characters","secret":"80 characters"}
                let right = |body: &[u8]| body.starts_with(b"{\"peerId\":\"") && body.len() == 137;
                repeat(server, same(wires, &ask, &right), lasting).await
            }
            Self::ByTopic(offers) => {
                let ask = request_for(&format!("/offers/by-topic/of%20{offers}?limit=50"), "");
                let ends = format!("],\"total\":{offers},\"returned\":50}}");
                let least = 50 * session_description(0).len();
                let right = |body: &[u8]| body.len() > least && body.ends_with(ends.as_bytes());
                repeat(server, same(wires, &ask, &right), lasting).await
            }
            Self::Topics => {
                // Others' topics are there too: a page of all.
                let ask = request_for("/topics", "");
                let ends = b",\"limit\":50,\"offset\":0}";
                let right = |body: &[u8]| body.len() > 50 * 20 && body.ends_with(ends);
                repeat(server, same(wires, &ask, &right), lasting).await
            }
            Self::Create => repeat(server, creating(wires).await?, lasting).await,
            Self::Handshake => {
                let callers =
                    wires.into_iter().map(|mut wire| async move |_| handshake(&mut wire).await);
                repeat(server, callers.collect(), lasting).await
            }
        }
    }
}

/// The same request again and again, whose answer is looked at.
fn same(
    wires: Vec<Wire>,
    request: &[u8],
    right: &impl Fn(&[u8]) -> bool,
) -> Vec<impl AsyncFnMut(usize) -> Result<()>> {
    let caller = |mut wire: Wire| {
        async move |_| {
            let reply = wire.ask(request).await?;
            let text = || String::from_utf8_lossy(reply.body);
            ensure!(reply.status == 200 && right(reply.body), "{} {}", reply.status, text());
            Ok(())
        }
    };
    wires.into_iter().map(caller).collect()
}

/// Offers under two topics, by a peer for each connection.
async fn creating(wires: Vec<Wire>) -> Result<Vec<impl AsyncFnMut(usize) -> Result<()>>> {
    let mut callers = Vec::new();
    for (number, mut wire) in wires.into_iter().enumerate() {
        let mut peer = Peer::register(&mut wire).await?;
        let topics = format!("\"created by {number}\",\"created\"");
        callers.push(async move |round| {
            if round % OFFERS_OF_A_PEER == OFFERS_OF_A_PEER - 1 {
                peer = Peer::register(&mut wire).await?;
            }
            let body = format!("{{\"offers\":[{}]}}", offer(&topics));
            let answer = ask(&mut wire, &peer.post("/offers", &body)).await?;
            ensure!(field(answer, "id")?.len() == 64, "no offer: {answer}");
            Ok(())
        });
    }
    Ok(callers)
}

/// Two peers find each other under topics of their own, and exchange what they need to connect.
async fn handshake(wire: &mut Wire) -> Result<()> {
    let offerer = Peer::register(wire).await?;
    let answerer = Peer::register(wire).await?;
    let number: u64 = rand::random();

    let body = format!("{{\"offers\":[{}]}}", offer(&format!("\"{number}\",\"{number} too\"")));
    let answer = ask(wire, &offerer.post("/offers", &body)).await?;
    let id = field(answer, "id")?.to_owned();

    let path = format!("/offers/by-topic/{number}?limit=50");
    let answer = ask(wire, &request_for(&path, "")).await?;
    let found = field(answer, "id")? == id && answer.ends_with("\"total\":1,\"returned\":1}");
    ensure!(found, "the offer was not found: {answer}");

    let body = format!("{{\"sdp\":\"{}\"}}", session_description(number));
    let answer = ask(wire, &answerer.post(&format!("/offers/{id}/answer"), &body)).await?;
    ensure!(field(answer, "answererId")? == answerer.id, "not answered: {answer}");

    let answer = ask(wire, &offerer.get("/offers/answers")).await?;
    let answered = field(answer, "offerId")? == id && field(answer, "answererId")? == answerer.id;
    ensure!(answered && answer.len() > 1500, "the answer did not come: {answer}");

    let path = format!("/offers/{id}/ice-candidates");
    for peer in [&offerer, &answerer] {
        let candidate = format!(
            "{{\"candidate\":\"candidate:1 1 udp 2122260223 10.0.0.17 50001 typ host {}\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0}}",
            peer.id
        );
        let body = format!("{{\"candidates\":[{candidate},{candidate}]}}");
        let answer = ask(wire, &peer.post(&path, &body)).await?;
        ensure!(answer.ends_with("\"candidatesAdded\":2}"), "no candidates added: {answer}");
    }
    let path = path + "?since=0";
    for (peer, other) in [(&offerer, &answerer), (&answerer, &offerer)] {
        let answer = ask(wire, &peer.get(&path)).await?;
        let theirs = answer.matches(&format!("\"peerId\":\"{}\"", other.id)).count();
        ensure!(theirs == 2, "{theirs} of 2 candidates came: {answer}");
    }
    Ok(())
}
