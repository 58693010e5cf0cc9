use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use nxmesh_agent::{Agent, AgentSettings, Mode, NginxError, OnExit, ReloadBudget, StateDir};
use nxmesh_core::{
    Error, ErrorKind, Id, Result, RevisionNumber, Secret,
    conformance::given::id,
    from_json,
    gateway::{
        ConfigUpdate, NewVirtualHost, Projection, Quarantined, VirtualHostId,
        drift::DriftPolicy,
        link::{
            AgentLink, AgentMessage, ApplyStatus, ConfigStatus, Connector, Registration,
            RegistrationAnswer, ServerLink, ServerMessage,
        },
    },
    transport::in_process,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Hands the other end of each connection to the test.
#[derive(Debug)]
struct Dialed(mpsc::UnboundedSender<ServerLink>);

#[async_trait]
impl Connector for Dialed {
    async fn connect(&self) -> Result<AgentLink> {
        let (server, agent) = in_process::pair();
        let away = |_| Error::new(ErrorKind::Unavailable, "the test is over");
        self.0.send(server).map_err(away)?;
        Ok(agent)
    }
}

/// An agent that runs, and the test's side of its connections.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), NginxError>>,
    links: mpsc::UnboundedReceiver<ServerLink>,
    state: PathBuf,
}

/// The test's side of one connection.
pub(crate) struct Played {
    link: ServerLink,
}

pub(crate) fn start(state: &Path) -> Running {
    start_with(state, OnExit::Keep)
}

pub(crate) fn start_with(state: &Path, on_exit: OnExit) -> Running {
    start_nginx(nginx(), state, on_exit)
}

/// The nginx of the distribution.
pub(crate) fn nginx() -> PathBuf {
    find("NXMESH_TEST_NGINX", "/usr/sbin/nginx".into())
}

/// A current nginx.
pub(crate) fn current_nginx() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nginx-current");
    find("NXMESH_TEST_NGINX_CURRENT", tools)
}

#[expect(
    clippy::disallowed_methods,
    reason = "which program to test with is said in the environment"
)]
fn find(variable: &str, usual: PathBuf) -> PathBuf {
    let nginx = std::env::var(variable).map_or(usual, PathBuf::from);
    assert!(nginx.is_file(), "{} is missing: ./scripts/test installs it", nginx.display());
    nginx
}

pub(crate) fn start_nginx(nginx: PathBuf, state: &Path, on_exit: OnExit) -> Running {
    start_as(state, AgentSettings { nginx, on_exit, ..settings() })
}

