use nxmesh_core::{Secret, rendezvous::Millis};
use serde::Deserialize;

use super::RendezvousClient;
use crate::{Result, request::Call};

/// A TURN server, and what it lets this peer in by: the members of an `RTCIceServer`.
#[derive(Debug)]
#[non_exhaustive]
pub struct TurnServer {
    /// Where it is: `turn:turn.example:3478?transport=udp`.
    pub urls: Vec<String>,
    /// The name to give.
    pub username: String,
    /// The password.
    pub credential: Secret<String>,
    /// From then on it is good for no new relay; one that has begun goes on.
    pub expires_at: Millis,
}

impl RendezvousClient {
    /// What relays for this peer, for a time.
    ///
    /// # Errors
    /// Those of the connection; [`is_not_found`](crate::Error::is_not_found) when the server has no TURN server
    /// set up.
    pub async fn turn(&self) -> Result<TurnServer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            urls: Vec<String>,
            username: String,
            credential: String,
            expires_at: Millis,
        }
        let Answer { urls, username, credential, expires_at } =
            self.fetch(Call::get("turn".to_owned())).await?;
        Ok(TurnServer { urls, username, credential: Secret::new(credential), expires_at })
    }
}
