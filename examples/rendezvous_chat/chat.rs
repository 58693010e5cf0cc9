use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelState};

use crate::peer::{Found, Peer};

/// A data channel to the other side that is open.
pub(crate) struct Chat {
    peer: Peer,
    channel: Arc<dyn DataChannel>,
}

impl Chat {
    pub(crate) const fn new(peer: Peer, channel: Arc<dyn DataChannel>) -> Self {
        Self { peer, channel }
    }

    pub(crate) async fn say(&self, line: &str) -> Result<()> {
        Ok(self.channel.send_text(line).await?)
    }

    /// The next line of the other side; `None` once it has gone.
    pub(crate) async fn hear(&mut self) -> Result<Option<String>> {
        loop {
            tokio::select! {
                event = self.channel.poll() => match event {
                    Some(DataChannelEvent::OnMessage(message)) => {
                        return Ok(Some(String::from_utf8(message.data.to_vec())?));
                    }
                    Some(DataChannelEvent::OnClose) | None => return Ok(None),
                    Some(_) => {}
                },
                found = self.peer.found() => if matches!(found, Found::Over) {
                    return Ok(None);
                },
            }
        }
    }

    /// Ends it for both, unless the other side has.
    pub(crate) async fn end(mut self) -> Result<()> {
        if self.channel.ready_state().await.is_ok_and(|it| it == RTCDataChannelState::Open) {
            self.channel.close().await?;
            let closed = async { while matches!(self.hear().await, Ok(Some(_))) {} };
            // Where the other side does not say that it has heard, it has gone.
            let _ = timeout(Duration::from_secs(2), closed).await;
        }
        self.peer.close().await
    }
}
