//! Peer signaling by the server program, over each kind of store, beside what rondevu-server did
//! on the same kind of machine, and beside a bare axum server.

mod at_rest;
mod load;
mod server;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nxmesh_benches::{Hello, Met};

use self::{
    at_rest::{offers_at_rest, silence, waiting},
    load::{Load, Node},
    server::{Server, Store, serve_in_memory},
};

/// As in the reference server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    program: Option<Program>,
    /// How long to measure each, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often; the middle one counts
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// How many connections at once
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Only stores whose name contains this
    #[arg(long, default_value = "")]
    store: String,
    /// Only loads whose name contains this, and hello
    #[arg(long, default_value = "")]
    only: String,
    /// With how many live offers to measure memory; 0 for not at all
    #[arg(long, default_value_t = 100_000)]
    offers: usize,
    /// With how many connections that wait for news; 0 for not at all
    #[arg(long, default_value_t = 10_000)]
    push: usize,
}

#[derive(Subcommand)]
enum Program {
    /// The server to compare with, in a process of its own
    Hello,
    /// A server on a store in memory, in a process of its own
    InMemory,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.program {
        Some(Program::Hello) => Hello::serve(),
        Some(Program::InMemory) => tokio::runtime::Runtime::new()?.block_on(serve_in_memory()),
        // One thread asks: it leaves the machine to the servers, and costs all of them the same.
        None => {
            let asking = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            asking.block_on(measure(&args))
        }
    }
}

#[expect(clippy::future_not_send, reason = "all of it asks from one thread")]
async fn measure(args: &Args) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let floor = Hello::start(folder.path()).await?;
    let stores = Store::ALL.into_iter().filter(|it| it.name().contains(&args.store));
    for store in stores {
        compare(store, folder.path(), floor.address()?, args).await?;
        if args.offers > 0 {
            offers_at_rest(store, folder.path(), args.offers).await?;
        }
        if args.push > 0 {
            waiting(store, folder.path(), args.push).await?;
        }
    }
    if args.push > 0 {
        silence(floor.address()?, args.push).await?;
    }
    Ok(())
}

/// Measures all loads in turn, and prints a table.
#[expect(clippy::future_not_send, reason = "all of it asks from one thread")]
async fn compare(store: Store, folder: &Path, hello: (SocketAddr, u32), args: &Args) -> Result<()> {
    let mut server = Server::start(store, &folder.join(store.name())).await?;
    let target = (server.address, server.id()?);
    let wanted = |it: &Load| *it == Load::Hello || it.name().contains(&args.only);
    let loads: Vec<_> = Load::ALL.into_iter().filter(wanted).collect();
    for load in &loads {
        load.prepare(&server).await?;
    }
    let mut met = loads.iter().map(|_| Vec::new()).collect::<Vec<Vec<Met>>>();
    let lasting = Duration::from_secs_f64(args.seconds);
    for _ in 0..args.turns {
        for (load, met) in loads.iter().zip(&mut met) {
            let at = if *load == Load::Hello { hello } else { target };
            let turn = load.repeat(at, args.connections, lasting).await;
            met.push(turn.with_context(|| load.name())?);
        }
    }
    println!("{}: {} connections, middle of {} turns", store.name(), args.connections, args.turns);
    println!(
        "  load                    a second   p50 ms   p99 ms   CPU µs a request   times Node in memory   on SQLite   wanted"
    );
    for (load, met) in loads.iter().zip(met) {
        let Met { rate, took, cpu } = Met::middle(met).context("nothing was measured")?;
        let (name, cpu) = (load.name(), cpu / load.requests() as f64);
        print!("  {name:22} {rate:9.0} {:8.2} {:8.2} {cpu:18.1}", took.ms(0.5), took.ms(0.99));
        if let Some(Node { in_memory, sqlite_file }) = load.node() {
            print!(" {:22.0} {:11.0}", rate / in_memory, rate / sqlite_file);
        }
        println!("{}", load.goal(store).map_or(String::new(), |it| format!(" {it:8.0}")));
    }
    Ok(())
}
