//! Comparing what the API says of an agent with what is so.

use std::path::Path;

use anyhow::Result;
use nxmesh_core::gateway::{Agent, AgentState, NginxState, link::ApplyStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::cell::Cell;

/// What is so.
#[derive(Debug, PartialEq)]
struct So {
    /// The content that nginx serves, by itself.
    content: Option<String>,
    /// The version that clients see.
    version: Option<String>,
    master: Option<u32>,
}

impl So {
    async fn now(cell: &Cell) -> Self {
        let agent = &cell.mesh.agent;
        let content = asked(agent.folder()).await.map(|(_, content)| content);
        let lives = |pid: &u32| {
            let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with(b"nginx: master")
        };
        let master = agent.nginx_pid().filter(lives);
        Self { content, version: cell.served().await, master }
    }
}

/// Revision and content of what nginx serves, as it answers on its status socket.
pub(crate) async fn asked(state: &Path) -> Option<(u64, String)> {
    let mut stream = UnixStream::connect(state.join("run/status.sock")).await.ok()?;
    stream.write_all(b"GET /version HTTP/1.0\r\n\r\n").await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    let mut words = body.split_whitespace();
    let revision = words.next()?.parse().ok()?;
    Some((revision, words.next().unwrap_or_default().to_owned()))
}

/// What the API says of the agent that is not so; something too while it changes.
pub(super) async fn lies(cell: &Cell) -> Result<Vec<String>> {
    let before = So::now(cell).await;
    let shown = cell.mesh.shown().await?;
    let so = So::now(cell).await;
    if before != so {
        return Ok(vec![format!("{before:?} becomes {so:?}")]);
    }
    let lies = said(&shown, &so, cell.wanted).into_iter().filter(|(_, is_so)| !is_so);
    let lies: Vec<_> = lies.map(|(what, _)| what.to_owned()).collect();
    let about = format!("{so:?}, {shown:?}");
    Ok(lies.into_iter().map(|it| format!("{it}: {about}")).collect())
}

/// What it says, and whether that is so.
fn said(shown: &Agent, so: &So, wanted: &str) -> Vec<(&'static str, bool)> {
    let convergence = &shown.convergence;
    let content = |it: &Option<nxmesh_core::gateway::ConfigState>| {
        it.as_ref().map(|it| it.checksum.clone()).unwrap_or_default()
    };
    let refused = shown
        .last_apply
        .as_ref()
        .is_some_and(|it| matches!(it.status, ApplyStatus::Failed | ApplyStatus::RolledBack));
    let stopped = shown.health.as_ref().is_some_and(|it| it.nginx_status == NginxState::Stopped);
    let drifts = shown.drift.total > 0;
    let holds_back = shown.quarantined_total > 0;
    let edited = so.version.as_deref() == Some("edited");
    let as_wanted = so.version.as_deref() == Some(wanted);
    let is_well = !(refused || stopped || drifts || holds_back);
    vec![
        ("it is connected", shown.state != AgentState::Offline),
        ("what it serves", Some(content(&convergence.verified)) == so.content),
        (
            "whether it lags",
            convergence.lagging == (so.content.as_deref() != Some(&content(&convergence.desired))),
        ),
        (
            "what was asked for is served when it does not lag",
            convergence.lagging || as_wanted || edited,
        ),
        ("whether nginx runs", stopped == so.master.is_none()),
        ("whether all is well", (shown.state == AgentState::Online) == is_well),
        ("that somebody edited it", drifts || !edited),
        ("why it lags", !(convergence.lagging && refused) || convergence.error.is_some()),
    ]
}
