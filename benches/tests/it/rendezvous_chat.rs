//! The example whose peers speak to each other directly, once the server has brought them together.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use nxmesh_benches::{ServerProcess, binary};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_example_checks_itself() -> Result<()> {
    let mut command = Command::new(binary("examples/rendezvous_chat")?);
    command.arg("--check").stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(PATIENCE, command.output()).await.context("it does not end")??;
    let (said, complaint) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && complaint.is_empty(), "{said}{complaint}");
    assert!(said.starts_with("exchanged "), "{said}");
    Ok(())
}

/// One who chats.
struct Terminal {
    process: Child,
    keys: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    fn open(server: &str) -> Result<Self> {
        let mut command = Command::new(binary("examples/rendezvous_chat")?);
        command.args(["--server", server, "--topic", "two terminals"]).kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let keys = process.stdin.take().context("no keys")?;
        let screen = BufReader::new(process.stdout.take().context("no screen")?).lines();
        Ok(Self { process, keys, screen })
    }

    async fn types(&mut self, line: &str) -> Result<()> {
        Ok(self.keys.write_all(format!("{line}\n").as_bytes()).await?)
    }

    /// Waits until there is a line that begins so.
    async fn shows(&mut self, lead: &str) -> Result<String> {
        let shown = async {
            while let Some(line) = self.screen.next_line().await? {
                if line.starts_with(lead) {
                    return Ok(line);
                }
            }
            anyhow::bail!("it ended without {lead:?}")
        };
        timeout(PATIENCE, shown).await.with_context(|| format!("it does not show {lead:?}"))?
    }

    async fn ends(mut self) -> Result<()> {
        let ended = timeout(PATIENCE, self.process.wait()).await.context("it does not end")??;
        assert!(ended.success(), "{ended}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_come_at_once_chat_and_leave_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path()).await?;
    let at = format!("{}/rendezvous", server.http());
    let (mut one, mut other) = (Terminal::open(&at)?, Terminal::open(&at)?);
    one.shows("connected").await?;
    other.shows("connected").await?;
    one.types("Is anybody there?").await?;
    assert_eq!(other.shows("> ").await?, "> Is anybody there?");
    other.types("There is. 你好 😀").await?;
    assert_eq!(one.shows("> ").await?, "> There is. 你好 😀");
    // An empty line ends one, and its end the other.
    one.types("").await?;
    one.ends().await?;
    other.ends().await?;
    let client = nxmesh_client::rendezvous::RendezvousClient::new(&at)?;
    let left = client.offers().by_topic("two terminals", None, None).await?;
    assert_eq!(left.offers, []);
    Ok(())
}
