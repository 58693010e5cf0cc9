use std::{net::IpAddr, str::FromStr};

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{
    database::Database,
    migrate::{STORE, Schema, migrate},
};
use crate::{Error, ErrorKind, Result};

/// Keeps everything in a Postgres database. Several processes may share one.
#[derive(Debug)]
pub struct PostgresStore {
    pub(super) database: Database,
}

/// How to use a Postgres database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// How many connections are open at most, beside one to listen; 16, if not set. More
    /// callers wait, 3 s at most.
    pub max_connections: u32,
    /// Whether passwords and rows may cross a network in plain text; not, if not set: a host
    /// that is not this one then needs `sslmode=verify-full` (or `require`, `verify-ca`) in
    /// the URL.
    pub allow_plain_text: bool,
    /// Whether to hear of what other servers did by `LISTEN`. Without it that takes up to
    /// a second longer: for connection poolers that share a connection by transaction.
    pub listen: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { max_connections: 16, allow_plain_text: false, listen: true }
    }
}

impl PostgresStore {
    /// Opens the database at `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is no such URL; [`Unavailable`](ErrorKind::Unavailable)
    /// when the database does not answer; [`Corrupt`](ErrorKind::Corrupt) when a newer version of
    /// this program wrote it.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, PostgresOptions::default()).await
    }

    /// The same, not by default.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(url: &str, options: PostgresOptions) -> Result<Self> {
        let PostgresOptions { max_connections, allow_plain_text, listen } = options;
        let connect = connect(url, allow_plain_text, STORE).await?;
        Ok(Self { database: Database::new(connect, max_connections.max(1), listen) })
    }
}

/// How to connect to the database at this URL, whose schema is up to date then.
pub(super) async fn connect(
    url: &str,
    allow_plain_text: bool,
    schema: Schema,
) -> Result<PgConnectOptions> {
    let bad = |_| {
        // What the library says of it may repeat the password.
        let message = "the URL must be postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        Error::new(ErrorKind::Invalid, message)
    };
    let connect = PgConnectOptions::from_str(url).map_err(bad)?;
    if !allow_plain_text && !is_private(&connect) {
        let message = format!(
            "the connection to the database at {} may be plain text: add sslmode=verify-full to its URL",
            connect.get_host()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let connect = connect.application_name("nxmesh").disable_statement_logging();
    let closed = |error: sqlx::Error| {
        let (host, port) = (connect.get_host(), connect.get_port());
        let database = connect.get_database().unwrap_or_default();
        let message = format!("cannot open the database {database} at {host}:{port}: {error}");
        Error::new(ErrorKind::Unavailable, message)
    };
    let mut first = connect.connect().await.map_err(closed)?;
    migrate(&mut first, schema).await?;
    Ok(connect)
}

/// Whether nobody on the way can read what is said.
fn is_private(connect: &PgConnectOptions) -> bool {
    let host = connect.get_host();
    let local = connect.get_socket().is_some()
        || host == "localhost"
        || host.starts_with('/')
        || host.parse().is_ok_and(|it: IpAddr| it.is_loopback());
    let encrypted = matches!(
        connect.get_ssl_mode(),
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    local || encrypted
}
