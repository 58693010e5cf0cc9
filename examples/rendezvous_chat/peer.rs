use std::{net::IpAddr, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use tokio::sync::mpsc;
use webrtc::{
    data_channel::DataChannel,
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceCandidateInit, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
        RTCSessionDescription,
    },
};

/// More than a host has addresses.
const WAITING: usize = 256;

/// One end of a WebRTC connection.
pub(crate) struct Peer {
    connection: Box<dyn PeerConnection>,
    found: mpsc::Receiver<Found>,
}

/// What a connection finds out.
pub(crate) enum Found {
    /// How this end may be reached.
    Candidate(RTCIceCandidateInit),
    /// What the other end opened.
    Channel(Arc<dyn DataChannel>),
    /// That the two do not reach each other, or not any more.
    Over,
}

struct Tells(mpsc::Sender<Found>);

// Where nobody listens any more there is nothing to tell.
#[async_trait]
impl PeerConnectionEventHandler for Tells {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let _ = self.0.send(Found::Candidate(candidate)).await;
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.0.send(Found::Channel(channel)).await;
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) {
            let _ = self.0.send(Found::Over).await;
        }
    }
}

impl Peer {
    pub(crate) async fn new(host: IpAddr, stun: Option<&str>) -> Result<Self> {
        let (tells, found) = mpsc::channel(WAITING);
        let stun =
            stun.map(|url| RTCIceServer { urls: vec![url.to_owned()], ..Default::default() });
        let settings = RTCConfigurationBuilder::new().with_ice_servers(stun.into_iter().collect());
        let connection = PeerConnectionBuilder::new()
            .with_configuration(settings.build())
            .with_handler(Arc::new(Tells(tells)))
            .with_udp_addrs(vec![(host, 0)])
            .build()
            .await?;
        Ok(Self { connection: Box::new(connection), found })
    }

    /// Begins: a data channel, and the session description to offer.
    pub(crate) async fn offer(&self) -> Result<(Arc<dyn DataChannel>, String)> {
        let channel = self.connection.create_data_channel("chat", None).await?;
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer.clone()).await?;
        Ok((channel, offer.sdp))
    }

    /// The session description to answer with.
    pub(crate) async fn answer_to(&self, sdp: String) -> Result<String> {
        self.connection.set_remote_description(RTCSessionDescription::offer(sdp)?).await?;
        Ok(self.connection.create_answer(None).await?.sdp)
    }

    /// Says that this is what was answered: from now on candidates are found.
    pub(crate) async fn answered(&self, sdp: String) -> Result<()> {
        let answer = RTCSessionDescription::answer(sdp)?;
        Ok(self.connection.set_local_description(answer).await?)
    }

    /// Takes the other side's answer.
    pub(crate) async fn take_answer(&self, sdp: String) -> Result<()> {
        let answer = RTCSessionDescription::answer(sdp)?;
        Ok(self.connection.set_remote_description(answer).await?)
    }

    /// Takes a candidate of the other side.
    pub(crate) async fn take_candidate(&self, candidate: RTCIceCandidateInit) -> Result<()> {
        Ok(self.connection.add_ice_candidate(candidate).await?)
    }

    /// What it finds out next.
    pub(crate) async fn found(&mut self) -> Found {
        self.found.recv().await.unwrap_or(Found::Over)
    }

    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}
