//! Credentials for a TURN server, which real coturn takes.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nxmesh_benches::{Process, ServerProcess};
use nxmesh_client::rendezvous::RendezvousClient;
use tokio::{process::Command, time::timeout};

/// What a program says when it is not installed.
const MISSING: &str = "coturn is not installed: scripts/install coturn";
const PATIENCE: Duration = Duration::from_secs(60);

/// Two clients of coturn's own exchange messages by its relay. What they say tells whether they could.
async fn relay(port: u16, username: &str, credential: &str) -> Result<(bool, String)> {
    let mut client = Command::new("turnutils_uclient");
    // Between two relayed addresses, two messages, one client, without a test of RTCP.
    client.args(["-y", "-n", "2", "-m", "1", "-c"]).args(["-u", username, "-w", credential]);
    client.args(["-p", &port.to_string(), "127.0.0.1"]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(PATIENCE, client.output()).await.context("it does not end")?;
    let said = String::from_utf8(ended.context(MISSING)?.stdout)?;
    let lost = said.lines().find_map(|line| line.split("Total lost packets ").nth(1));
    Ok((lost.is_some_and(|it| it.starts_with("0 ")), said))
}

#[tokio::test(flavor = "multi_thread")]
async fn coturn_relays_for_those_who_have_a_credential_of_ours() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let uri = format!("turn:127.0.0.1:{port}?transport=udp");
    let server = ServerProcess::start_with(
        &folder.path().join("server"),
        &["--turn-uris", &uri, "--turn-secret", "north"],
    )
    .await?;
    let mut coturn = Command::new("turnserver");
    coturn.args(["-n", "--use-auth-secret", "--static-auth-secret=north", "--realm=example"]);
    coturn.args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"]);
    coturn.args(["--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--simple-log"]);
    coturn.arg(format!("--listening-port={port}"));
    for file in ["pidfile", "userdb"] {
        coturn.arg(format!("--{file}={}", folder.path().join(file).display()));
    }
    let _coturn =
        Process::start(&mut coturn, &folder.path().join("coturn.log")).context(MISSING)?;

    let client = RendezvousClient::new(format!("{}/rendezvous", server.http()))?;
    let client = client.with_credential(client.register().await?);
    let turn = client.turn().await?;
    assert_eq!(turn.urls, [uri]);
    let (username, credential) = (turn.username.as_str(), turn.credential.expose().as_str());
    let relayed = async {
        // It may still be starting.
        loop {
            let (works, said) = relay(port, username, credential).await?;
            if works {
                return Ok(());
            }
            ensure!(!said.contains("Unauthorized"), "{said}");
        }
    };
    timeout(PATIENCE, relayed).await.context("nothing is relayed")??;
    // Of another peer, and of another time: the name is what was signed.
    for other in [username.replace(':', ":x"), username.replacen('1', "2", 1)] {
        let (works, said) = relay(port, &other, credential).await?;
        assert!(!works, "{other} is let in: {said}");
    }
    Ok(())
}
