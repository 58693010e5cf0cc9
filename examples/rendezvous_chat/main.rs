//! Two people who chat: their peers find each other by topic at a rendezvous server, and then speak to
//! each other directly, by a WebRTC data channel. Run it in two terminals:
//!
//! `cargo run -p nxmesh-examples --example rendezvous_chat -- --server http://127.0.0.1:8080/rendezvous --topic T`
//!
//! What one types the other one reads. `--check` has both in this process, with a server of their own.

mod chat;
mod check;
mod pair;
mod peer;

use std::{net::IpAddr, thread};

use anyhow::{Context, Result};
use clap::Parser;
use nxmesh_client::rendezvous::{RendezvousClient, Signaler};
use tokio::sync::mpsc;

#[derive(Parser)]
struct Args {
    /// Where rendezvous is: http://HOST:PORT/rendezvous
    #[arg(long, required_unless_present = "check")]
    server: Option<String>,
    /// What the two have agreed on
    #[arg(long, default_value = "rendezvous_chat")]
    topic: String,
    /// A STUN server, for who is behind NAT: stun:HOST:PORT
    #[arg(long)]
    stun: Option<String>,
    /// Has both ends here, with a server of their own, and ends
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let Some(server) = args.server.filter(|_| !args.check) else { return check::run().await };
    let client = RendezvousClient::new(&server)?;
    let me = client.register().await.with_context(|| format!("cannot register at {server}"))?;
    println!("{} waits for somebody under {:?}", me.peer_id, args.topic);
    let signaler = Signaler::new(&client, me);
    let host = pair::local_address(&server).await?;
    let ended = tokio::select! {
        ended = talk(&signaler, &args.topic, host, args.stun.as_deref()) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let withdrawn = withdraw_all(&signaler).await;
    signaler.shutdown().await;
    // Why it ended is worth more than what could not be cleared away after it.
    ended.and(withdrawn)
}

/// Nobody is to find what nobody waits for.
async fn withdraw_all(signaler: &Signaler) -> Result<()> {
    let offers = signaler.client().offers();
    for offer in offers.mine().await.context("cannot take the offers back")? {
        offers.delete(&offer.id).await?;
    }
    Ok(())
}

async fn talk(signaler: &Signaler, topic: &str, host: IpAddr, stun: Option<&str>) -> Result<()> {
    let mut chat = pair::pair(signaler, topic, host, stun).await?;
    println!("connected: type, and end with an empty line");
    let mut lines = typed();
    loop {
        tokio::select! {
            line = lines.recv() => match line.filter(|it| !it.is_empty()) {
                Some(line) => chat.say(&line).await?,
                None => break,
            },
            heard = chat.hear() => match heard? {
                Some(line) => println!("> {line}"),
                None => break,
            },
        }
    }
    chat.end().await
}

/// What is typed, line by line. Its thread ends with this program: it cannot be told to stop reading.
fn typed() -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel(16);
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            if to.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}
