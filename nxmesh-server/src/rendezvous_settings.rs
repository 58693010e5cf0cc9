//! What the reference server is told about rendezvous.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use http::HeaderValue;
use nxmesh_core::rendezvous::{
    CredentialKey, CredentialKeys, Durability, RendezvousSettings, TurnKey,
};
use nxmesh_server::rendezvous::{RendezvousHttpSettings, TurnSettings};

use crate::settings::parse_origin;

/// Peer signaling.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rendezvous")]
pub(crate) struct RendezvousArgs {
    /// Where to serve one protocol at the root as well, for clients whose base URL is a bare host; port
    /// 0 takes a free one
    #[arg(long, env = "NXMESH_RENDEZVOUS_HTTP")]
    pub(crate) rendezvous_http: Option<SocketAddr>,

    /// Which protocol that is; /rpc is there too
    #[arg(long, env = "NXMESH_RENDEZVOUS_PROTOCOL", value_enum, default_value_t = Protocol::Offers)]
    pub(crate) rendezvous_protocol: Protocol,

    /// What a power cut may take: nothing that was answered, or what was answered in the last second
    #[arg(long, env = "NXMESH_RENDEZVOUS_DURABILITY", value_enum, default_value_t = Durable::Durable)]
    pub(crate) rendezvous_durability: Durable,

    /// The key under which credentials of peers are good, 64 hexadecimal digits; a file in the data
    /// folder if not set. Several servers need the same
    #[arg(long, env = "NXMESH_RENDEZVOUS_SECRET", hide_env_values = true)]
    rendezvous_secret: Option<String>,

    /// The key of before, whose credentials are still good
    #[arg(long, env = "NXMESH_RENDEZVOUS_PREVIOUS_SECRET", hide_env_values = true)]
    rendezvous_previous_secret: Option<String>,

    /// From which origins scripts in browsers may call, with commas between [default: any]
    #[arg(long, env = "NXMESH_RENDEZVOUS_ORIGINS", value_delimiter = ',', value_parser = parse_origin)]
    rendezvous_origins: Vec<HeaderValue>,

    /// Let those use the protocol `origin` who send no Origin header: all of them share one realm
    #[arg(long, env = "NXMESH_RENDEZVOUS_ALLOW_NO_ORIGIN")]
    rendezvous_allow_no_origin: bool,

    /// Put those of the protocol `origin` who send X-Rondevu-Global: true into one realm, whatever their origin
    #[arg(long, env = "NXMESH_RENDEZVOUS_ALLOW_GLOBAL")]
    rendezvous_allow_global: bool,

    /// For how long an offer lives whose peer does not say, in seconds
    #[arg(long, env = "NXMESH_RENDEZVOUS_TTL_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(i64).range(60..=86_400))]
    rendezvous_ttl_seconds: i64,

    /// How many offers there may be in all
    #[arg(long, env = "NXMESH_RENDEZVOUS_MAX_OFFERS", default_value_t = 100_000)]
    rendezvous_max_offers: u64,

    /// How many requests a second an address is answered, in bursts of ten times as many; 0 for as
    /// many as come
    #[arg(long, env = "NXMESH_RENDEZVOUS_REQUESTS_PER_SECOND", default_value_t = 2_000)]
    rendezvous_requests_per_second: u32,

    /// The same for a peer
    #[arg(long, env = "NXMESH_RENDEZVOUS_PEER_REQUESTS_PER_SECOND", default_value_t = 1_000)]
    rendezvous_peer_requests_per_second: u32,

    /// How many requests a second an address may make of /rpc; 0 for as many as come
    #[arg(long, env = "NXMESH_RENDEZVOUS_RPC_REQUESTS_PER_SECOND", default_value_t = 50)]
    rendezvous_rpc_requests_per_second: u32,

    /// Addresses of proxies whose X-Forwarded-For is believed, with commas between
    #[arg(long, env = "NXMESH_RENDEZVOUS_TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_address)]
    rendezvous_trusted_proxies: Vec<IpAddr>,

    /// Where a TURN server is, with commas between: turn:turn.example:3478?transport=udp
    #[arg(long, env = "NXMESH_TURN_URIS", value_delimiter = ',', requires = "turn_secret")]
    turn_uris: Vec<String>,

    /// The secret that the TURN server shares with this one: static-auth-secret of coturn
    #[arg(long, env = "NXMESH_TURN_SECRET", hide_env_values = true, requires = "turn_uris")]
    turn_secret: Option<String>,

    /// For how long TURN credentials are good, in seconds
    #[arg(long, env = "NXMESH_TURN_TTL_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    turn_ttl_seconds: u64,
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| "must be an IP address".to_owned())
}

/// A protocol with the root of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Sessions kept apart by the Origin header.
    Origin,
    /// Peers with credentials.
    Offers,
}

/// What a power cut may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durable {
    /// Nothing.
    Durable,
    /// What was answered in the last second.
    Relaxed,
}

impl From<Durable> for Durability {
    fn from(durable: Durable) -> Self {
        match durable {
            Durable::Durable => Self::Durable,
            Durable::Relaxed => Self::Relaxed,
        }
    }
}

impl RendezvousArgs {
    /// What is allowed.
    pub(crate) fn settings(&self) -> RendezvousSettings {
        let mut settings = RendezvousSettings::default();
        settings.default_ttl = self.rendezvous_ttl_seconds * 1000;
        settings.max_offers = self.rendezvous_max_offers;
        settings
    }

    /// The keys of credentials; `made` makes the current one if none is given.
    pub(crate) fn keys(
        &self,
        made: impl FnOnce() -> Result<CredentialKey>,
    ) -> Result<CredentialKeys> {
        let parse = |text: &String, name| CredentialKey::parse(text).context(name);
        let current = self.rendezvous_secret.as_ref();
        let current = current.map(|it| parse(it, "NXMESH_RENDEZVOUS_SECRET")).transpose()?;
        let previous = self.rendezvous_previous_secret.as_ref();
        let previous =
            previous.map(|it| parse(it, "NXMESH_RENDEZVOUS_PREVIOUS_SECRET")).transpose()?;
        Ok(CredentialKeys::new(current.map_or_else(made, Ok)?, previous))
    }

    /// How the routes are served.
    pub(crate) fn http(&self) -> Result<RendezvousHttpSettings> {
        let mut http = RendezvousHttpSettings::default();
        let origins = &self.rendezvous_origins;
        http.allowed_origins = (!origins.is_empty()).then(|| origins.clone());
        http.allow_no_origin = self.rendezvous_allow_no_origin;
        http.allow_global = self.rendezvous_allow_global;
        http.requests_per_second = NonZeroU32::new(self.rendezvous_requests_per_second);
        http.peer_requests_per_second = NonZeroU32::new(self.rendezvous_peer_requests_per_second);
        http.rpc_requests_per_second = NonZeroU32::new(self.rendezvous_rpc_requests_per_second);
        http.trusted_proxies.clone_from(&self.rendezvous_trusted_proxies);
        let Some(secret) = &self.turn_secret else { return Ok(http) };
        let uris: Vec<_> = self.turn_uris.iter().map(|it| it.trim().to_owned()).collect();
        let known = |it: &String| it.starts_with("turn:") || it.starts_with("turns:");
        if let Some(bad) = uris.iter().find(|it| !known(it)) {
            bail!("--turn-uris: {bad} must begin with turn: or turns:");
        }
        http.turn = Some(TurnSettings {
            key: TurnKey::parse(secret.as_str()).context("--turn-secret")?,
            uris,
            ttl: Duration::from_secs(self.turn_ttl_seconds),
        });
        Ok(http)
    }
}
