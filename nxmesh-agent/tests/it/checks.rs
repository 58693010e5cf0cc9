//! Servers that are not well get no requests, whoever else is there.

use std::{
    collections::BTreeSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nxmesh_agent::OnExit;
use nxmesh_core::{
    Clock, RevisionNumber, SystemClock,
    conformance::given::id,
    from_json,
    gateway::{
        ConfigUpdate, NewUpstream, NewVirtualHost, Projection, ServerAddress, UpstreamId,
        VirtualHostId,
        checks::{ServerState, Traffic},
        link::{AgentMessage, Alert, ApplyStatus::Success, HealthReport, ServerMessage, Severity},
    },
};
use serde_json::json;

use crate::{
    backend::Backend,
    given::{
        Played, State, answered, current_nginx, free_port, nginx, nginx_pid, start, start_nginx,
        until,
    },
};

/// A virtual host before an upstream, which agents check once a second.
struct Site {
    upstream: UpstreamId,
    host: VirtualHostId,
    port: u16,
}

impl Site {
    fn new() -> Self {
        Self { upstream: id(), host: id(), port: free_port() }
    }

    fn config(&self, version: u64, servers: &[&Backend]) -> Arc<ConfigUpdate> {
        let servers: Vec<_> =
            servers.iter().map(|it| json!({"address": it.address, "max_fails": 0})).collect();
        let check = json!({"enabled": true, "path": "/up", "interval": 1, "timeout": 1, "healthy_threshold": 2, "unhealthy_threshold": 2});
        let upstream: NewUpstream = from_json(
            json!({"name": "shop", "servers": servers, "health_check": check, "keepalive_connections": 0}),
        )
        .unwrap();
        // What fails is not repeated elsewhere: the test sees who was asked.
        let off = json!({"proxy_next_upstream": "off"});
        let location = json!({"path": "/", "upstream_id": self.upstream, "custom_directives": off});
        let host: NewVirtualHost = from_json(json!({"name": "a", "server_name": "shop.example _", "listen_port": self.port, "locations": [location]})).unwrap();
        Arc::new(ConfigUpdate {
            drift: Default::default(),
            config_id: format!("{version}-test"),
            version: RevisionNumber(version),
            checksum: format!("sum{version}"),
            projection: Arc::new(Projection {
                virtual_hosts: [(self.host, Arc::new(host.parse().unwrap().0))].into(),
                upstreams: [(self.upstream, Arc::new(upstream.parse().unwrap()))].into(),
                ..Projection::default()
            }),
        })
    }

    /// Who answers, of so many requests that everybody's turn comes.
    async fn answering(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for _ in 0..16 {
            found.extend(answered(self.port).await);
        }
        found
    }

    async fn until_answered_by(&self, expected: &[&str]) {
        let expected: BTreeSet<_> = expected.iter().map(|it| (*it).to_owned()).collect();
        until(&format!("answers of {expected:?}"), async || {
            let so = self.answering().await == expected;
            // The workers of before answer for a moment, beside the new ones.
            tokio::time::sleep(Duration::from_millis(300)).await;
            so && self.answering().await == expected
        })
        .await;
    }
}

async fn health(server: &mut Played) -> HealthReport {
    let health = server.find(|message| match message {
        AgentMessage::Health(report) => Some(report),
        _ => None,
    });
    health.await
}

/// The states of all servers, once they are these.
async fn told(server: &mut Played, expected: &[ServerState]) -> HealthReport {
    for _ in 0..500 {
        let report = health(server).await;
        let states: Vec<_> = report.checks.servers.iter().map(|it| it.state).collect();
        if states == expected {
            return report;
        }
    }
    panic!("the servers are never {expected:?}");
}

/// The next alerts that are about servers; there may be others of this machine.
async fn alerts(server: &mut Played) -> Vec<Alert> {
    loop {
        let mut alerts = health(server).await.alerts;
        alerts.retain(|it| it.message.starts_with("upstream server"));
        if !alerts.is_empty() {
            return alerts;
        }
    }
}

async fn alert(server: &mut Played) -> (Severity, String) {
    let alerts = alerts(server).await;
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    (alert.severity, alert.message.clone())
}

fn workers(state: &Path) -> BTreeSet<i32> {
    let master = nginx_pid(state).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().map(|it| it.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_and_comes_back() {
    goes_and_comes_back(nginx()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_and_comes_back_with_a_current_nginx() {
    goes_and_comes_back(current_nginx()).await;
}

async fn goes_and_comes_back(nginx: PathBuf) {
    let (state, site) = (State::new(), Site::new());
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut agent = start_nginx(nginx, &state.path(), OnExit::Keep);
    let (mut server, _) = agent.accept().await;
    let config = site.config(1, &[&one, &two]);
    assert_eq!(server.apply(&config).await.0.last(), Some(&Success));
    site.until_answered_by(&["one", "two"]).await;
    told(&mut server, &[ServerState::Healthy, ServerState::Healthy]).await;

    two.say(503);
    let (severity, message) = alert(&mut server).await;
    let expected =
        format!("upstream server {} of shop is unhealthy: it answers with status 503", two.address);
    assert_eq!((severity, message), (Severity::Warning, expected));
    site.until_answered_by(&["one"]).await;
    let report = told(&mut server, &[ServerState::Unhealthy, ServerState::Healthy]).await;
    let check = &report.checks.servers[0];
    assert_eq!((check.upstream_id, check.address.as_str()), (site.upstream, two.address.as_str()));
    assert_eq!(check.last_error, "it answers with status 503");
    assert!(check.consecutive_failures >= 2 && check.since.is_some(), "{check:?}");
    assert_eq!(report.config_checksum, "sum1", "the content is as it was wanted");
    // It is asked for, and is there already.
    assert_eq!(server.apply(&config).await.0, [Success]);
    site.until_answered_by(&["one"]).await;

    two.say(302);
    let (severity, message) = alert(&mut server).await;
    let expected = format!("upstream server {} of shop is healthy again", two.address);
    assert_eq!((severity, message), (Severity::Info, expected));
    site.until_answered_by(&["one", "two"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_and_another_agent_leave_it_out() {
    let (state, site) = (State::new(), Site::new());
    let (one, two, three) =
        (Backend::start("one").await, Backend::start("two").await, Backend::start("three").await);
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&site.config(1, &[&one, &two])).await.0.last(), Some(&Success));
    two.say(500);
    site.until_answered_by(&["one"]).await;
    assert_eq!(server.apply(&site.config(2, &[&one, &two, &three])).await.0.last(), Some(&Success));
    // From its first answer on: none of the new workers ever asked the second.
    for _ in 0..20 {
        assert!(!site.answering().await.contains("two"));
    }
    site.until_answered_by(&["one", "three"]).await;

    let pid = nginx_pid(&state.path());
    agent.kill().await;
    let before = workers(&state.path());
    // It answers well again, but not often enough: the next agent must know that it was out.
    two.say(200);
    let (asked, known) = (two.checks(), site.answering().await);
    assert!(!known.contains("two"));
    let agent = start(&state.path());
    until("the next agent's first check", async || two.checks() > asked).await;
    if two.checks() == asked + 1 {
        assert!(!site.answering().await.contains("two"), "one good answer is not enough");
        assert_eq!(workers(&state.path()), before, "taken over without a reload");
    }
    // Nobody accepts its connection: it needs no server for this.
    site.until_answered_by(&["one", "two", "three"]).await;
    assert_eq!(nginx_pid(&state.path()), pid);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_unhealthy_all_stay() {
    let (state, site) = (State::new(), Site::new());
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&site.config(1, &[&one, &two])).await.0.last(), Some(&Success));
    told(&mut server, &[ServerState::Healthy; 2]).await;
    one.say(500);
    assert_eq!(alert(&mut server).await.0, Severity::Warning);
    site.until_answered_by(&["two"]).await;
    two.say(500);
    let (severity, message) = alert(&mut server).await;
    assert_eq!(severity, Severity::Error, "{message}");
    assert!(message.ends_with("so are all others, and all stay in rotation"), "{message}");
    site.until_answered_by(&["one", "two"]).await;
    one.say(200);
    site.until_answered_by(&["one"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_with_each_check() {
    let (state, site) = (State::new(), Site::new());
    let one = Backend::start("one").await;
    let mut gone = Backend::start("gone").await;
    let address: std::net::SocketAddr = gone.address.parse().unwrap();
    gone.address = format!("localhost:{}", address.port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&site.config(1, &[&one, &gone])).await.0.last(), Some(&Success));
    told(&mut server, &[ServerState::Healthy; 2]).await;
    let name = gone.address.clone();
    drop(gone);
    let expected = format!("upstream server {name} of shop is unhealthy: connection refused");
    assert_eq!(alert(&mut server).await, (Severity::Warning, expected));
    site.until_answered_by(&["one"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_flapping_servers_cost_one_reload_a_second_at_most() {
    let (state, site) = (State::new(), Site::new());
    let mut servers = vec![Backend::start("steady").await];
    for _ in 0..50 {
        servers.push(Backend::start("flapping").await);
    }
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let all: Vec<_> = servers.iter().collect();
    assert_eq!(server.apply(&site.config(1, &all)).await.0.last(), Some(&Success));
    told(&mut server, &[ServerState::Healthy; 51]).await;

    let began = std::time::Instant::now();
    let (mut generations, mut seen) = (0, workers(&state.path()));
    let mut flaps = 0;
    while flaps < 4 {
        // Each at a moment of its own, so that there is a change at any time.
        let status = if flaps % 2 == 0 { 500 } else { 200 };
        for flapping in &servers[1..] {
            flapping.say(status);
            tokio::time::sleep(Duration::from_millis(60)).await;
            let now = workers(&state.path());
            // nginx starts the workers of a reload together; the old ones may stay for a while.
            if now.iter().any(|it| !seen.contains(it)) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                seen.extend(workers(&state.path()));
                generations += 1;
            }
        }
        flaps += 1;
    }
    let seconds = began.elapsed().as_secs() + 1;
    println!("{generations} reloads in {seconds} s of 50 flapping servers");
    assert!((2..=seconds + 1).contains(&generations), "{generations} reloads in {seconds} s");
    for flapping in &servers[1..] {
        flapping.say(200);
    }
    site.until_answered_by(&["steady", "flapping"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_counted_for_each_virtual_host() {
    counts_failures(nginx()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_counted_with_a_current_nginx() {
    counts_failures(current_nginx()).await;
}

/// What is told once so many have failed, and once more, when all requests are counted too.
async fn counted(server: &mut Played, failed: u64) -> Traffic {
    for _ in 0..500 {
        if health(server).await.traffic.failed >= failed {
            return health(server).await.traffic;
        }
    }
    panic!("{failed} failures are not counted");
}

async fn counts_failures(nginx: PathBuf) {
    let (state, site) = (State::new(), Site::new());
    let one = Backend::start("one").await;
    let mut agent = start_nginx(nginx.clone(), &state.path(), OnExit::Keep);
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&site.config(1, &[&one])).await.0.last(), Some(&Success));
    site.until_answered_by(&["one"]).await;
    let ask = async |times: u64| {
        for _ in 0..times {
            assert!(answered(site.port).await.is_some());
        }
    };
    one.say(599);
    ask(1).await;
    // From here on it is known what was counted.
    let before = counted(&mut server, 1).await;
    assert_eq!(before.failed, 1);
    one.say(200);
    ask(30).await;
    one.say(503);
    ask(19).await;
    one.say(404);
    ask(5).await;
    // A current nginx of some packages has no counters.
    let asked = before.requests.map(|it| it + 54);
    let after = counted(&mut server, 20).await;
    assert_eq!(after.failed_by_virtual_host, [(site.host, 20)].into());
    assert_eq!(
        after.requests, asked,
        "the agent's own questions, several a second, are not counted"
    );
    let later = health(&mut server).await.traffic;
    assert_eq!(later, after, "nobody asked since");

    // While the agent is away nginx goes on, and complains of nothing.
    agent.kill().await;
    let log = state.path().join("logs/error.log");
    let said = std::fs::read_to_string(&log).unwrap();
    one.say(500);
    ask(200).await;
    assert_eq!(std::fs::read_to_string(&log).unwrap(), said);
    let mut agent = start_nginx(nginx, &state.path(), OnExit::Keep);
    let (mut server, _) = agent.accept().await;
    assert_eq!(health(&mut server).await.traffic.failed, 0, "it counts from its own start on");
    ask(3).await;
    let counted = counted(&mut server, 3).await;
    assert_eq!(counted.failed_by_virtual_host, [(site.host, 3)].into());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_server_is_away_is_told_when_it_is_back() {
    let (state, site) = (State::new(), Site::new());
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&site.config(1, &[&one, &two])).await.0.last(), Some(&Success));
    told(&mut server, &[ServerState::Healthy; 2]).await;
    two.say(500);
    let name = format!("upstream server {} of shop", two.address);
    let unheard = alert(&mut server).await;
    // What was sent may have been lost on its way: nobody says that it was heard.
    drop(server);
    site.until_answered_by(&["one"]).await;
    two.say(200);
    site.until_answered_by(&["one", "two"]).await;
    let told_after = SystemClock.now();
    let mut found = Vec::new();
    let (mut server, _) = agent.accept().await;
    while found.len() < 2 {
        found.extend(alerts(&mut server).await);
    }
    let texts: Vec<_> = found.iter().map(|it| it.message.as_str()).collect();
    assert_eq!((found[0].severity, found[0].message.clone()), unheard);
    let expected = [
        format!("{name} is unhealthy: it answers with status 500"),
        format!("{name} is healthy again"),
    ];
    assert_eq!(texts, expected);
    let times = [found[0].timestamp, found[1].timestamp, told_after];
    assert!(times.is_sorted(), "{times:?}");
    // Now it was heard, and is not told a third time.
    for _ in 0..10 {
        server.send(ServerMessage::Heard).await;
    }
    health(&mut server).await;
    drop(server);
    let (mut server, _) = agent.accept().await;
    for _ in 0..3 {
        let alerts = health(&mut server).await.alerts;
        assert!(alerts.iter().all(|it| !it.message.contains("shop")), "{alerts:?}");
    }
    agent.stop().await;
}

/// The same but for this.
fn with(
    update: &Arc<ConfigUpdate>,
    version: u64,
    change: impl FnOnce(&mut Projection),
) -> Arc<ConfigUpdate> {
    let mut projection = Projection::clone(&update.projection);
    change(&mut projection);
    Arc::new(ConfigUpdate {
        config_id: format!("{version}-test"),
        version: RevisionNumber(version),
        checksum: format!("sum{version}"),
        projection: Arc::new(projection),
        ..ConfigUpdate::clone(update)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_out_stays_out_when_another_version_of_the_upstream_is_held_back() {
    let (state, site) = (State::new(), Site::new());
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let good = site.config(1, &[&one, &two]);
    assert_eq!(server.apply(&good).await.0.last(), Some(&Success));
    two.say(500);
    site.until_answered_by(&["one"]).await;
    let refused = with(&good, 2, |it| {
        let mut upstream = it.upstreams[&site.upstream].as_ref().clone();
        upstream.servers[1].address =
            ServerAddress::parse("nowhere.invalid:80".to_owned()).unwrap();
        it.upstreams.insert(site.upstream, Arc::new(upstream));
    });
    let (steps, held) = server.apply_and_hold(&refused).await;
    assert_eq!((steps.last(), held.len()), (Some(&Success), 2), "{held:?}");
    // Those of the version that is served are asked, and told of.
    let expected: BTreeSet<_> = [one.address.as_str(), two.address.as_str()].into();
    for _ in 0..10 {
        let report = health(&mut server).await;
        let asked: BTreeSet<_> =
            report.checks.servers.iter().map(|it| it.address.as_str()).collect();
        assert_eq!(asked, expected);
        assert!(!site.answering().await.contains("two"));
    }
    two.say(200);
    site.until_answered_by(&["one", "two"]).await;
    agent.stop().await;
}

/// An nginx that finds names in a file of its own.
fn nginx_with_hosts(folder: &Path, hosts: &Path) -> PathBuf {
    let program = folder.join("nginx-with-hosts");
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {} /etc/hosts; exec {} \"$@\"' nginx \"$@\"\n",
        hosts.display(),
        nginx().display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_found_any_more_does_not_keep_others_from_turning() {
    let (state, site, folder) = (State::new(), Site::new(), tempfile::tempdir().unwrap());
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost gone.test\n").unwrap();
    let program = nginx_with_hosts(folder.path(), &hosts);
    let mut agent = start_nginx(program, &state.path(), OnExit::Keep);
    let (mut server, _) = agent.accept().await;
    let other = id();
    let both = with(&site.config(1, &[&one, &two]), 1, |it| {
        let location = json!({"path": "/", "proxy_pass": "http://gone.test:81"});
        let host: NewVirtualHost = from_json(json!({"name": "b", "server_name": "b.example", "listen_port": site.port, "locations": [location]})).unwrap();
        it.virtual_hosts.insert(other, Arc::new(host.parse().unwrap().0));
    });
    assert_eq!(server.apply_and_hold(&both).await.1, []);
    site.until_answered_by(&["one", "two"]).await;
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    two.say(500);
    site.until_answered_by(&["one"]).await;
    let held = server.find(|message| match message {
        AgentMessage::ConfigStatus(it) => (!it.quarantined.is_empty()).then_some(it.quarantined),
        _ => None,
    });
    let held = held.await;
    assert_eq!(held.iter().map(|it| it.id).collect::<Vec<_>>(), [*other.as_uuid()], "{held:?}");
    agent.stop().await;
}
