//! The example that shows how a fleet behaves when some of it does not.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use nxmesh_benches::{ServerProcess, binary};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(180);

/// Runs it to its end; answers what it said.
async fn simulate(args: &[&str]) -> Result<String> {
    let mut command = Command::new(binary("examples/simulate_fleet")?);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let ended = ended.with_context(|| format!("{args:?} did not end"))??;
    let said = String::from_utf8(ended.stdout)?;
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && complaint.is_empty(), "{said}{complaint}");
    Ok(said)
}

/// The number before these words, in the last line.
fn summed_up(said: &str, what: &str) -> Result<usize> {
    let last = said.lines().last().context("it said nothing")?;
    let before = last.split(what).next().filter(|it| *it != last);
    let before = before.with_context(|| format!("no{what} in {last}"))?;
    let number = before.rsplit(' ').next().context("no number")?;
    number.parse().with_context(|| format!("{number} in {last}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_every_fault_is_shown_and_converges_when_they_are_gone() -> Result<()> {
    let faults = [
        "--refuse",
        "5",
        "--hold-back",
        "10",
        "--fail",
        "5",
        "--die",
        "15",
        "--slow",
        "5",
        "--drop",
        "20",
        "--away",
        "5",
    ];
    let args = ["--agents", "20", "--changes", "2", "--every", "4"];
    let said = simulate(&[&args[..], &faults].concat()).await?;
    let has = |what: &str| assert!(said.contains(what), "no {what:?} in\n{said}");
    has("change 1 of shop-2 is revision 24: all is well\n");
    has("20 of 20 connected, 20 on revision 24, 0 lagging, 0 hold back, proven after p50 ");
    has(
        "change 2 of shop-3 is revision 25: 1 refuse it, 2 hold the host back, 1 answer one in five \
         requests with 500, 3 die of it, 1 take 3 s, 4 lose their connection every 2 s, 1 stay \
         away\n",
    );
    has(" lagging, 2 hold back");
    has("all faults are gone\n");
    has("all 20 agents serve what they should, ");
    for (what, least) in [
        (" changes", 2),
        (" times,", 20),
        (" refusals", 1),
        (" deaths", 3),
        // Those who die, go and are cut off.
        (" connections lost", 8),
    ] {
        assert!(summed_up(&said, what)? >= least, "{what} in\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_the_canaries_refuse_halts_and_the_next_one_does_not() -> Result<()> {
    let args = ["--agents", "20", "--changes", "2", "--every", "1", "--soak", "1"];
    let said = simulate(&[&args[..], &["--rollout", "--refuse", "100"]].concat()).await?;
    let has = |what: &str| assert!(said.contains(what), "no {what:?} in\n{said}");
    has("rollout running in wave 1 of 3\n");
    has("the rollout of change 1 is completed\n");
    has("the rollout of change 2 is halted: max_failed_applies: ");
    has("nginx: [emerg] simulated");
    has("the rollout of all changes is completed\n");
    has("all 20 agents serve what they should, ");
    assert_eq!((summed_up(&said, " rollouts halted")?, summed_up(&said, " changes")?), (1, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_runs_is_left_as_it_was() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path()).await?;
    let (http, grpc) = (server.http(), server.grpc());
    let at = ["--server", &http, "--grpc", &grpc];
    let who = ["--email", ServerProcess::EMAIL, "--password", ServerProcess::PASSWORD];
    let what = ["--agents", "3", "--changes", "1", "--every", "1"];
    let said = simulate(&[&at[..], &who, &what].concat()).await?;
    assert!(said.contains("all 3 agents serve what they should, "), "{said}");
    assert!(!said.contains(ServerProcess::PASSWORD), "{said}");
    let left: Vec<_> = server.client().await?.organizations().list().try_collect().await?;
    assert_eq!(left, []);
    Ok(())
}
