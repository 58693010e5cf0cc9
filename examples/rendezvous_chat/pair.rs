use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nxmesh_client::{
    RendezvousError,
    rendezvous::{Negotiation, NewOffer, Offer, Role, Signal, Signaler},
};
use tokio::{net::UdpSocket, time::timeout};
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use crate::{
    chat::Chat,
    peer::{Found, Peer},
};

/// How long two who found each other try to reach each other. Who has died leaves an offer behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to somebody else under the topic: to who waits there, or else to who comes. Looks again where
/// that one is not to be reached.
pub(crate) async fn pair(
    signaler: &Signaler,
    topic: &str,
    host: IpAddr,
    stun: Option<&str>,
) -> Result<Chat> {
    loop {
        let own = signaler.client().credential().map(|it| it.peer_id.clone());
        let there = signaler.client().offers().by_topic(topic, None, None).await?.offers;
        let waiting = there.into_iter().find(|it| Some(&it.peer_id) != own.as_ref());
        let (mut peer, mut negotiation, channel) = match waiting {
            Some(offer) => match answer(signaler, &offer, host, stun).await? {
                Some((peer, negotiation)) => (peer, negotiation, None),
                None => continue,
            },
            None => match offer(signaler, topic, host, stun).await? {
                Some((peer, negotiation, channel)) => (peer, negotiation, Some(channel)),
                None => continue,
            },
        };
        let connected = timeout(PATIENCE, connect(&mut peer, &mut negotiation, channel)).await;
        match connected.context("nobody is there").flatten() {
            Ok(channel) => return Ok(Chat::new(peer, channel)),
            Err(why) => println!("looks again: {why}"),
        }
        peer.close().await?;
        if negotiation.role() == Role::Offerer {
            negotiation.withdraw().await?;
        }
    }
}

/// Answers who waits; `None` when somebody else was faster.
async fn answer(
    signaler: &Signaler,
    offer: &Offer,
    host: IpAddr,
    stun: Option<&str>,
) -> Result<Option<(Peer, Negotiation)>> {
    let peer = Peer::new(host, stun).await?;
    let sdp = peer.answer_to(offer.sdp.clone()).await?;
    let error = match signaler.answer(&offer.id, &sdp, None).await {
        Ok(negotiation) => {
            peer.answered(sdp).await?;
            return Ok(Some((peer, negotiation)));
        }
        Err(error) => error,
    };
    peer.close().await?;
    let late = error.rendezvous().is_some_and(RendezvousError::is_already_answered);
    if late || error.is_not_found() { Ok(None) } else { Err(error.into()) }
}

/// Waits for an answer; `None` when none came before the offer expired, or when somebody else offers
/// too: of two who do, the one with the lower id waits, and the other one answers.
async fn offer(
    signaler: &Signaler,
    topic: &str,
    host: IpAddr,
    stun: Option<&str>,
) -> Result<Option<(Peer, Negotiation, Arc<dyn DataChannel>)>> {
    let peer = Peer::new(host, stun).await?;
    let (channel, sdp) = peer.offer().await?;
    let mut negotiation = signaler.offer(&NewOffer::new(sdp, [topic])).await?;
    let own = signaler.client().credential().map(|it| it.peer_id.as_str()).unwrap_or_default();
    tokio::select! {
        answer = negotiation.answer() => match answer {
            Ok(answer) => peer.take_answer(answer.sdp).await?,
            Err(error) => {
                peer.close().await?;
                return if error.is_not_found() { Ok(None) } else { Err(error.into()) };
            }
        },
        other = lower(signaler, topic, own) => {
            peer.close().await?;
            other?;
            negotiation.withdraw().await?;
            return Ok(None);
        }
    }
    Ok(Some((peer, negotiation, channel)))
}

/// Waits for somebody under the topic whose id is lower.
async fn lower(signaler: &Signaler, topic: &str, own: &str) -> Result<()> {
    while signaler.find(topic).await?.peer_id.as_str() > own {
        // They look, too, and will answer.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Exchanges candidates, until the channel is open.
async fn connect(
    peer: &mut Peer,
    negotiation: &mut Negotiation,
    mut channel: Option<Arc<dyn DataChannel>>,
) -> Result<Arc<dyn DataChannel>> {
    let sender = negotiation.sender();
    loop {
        tokio::select! {
            found = peer.found() => match found {
                Found::Candidate(candidate) => sender.send(&[candidate]).await?,
                Found::Channel(opened) => channel = Some(opened),
                Found::Over => bail!("the two do not reach each other"),
            },
            signal = negotiation.next() => match signal?.context("the offer is over")? {
                Signal::Answer(_) => bail!("answered twice"),
                Signal::Candidate(it) => {
                    peer.take_candidate(serde_json::from_value(it.candidate)?).await?;
                }
            },
            event = event_of(channel.as_ref()) => match event {
                Some(DataChannelEvent::OnOpen) => {
                    return channel.context("only a channel has events");
                }
                Some(DataChannelEvent::OnClose) | None => bail!("the channel has closed"),
                Some(_) => {}
            },
        }
    }
}

async fn event_of(channel: Option<&Arc<dyn DataChannel>>) -> Option<DataChannelEvent> {
    match channel {
        Some(channel) => channel.poll().await,
        None => std::future::pending().await,
    }
}

/// The address of this host by which it reaches the server.
pub(crate) async fn local_address(server: &str) -> Result<IpAddr> {
    let server = reqwest::Url::parse(server)?;
    let at = server.socket_addrs(|| None)?;
    let at = at.into_iter().find(|it| it.is_ipv4()).context("the server has no IPv4 address")?;
    // Nothing is sent: it only decides which way that would go.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(at).await?;
    Ok(socket.local_addr()?.ip())
}
