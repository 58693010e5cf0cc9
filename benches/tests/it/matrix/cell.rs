//! What all cells have in common.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nxmesh_benches::{
    Faults, Load, NginxBinary, Point, ServerProcess, Surroundings, Tally, TestMesh, free_port, get,
    wait_for,
};
use nxmesh_core::{
    MergePatch,
    gateway::{AgentState, NewVirtualHost, VirtualHostId},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::truth::lies;

/// How long anything may take; what is refused waits up to half a minute until it is tried again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "cell.example";
/// For how long what is said must be so: longer than a heartbeat, with which it may change.
const STAYS: Duration = Duration::from_millis(1500);
/// How many answers in a row are taken for what all workers say.
const STEADY: usize = 32;
/// What an agent keeps besides what is linked to, and may have begun.
const MOST_GENERATIONS: usize = 6;

/// Something that goes wrong, and is over at some time.
pub(crate) trait Fault: Sized {
    /// All parts together, where it can be brought about.
    async fn prepare() -> Result<(Self, Cell)>;

    /// Asks for the new version, with the agent held at a point.
    async fn change(&mut self, cell: &Cell, at: Point) -> Result<()>;

    /// It comes, while the agent waits at that point.
    async fn come(&mut self, cell: &mut Cell, at: Point) -> Result<()>;

    /// It lasts, and the agent goes on: what is to be seen meanwhile.
    async fn last(&mut self, cell: &mut Cell, at: Point) -> Result<()>;

    /// It is gone.
    async fn go(&mut self, cell: &mut Cell) -> Result<()>;

    /// What holds besides once the new version is served.
    async fn after(&mut self, cell: &Cell) -> Result<()>;
}

/// All parts together, an agent that can be held, and clients that ask all the time.
pub(crate) struct Cell {
    pub(crate) mesh: TestMesh,
    pub(crate) faults: Faults,
    pub(crate) host: VirtualHostId,
    pub(crate) port: u16,
    /// The version that was asked for last.
    pub(super) wanted: &'static str,
    load: Option<Load>,
    tally: Tally,
}

pub(crate) async fn run<F: Fault>(at: Point) -> Result<()> {
    let (mut fault, mut cell) = F::prepare().await?;
    cell.work();
    cell.faults.hold(at)?;
    cell.wanted = "new";
    fault.change(&cell, at).await?;
    cell.faults.reached(at).await?;
    fault.come(&mut cell, at).await?;
    cell.faults.release(at)?;
    fault.last(&mut cell, at).await?;
    fault.go(&mut cell).await?;
    cell.converge().await?;
    fault.after(&cell).await?;
    let Tally { answers, versions, .. } = cell.rest(&["old", "new"]).await?;
    println!("{answers} answers: {versions:?}");
    ensure!(answers > 0 && versions.contains_key("old"), "hardly anybody asked");
    Ok(())
}

impl Cell {
    /// With an agent that runs where all else does.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(Surroundings::default(), Vec::new()).await
    }

    /// With an agent in these surroundings, and a server with more in its environment.
    pub(crate) async fn start_with(
        surroundings: Surroundings,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server =
            ServerProcess::start_within(&folder.path().join("server"), environment).await?;
        Self::start_around(folder, server, surroundings).await
    }

    /// The same around a server that runs; the old version is served when this returns.
    pub(crate) async fn start_around(
        folder: TempDir,
        server: ServerProcess,
        mut surroundings: Surroundings,
    ) -> Result<Self> {
        let faults = Faults::new()?;
        surroundings.environment.extend(faults.environment());
        let nginx = NginxBinary::packaged()?;
        let mesh = TestMesh::start_around(folder, server, &nginx, surroundings).await?;
        faults.check()?;
        let port = free_port();
        let location = location("old", &mesh);
        let new: NewVirtualHost = serde_json::from_value(
            json!({"name": NAME, "server_name": NAME, "listen_port": port, "locations": [location]}),
        )?;
        let host = mesh.serve(&new).await?.id;
        let (load, tally) = (None, Tally::default());
        let cell = Self { mesh, faults, host, port, wanted: "old", load, tally };
        cell.comes_to("old").await?;
        cell.tells_the_truth().await?;
        Ok(cell)
    }

    /// Clients ask from now on, all the time.
    pub(crate) fn work(&mut self) {
        self.load = Some(Load::fresh(2, self.port, NAME));
    }

    /// Clients stop. None of them had to see anything but these versions; answers what all of
    /// them met until now.
    pub(crate) async fn rest(&mut self, versions: &[&str]) -> Result<Tally> {
        let tally = self.load.take().context("nobody asks")?.stop().await;
        ensure!(tally.failures.is_empty(), "clients met {:?}", tally.failures);
        let others: Vec<_> =
            tally.versions.keys().filter(|it| !versions.contains(&it.as_str())).collect();
        ensure!(others.is_empty(), "clients saw {others:?}");
        ensure!(tally.versions.values().sum::<u64>() == tally.answers, "answers without a version");
        self.tally.answers += tally.answers;
        for (version, answers) in tally.versions {
            *self.tally.versions.entry(version).or_default() += answers;
        }
        Ok(self.tally.clone())
    }

    /// The change from the old version to the new.
    pub(crate) fn patch(&self) -> Result<MergePatch> {
        Ok(MergePatch::new(json!({"locations": [location("new", &self.mesh)]}))?)
    }

    /// Asks for the new version.
    pub(crate) async fn change(&self) -> Result<()> {
        self.mesh.client.virtual_hosts().update(self.host, &self.patch()?).await?;
        Ok(())
    }

    /// The version that nginx answers with.
    pub(crate) async fn served(&self) -> Option<String> {
        let (status, text) = get(self.port, NAME, "/").await.ok()?;
        let version = text.lines().find_map(|it| it.strip_prefix("X-Version: "));
        version.filter(|_| status == 200).map(str::to_owned)
    }

    /// Waits until nginx answers with this version, and old workers have ended which answer with
    /// another one for a moment.
    pub(crate) async fn comes_to(&self, version: &str) -> Result<()> {
        let what = format!("the {version} version; see {}", self.mesh.folder().display());
        let answers = || async {
            for _ in 0..STEADY {
                if self.served().await.as_deref() != Some(version) {
                    return false;
                }
            }
            true
        };
        wait_for(&what, PATIENCE, answers).await?;
        Ok(())
    }

    /// Waits until all that the API says of the agent is so, and stays so while it goes on with
    /// what it does.
    pub(crate) async fn tells_the_truth(&self) -> Result<()> {
        let began = Instant::now();
        let mut since = began;
        while since.elapsed() < STAYS {
            let lies = lies(self).await?;
            ensure!(began.elapsed() < PATIENCE, "what the API says is not so: {lies:?}");
            if !lies.is_empty() {
                since = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the new version is served, and all is well.
    async fn converge(&self) -> Result<()> {
        self.comes_to("new").await?;
        let is_well = || async {
            let shown = self.mesh.shown().await;
            shown.is_ok_and(|it| it.state == AgentState::Online && !it.convergence.lagging)
        };
        let converged = wait_for("the agent to converge", PATIENCE, is_well).await;
        if let Err(error) = converged {
            let shown = self.mesh.shown().await?;
            return Err(error.context(format!("{shown:?}")));
        }
        self.tells_the_truth().await?;
        let is_tidy = || async { self.mess().is_empty() };
        let tidy = wait_for("an end of the apply on disk", PATIENCE, is_tidy).await;
        tidy.map(|_| ()).with_context(|| format!("{:?}", self.mess()))
    }

    /// What an apply left behind that is over.
    fn mess(&self) -> Vec<String> {
        mess(self.mesh.agent.folder())
    }

    /// The folder of the configuration that `current` links to.
    pub(crate) fn current(&self) -> Result<PathBuf> {
        Ok(fs::canonicalize(self.mesh.agent.folder().join("current"))?)
    }

    /// The folder of the configuration that was written last.
    pub(crate) fn newest(&self) -> Result<PathBuf> {
        let generations = self.mesh.agent.folder().join("gen");
        let number = |it: &PathBuf| it.file_name()?.to_str()?.parse::<u64>().ok();
        let all = fs::read_dir(generations)?.flatten().map(|it| it.path());
        Ok(all.max_by_key(number).context("there is no configuration")?.canonicalize()?)
    }
}

/// A location of this version.
fn location(version: &str, mesh: &TestMesh) -> Value {
    let header = json!({"name": "X-Version", "value": version});
    let behind = format!("http://{}", mesh.backend.address());
    json!({"path": "/", "proxy_pass": behind, "custom_headers": [header]})
}

/// What is in the state folder of an agent that should not be there when it has nothing to do.
pub(crate) fn mess(state: &Path) -> Vec<String> {
    let mut mess = Vec::new();
    let target = |link: &str| fs::canonicalize(state.join(link)).ok();
    if target("current").is_none() || target("current") != target("verified") {
        mess.push(format!("current is {:?}, verified {:?}", target("current"), target("verified")));
    }
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
    };
    mess.extend(names(state).into_iter().filter(|it| it.ends_with(".new")));
    let generations = names(&state.join("gen"));
    if generations.len() > MOST_GENERATIONS {
        mess.push(format!("{generations:?}"));
    }
    mess
}
