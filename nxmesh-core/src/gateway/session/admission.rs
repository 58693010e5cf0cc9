//! Letting agents in.

use std::time::Duration;

use futures::StreamExt;

use crate::{
    Error, ErrorKind, Result, Secret, TokenHash,
    gateway::{
        AgentId, AgentRecord,
        context::Context,
        link::{AgentMessage, Incoming, Registration},
        store::AgentSecret,
    },
    token::new_token,
};

/// How a registration token begins.
pub(crate) const TOKEN_PREFIX: &str = "nxmesh_agent_";
const CREDENTIAL_PREFIX: &str = "nxmesh_credential_";
/// How long a new connection may take to introduce itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// An agent that was let in.
pub(crate) struct Admission {
    pub(crate) agent: AgentRecord,
    pub(crate) registration: Registration,
    /// What it shall use from now on, if that is new.
    pub(crate) credential: Option<Secret<String>>,
    /// The secret that all others give way to, once the agent has kept it.
    pub(crate) secret: TokenHash,
}

/// Waits for the registration, and checks it.
pub(crate) async fn admit(
    context: &Context,
    incoming: &mut Incoming<AgentMessage>,
) -> Result<Admission> {
    let refused = |message: &str| Error::new(ErrorKind::Unauthenticated, message);
    let first = tokio::time::timeout(PATIENCE, incoming.next()).await;
    let first = first.map_err(|_| refused("no registration came in time"))?;
    let Some(Ok(AgentMessage::Registration(registration))) = first else {
        return Err(refused("the first message must be a registration"));
    };
    let token = registration.token.expose();
    let (agent, hash) = authenticate(context, token).await?;
    // A token works until the credential that it bought was used: an agent that
    // dies before it kept the credential can ask again.
    let fresh = token.starts_with(TOKEN_PREFIX).then(|| new_token(CREDENTIAL_PREFIX));
    let secret = match &fresh {
        None => hash,
        Some(credential) => add_credential(context, agent.spec.id, credential).await?,
    };
    Ok(Admission { agent, registration, credential: fresh, secret })
}

/// Whose token or credential this is.
pub(crate) async fn authenticate(
    context: &Context,
    token: &str,
) -> Result<(AgentRecord, TokenHash)> {
    let refused = || Error::new(ErrorKind::Unauthenticated, "the token or credential is not valid");
    let hash = TokenHash::of(token);
    let secret = context.store.agent_secret(&hash).await?.ok_or_else(refused)?;
    if secret.expires_at.is_some_and(|end| end <= context.clock.now()) {
        return Err(Error::new(ErrorKind::Unauthenticated, "the registration token has expired"));
    }
    let agent = context.store.agent(secret.agent_id).await?.ok_or_else(refused)?;
    Ok((agent, hash))
}

async fn add_credential(
    context: &Context,
    agent_id: AgentId,
    credential: &Secret<String>,
) -> Result<TokenHash> {
    let hash = TokenHash::of(credential.expose());
    let secret = AgentSecret { hash, agent_id, expires_at: None };
    match context.store.add_agent_secret(secret).await? {
        true => Ok(hash),
        false => Err(Error::new(ErrorKind::Unauthenticated, "the agent was deleted")),
    }
}
