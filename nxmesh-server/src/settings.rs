//! What the reference server is told on its command line and in its environment.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::HeaderValue;
use nxmesh_core::{Retention, Secret};

/// The NxMesh control plane: REST for people and programs, gRPC for agents.
#[derive(Debug, Parser)]
#[command(name = "nxmesh-server", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Settings {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Where to serve REST; port 0 takes a free one
    #[arg(long, env = "NXMESH_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,

    /// Where to serve agents; port 0 takes a free one
    #[arg(long, env = "NXMESH_GRPC", default_value = "127.0.0.1:9090")]
    pub(crate) grpc: SocketAddr,

    /// Where everything is kept: sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/DATABASE for
    /// several servers [default: sqlite:DATA_DIR/nxmesh.db]
    #[arg(long, env = "NXMESH_STORE", hide_env_values = true)]
    pub(crate) store: Option<StoreUrl>,

    /// How many connections to Postgres are open at most
    #[arg(long, env = "NXMESH_POSTGRES_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) postgres_connections: u32,

    /// Do not LISTEN, for a pooler between server and Postgres that does not let it through: what
    /// other servers do is then known a second later
    #[arg(long, env = "NXMESH_POSTGRES_NO_LISTEN")]
    pub(crate) postgres_no_listen: bool,

    /// Where the server keeps its own files
    #[arg(long, env = "NXMESH_DATA_DIR", default_value = "nxmesh-data")]
    pub(crate) data_dir: PathBuf,

    /// A certificate chain in PEM: both ports speak TLS
    #[arg(long, env = "NXMESH_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of the certificate in PEM
    #[arg(long, env = "NXMESH_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Allow plain text beyond loopback, for both ports and for the store
    #[arg(long, env = "NXMESH_INSECURE")]
    pub(crate) insecure: bool,

    /// How many requests a minute are answered to a user, an API key, or an address that is not
    /// logged in; 0 for as many as come
    #[arg(long, env = "NXMESH_REQUESTS_PER_MINUTE", default_value_t = 1000)]
    pub(crate) requests_per_minute: u32,

    /// How many logins a minute an address may try; 0 for as many as come
    #[arg(long, env = "NXMESH_LOGINS_PER_MINUTE", default_value_t = 10)]
    pub(crate) logins_per_minute: u32,

    /// From which origins scripts in browsers may call, with commas between:
    /// https://console.example
    #[arg(long, env = "NXMESH_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = parse_origin)]
    pub(crate) allowed_origins: Vec<HeaderValue>,

    /// How many revisions of each workspace are kept: the newest; 0 for all. Older ones are dropped
    /// once there are a tenth more
    #[arg(long, env = "NXMESH_KEEP_REVISIONS", default_value_t = Retention::default().revisions)]
    pub(crate) keep_revisions: u64,

    /// How often agents report, in seconds
    #[arg(long, env = "NXMESH_HEARTBEAT_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) heartbeat_seconds: u64,

    /// How many events can be replayed; 10000 at least
    #[arg(long, env = "NXMESH_KEEP_EVENTS", default_value_t = Retention::default().events, value_parser = clap::value_parser!(u64).range(Retention::MIN_EVENTS..))]
    pub(crate) keep_events: u64,

    /// For how many days entries of the audit log are kept; 0 for ever
    #[arg(long, env = "NXMESH_KEEP_AUDIT_DAYS", default_value_t = Retention::default().audit_days)]
    pub(crate) keep_audit_days: u32,

    /// The e-mail address of the administrator that is made on an empty store
    #[arg(long, env = "NXMESH_ADMIN_EMAIL", default_value = "admin@localhost")]
    pub(crate) admin_email: String,

    /// The password of that administrator; a random one is printed once if not set
    #[arg(long, env = "NXMESH_ADMIN_PASSWORD", hide_env_values = true)]
    pub(crate) admin_password: Option<String>,

    /// The key that other secrets are stored under, 32 bytes in base64; a file in the
    /// data folder if not set
    #[arg(long, env = "NXMESH_MASTER_KEY", hide_env_values = true)]
    pub(crate) master_key: Option<String>,

    #[command(flatten)]
    pub(crate) rendezvous: crate::rendezvous_settings::RendezvousArgs,

    /// What to log: error, warn, info, debug, trace, or a filter for each module
    #[arg(long, env = "NXMESH_LOG", default_value = "info")]
    pub(crate) log: String,

    /// How to log: lines for people, or a JSON object in each line
    #[arg(long, env = "NXMESH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What it can do beside serving.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Move everything from one store to another, which must be empty; stop the servers before
    Migrate(Migrate),
}

/// From where to where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Migrate {
    /// What to read: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long)]
    pub(crate) from: StoreUrl,

    /// What to fill
    #[arg(long)]
    pub(crate) to: StoreUrl,

    /// Allow plain text to a database beyond loopback
    #[arg(long, env = "NXMESH_INSECURE")]
    pub(crate) insecure: bool,
}

/// Which store, and where.
#[derive(Debug, Clone)]
pub(crate) enum StoreUrl {
    /// One file.
    Sqlite(PathBuf),
    /// A database of its own; the URL may have a password in it.
    Postgres(Secret<String>),
}

pub(crate) fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    let bad = || "must be SCHEME://HOST or SCHEME://HOST:PORT".to_owned();
    let (scheme, host) = text.split_once("://").ok_or_else(bad)?;
    let whole = !host.is_empty() && !host.contains('/');
    let known = matches!(scheme, "http" | "https");
    if known && whole { HeaderValue::from_str(text).map_err(|_| bad()) } else { Err(bad()) }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(Secret::new(text.to_owned())))
            }
            Some(_) | None => {
                Err("must be sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
            }
        }
    }
}
