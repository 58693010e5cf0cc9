use super::{auth::RpcHeaders, auth::authenticate, batch::Rpc, call::Call};
use crate::{Error, ErrorKind, Result, rendezvous::PublicKey};

/// What is signed by who asks to be told what reaches them: a method without parameters.
const METHOD: &str = "events";

impl Rpc<'_> {
    /// Who asks to be told what reaches them. They prove it as for a call of the method `events` without parameters,
    /// once each time.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) with the text of the protocol, and those of the store.
    pub async fn listener(&self, proof: &RpcHeaders) -> Result<PublicKey> {
        let refused = |what| Error::new(ErrorKind::Unauthenticated, what);
        let now = self.0.now();
        let nonce = authenticate(&Call::default(), METHOD, proof, now)
            .map_err(|error| refused(error.message.into_owned()))?;
        let key = nonce.key.clone();
        if self.0.store.use_nonces(&[nonce], now).await? == [true] {
            return Ok(key);
        }
        Err(refused("Nonce already used (replay attack detected)".to_owned()))
    }
}