/// As most tests want it: they apply in quick succession.
pub(crate) fn settings() -> AgentSettings {
    let reloads = ReloadBudget { min_interval: Duration::ZERO, ..ReloadBudget::default() };
    AgentSettings {
        nginx: nginx(),
        nginx_user: None,
        token: Some(Secret::new("nxmesh_agent_test".to_owned())),
        deployment_mode: Default::default(),
        ip_address: "127.0.0.1".into(),
        on_exit: OnExit::Keep,
        mode: Mode::Managed,
        pid_file: None,
        reloads,
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the test's own task")]
pub(crate) fn start_as(state: &Path, settings: AgentSettings) -> Running {
    let (dialed, links) = mpsc::unbounded_channel();
    let agent = Agent::new(open(state), settings, Dialed(dialed));
    let stop = CancellationToken::new();
    let task = tokio::spawn(agent.run(stop.clone()));
    Running { stop, task, links, state: state.to_owned() }
}

/// An agent that was killed may need a moment to let go of its folder.
fn open(state: &Path) -> StateDir {
    for _ in 0..500 {
        if let Ok(dir) = StateDir::open(state) {
            return dir;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    StateDir::open(state).unwrap()
}

impl Running {
    /// Takes the next connection, and lets the agent in; answers how it introduced itself.
    pub(crate) async fn accept(&mut self) -> (Played, Registration) {
        let mut link = tokio::time::timeout(Duration::from_secs(30), self.links.recv())
            .await
            .unwrap()
            .unwrap();
        let first = link.incoming.next().await.unwrap().unwrap();
        let AgentMessage::Registration(registration) = first else { panic!("{first:?}") };
        let answer = RegistrationAnswer::Accepted {
            agent_id: id(),
            heartbeat_interval: Duration::from_millis(200),
            credential: Some(Secret::new("nxmesh_credential_test".to_owned())),
        };
        link.outgoing.send(Ok(ServerMessage::Registered(answer))).await.unwrap();
        (Played { link }, registration)
    }

    /// Stops the agent as if it were killed: nothing is tidied up.
    pub(crate) async fn kill(self) {
        self.task.abort();
        // It was aborted, so this is an error.
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) fn nginx_pid(&self) -> i32 {
        nginx_pid(&self.state).unwrap()
    }
}

pub(crate) fn nginx_pid(state: &Path) -> Option<i32> {
    std::fs::read_to_string(state.join("run/nginx.pid")).ok()?.trim().parse().ok()
}

/// A state folder whose nginx ends with it.
pub(crate) struct State(tempfile::TempDir);

impl State {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let pid = nginx_pid(&self.path()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

impl Played {
    pub(crate) async fn send(&self, message: ServerMessage) {
        self.link.outgoing.send(Ok(message)).await.unwrap();
    }

    /// The next message that this finds something in.
    pub(crate) async fn find<T>(&mut self, mut find: impl FnMut(AgentMessage) -> Option<T>) -> T {
        let look = async {
            loop {
                let message = self.link.incoming.next().await.unwrap().unwrap();
                if let Some(found) = find(message) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), look)
            .await
            .expect("the agent does not say it")
    }

    /// Sends a configuration; answers the steps that the agent reports, and its last words.
    pub(crate) async fn apply(&mut self, update: &Arc<ConfigUpdate>) -> (Vec<ApplyStatus>, String) {
        let (steps, last) = self.settle(update).await;
        (steps, last.error_message)
    }

    /// The same; answers what the agent holds back.
    pub(crate) async fn apply_and_hold(
        &mut self,
        update: &Arc<ConfigUpdate>,
    ) -> (Vec<ApplyStatus>, Vec<Quarantined>) {
        let (steps, last) = self.settle(update).await;
        assert_eq!(last.checksum == update.checksum, last.quarantined.is_empty(), "{last:?}");
        assert_eq!(last.quarantined.len(), last.quarantined_total as usize);
        (steps, last.quarantined)
    }

    async fn settle(&mut self, update: &Arc<ConfigUpdate>) -> (Vec<ApplyStatus>, ConfigStatus) {
        self.send(ServerMessage::Config(Arc::clone(update))).await;
        let mut steps = Vec::new();
        loop {
            let last = self
                .find(|message| match message {
                    AgentMessage::ConfigStatus(status) => Some(status),
                    _ => None,
                })
                .await;
            assert_eq!(last.config_id, update.config_id);
            steps.push(last.status);
            if matches!(
                last.status,
                ApplyStatus::Success | ApplyStatus::Failed | ApplyStatus::RolledBack
            ) {
                return (steps, last);
            }
        }
    }
}

impl Played {
    /// Sends a configuration; answers what became of it, whatever is said of others.
    pub(crate) async fn apply_last(&mut self, update: &Arc<ConfigUpdate>) -> ApplyStatus {
        self.send(ServerMessage::Config(Arc::clone(update))).await;
        self.find(|message| match message {
            AgentMessage::ConfigStatus(it) if it.config_id == update.config_id => {
                let last = matches!(
                    it.status,
                    ApplyStatus::Success | ApplyStatus::Failed | ApplyStatus::RolledBack
                );
                last.then_some(it.status)
            }
            _ => None,
        })
        .await
    }
}

/// A configuration of one virtual host that answers with a header of this text.
pub(crate) fn config(version: u64, port: u16, header: &str) -> Arc<ConfigUpdate> {
    let headers = json!([{"name": "X-Text", "value": header, "always": true}]);
    config_with(
        version,
        port,
        json!({"path": "/", "root": "/nonexistent", "custom_headers": headers}),
    )
}

pub(crate) fn config_with(
    version: u64,
    port: u16,
    location: impl Into<serde_json::Value>,
) -> Arc<ConfigUpdate> {
    let location = location.into();
    let host: NewVirtualHost = from_json(
        json!({"name": "a", "server_name": "_", "listen_port": port, "locations": [location]}),
    )
    .unwrap();
    let host_id = Id::from_uuid(*id::<u8>().as_uuid());
    let virtual_hosts = [(host_id, Arc::new(host.parse().unwrap().0))].into();
    Arc::new(ConfigUpdate {
        config_id: format!("{version}-test"),
        version: RevisionNumber(version),
        checksum: format!("sum{version}"),
        projection: Arc::new(Projection { virtual_hosts, ..Projection::default() }),
        drift: Default::default(),
    })
}

/// The same, of which all is served or nothing.
pub(crate) fn strict(update: &Arc<ConfigUpdate>) -> Arc<ConfigUpdate> {
    let mut projection = Projection::clone(&update.projection);
    projection.settings = Arc::new(from_json(json!({"on_refusal": "strict"})).unwrap());
    Arc::new(ConfigUpdate { projection: Arc::new(projection), ..ConfigUpdate::clone(update) })
}

/// The same, to an agent that should do this about drift.
pub(crate) fn with_drift(update: &ConfigUpdate, drift: DriftPolicy) -> Arc<ConfigUpdate> {
    Arc::new(ConfigUpdate { drift, ..update.clone() })
}

/// Many virtual hosts, the same in each version but for the first one's header.
pub(crate) struct Fleet {
    ids: Vec<VirtualHostId>,
    port: u16,
}

impl Fleet {
    pub(crate) fn new(count: usize) -> Self {
        Self { ids: (0..count).map(|_| id()).collect(), port: free_port() }
    }

    pub(crate) fn config(&self, version: u64) -> Arc<ConfigUpdate> {
        let host = |(number, id): (usize, &VirtualHostId)| {
            let text = if number == 0 { version } else { 0 };
            let headers = json!([{"name": "X-Text", "value": text.to_string(), "always": true}]);
            let location = json!({"path": "/", "root": "/nonexistent", "custom_headers": headers});
            let host: NewVirtualHost = from_json(json!({"name": number.to_string(), "server_name": format!("host{number}.example"), "listen_port": self.port, "locations": [location]})).unwrap();
            (*id, Arc::new(host.parse().unwrap().0))
        };
        let virtual_hosts = self.ids.iter().enumerate().map(host).collect();
        Arc::new(ConfigUpdate {
            config_id: format!("{version}-fleet"),
            version: RevisionNumber(version),
            checksum: format!("fleet{version}"),
            projection: Arc::new(Projection { virtual_hosts, ..Projection::default() }),
            drift: Default::default(),
        })
    }
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// The processes of a master that the kernel does not call something else.
pub(crate) fn workers(master: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    children.unwrap().split_whitespace().map(|it| it.parse().unwrap()).collect()
}

/// The version that nginx answers on its status socket.
pub(crate) async fn served(state: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(state.join("run/status.sock")).await.ok()?;
    stream.write_all(b"GET /version HTTP/1.0\r\n\r\n").await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    body.split(' ').next().map(str::to_owned)
}

/// Below those that the machine gives to clients: one of these could take it meanwhile.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// The text of the header that nginx answers with.
pub(crate) async fn answered(port: u16) -> Option<String> {
    headers(port, "localhost").await
}

/// The same, by the virtual host with this name.
pub(crate) async fn headers(port: u16, name: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {name}\r\n\r\n").as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    text.lines().find_map(|line| line.strip_prefix("X-Text: ")).map(str::to_owned)
}

/// The children of nginx's master.
pub(crate) fn workers_in(state: &Path) -> Vec<i32> {
    let master = nginx_pid(state).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    children.unwrap().split_whitespace().map(|it| it.parse().unwrap()).collect()
}

/// The same, once none of those before is left: nginx has loaded since.
pub(crate) async fn workers_after(state: &Path, before: &[i32]) -> Vec<i32> {
    until("other workers", async || !workers_in(state).iter().any(|it| before.contains(it))).await;
    workers_in(state)
}

pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}
