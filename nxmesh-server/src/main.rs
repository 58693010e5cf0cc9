//! The reference server.

mod rendezvous_settings;
mod secrets;
mod serve;
mod settings;
mod signaling;
mod tls;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use nxmesh_core::{
    rendezvous::RendezvousStore,
    store::{
        Archive, Stores,
        postgres::{PostgresOptions, PostgresRendezvous, PostgresStore},
        sqlite::{SqliteRendezvous, SqliteStore},
        transfer,
    },
};

use self::settings::{Command, LogFormat, Migrate, Settings, StoreUrl};

/// A quarter of the time of a short request went into the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is wrong with how it was started.
const USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) if error.use_stderr() => return refuse(&one_line(&error.to_string())),
        Err(help) => {
            // Help and version are what was asked for; a closed pipe is no failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let filter = match EnvFilter::try_new(&settings.log) {
        Ok(filter) => filter,
        Err(error) => return refuse(&format!("--log: {error}")),
    };
    // A log that cannot be written would be told where it cannot be written, which panics.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
    if let Some(Command::Migrate(migration)) = settings.command {
        return match migrate(migration).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let server = match serve::prepare(settings, open_store, open_rendezvous).await {
        Ok(server) => server,
        Err(error) => return refuse(&format!("{error:#}")),
    };
    match server.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Moves everything from one store to another.
async fn migrate(Migrate { from, to, insecure }: Migrate) -> anyhow::Result<()> {
    if let StoreUrl::Sqlite(path) = &from {
        anyhow::ensure!(path.is_file(), "--from: there is no file {}", path.display());
    }
    let from = open_archive(from, insecure).await.context("--from")?;
    let to = open_archive(to, insecure).await.context("--to")?;
    for (table, rows) in transfer(&from, &to).await? {
        println!("{table}: {rows} rows");
    }
    println!("all is moved; start the servers on the new store with the same master key");
    Ok(())
}

async fn open_archive(url: StoreUrl, insecure: bool) -> anyhow::Result<Archive> {
    Ok(match url {
        StoreUrl::Sqlite(path) => SqliteStore::open(path).await?.into(),
        StoreUrl::Postgres(url) => {
            let mut options = PostgresOptions::default();
            options.allow_plain_text = insecure;
            PostgresStore::open_with(url.expose(), options).await?.into()
        }
    })
}

/// Like [`open_archive`], the one place that knows which databases there are.
async fn open_store(url: StoreUrl, settings: &Settings) -> anyhow::Result<Stores> {
    Ok(match url {
        StoreUrl::Sqlite(path) => SqliteStore::open(path).await?.into(),
        StoreUrl::Postgres(url) => {
            let mut options = PostgresOptions::default();
            options.max_connections = settings.postgres_connections;
            options.listen = !settings.postgres_no_listen;
            options.allow_plain_text = settings.insecure;
            PostgresStore::open_with(url.expose(), options).await.context("--store")?.into()
        }
    })
}

/// The same for rendezvous, which has a file of its own, or tables of its own.
async fn open_rendezvous(
    url: StoreUrl,
    settings: &Settings,
) -> anyhow::Result<Arc<dyn RendezvousStore>> {
    let durability = settings.rendezvous.rendezvous_durability.into();
    Ok(match url {
        StoreUrl::Sqlite(path) => Arc::new(SqliteRendezvous::open(path, durability).await?),
        StoreUrl::Postgres(url) => {
            let mut options = PostgresOptions::default();
            options.max_connections = settings.postgres_connections;
            options.listen = !settings.postgres_no_listen;
            options.allow_plain_text = settings.insecure;
            let opened = PostgresRendezvous::open_with(url.expose(), options, durability).await;
            Arc::new(opened.context("--store")?)
        }
    })
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("nxmesh-server: {error:#}");
    ExitCode::FAILURE
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("nxmesh-server: {why}");
    ExitCode::from(USAGE)
}

/// The reason of a usage error, without the help that follows it.
fn one_line(error: &str) -> String {
    let reason = error.split("\n\n").next().unwrap_or(error);
    let words: Vec<_> = reason.trim_start_matches("error: ").split_whitespace().collect();
    format!("{} (see --help)", words.join(" "))
}
