//! What nginx refuses is held back, and all else goes live.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use nxmesh_benches::{NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::{
    MergePatch,
    gateway::{
        AgentState, ChangeAction, NewChange, NewChangeSet, NewLocation, NewVirtualHost, ServedKind,
        UpstreamId, VirtualHostId, VirtualHostState, link::ApplyStatus,
    },
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
const BAD: &str = "nonsense";

/// Counts how often nginx has loaded, by its workers: each is seen, for they live longer than
/// the time from one look to the next.
struct Reloads {
    workers: usize,
    stop: Arc<AtomicBool>,
    seen: JoinHandle<BTreeSet<i32>>,
}

impl Reloads {
    async fn count(mesh: &TestMesh) -> Result<Self> {
        let master = mesh.agent.nginx_pid().context("nginx runs")?;
        let look = move || -> BTreeSet<i32> {
            let children = format!("/proc/{master}/task/{master}/children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            children.split_whitespace().filter_map(|it| it.parse().ok()).collect()
        };
        // The workers of the load before leave a moment after it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let leaves = |pid: &i32| {
            let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&title).contains("shutting down")
        };
        let settled = || async { !look().iter().any(leaves) };
        wait_for("old workers to be gone", PATIENCE, settled).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let (workers, stopped) = (look().len(), Arc::clone(&stop));
        let seen = thread::spawn(move || {
            let mut seen = look();
            while !stopped.load(Ordering::Relaxed) {
                seen.extend(look());
                thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        Ok(Self { workers, stop, seen })
    }

    fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.seen.join().map_err(|_| anyhow::anyhow!("the one who looks died"))?;
        Ok(seen.len() / self.workers.max(1) - 1)
    }
}

async fn serves(port: u16, host: &str) -> bool {
    get(port, host, "/").await.is_ok_and(|(status, _)| status == 200)
}

/// Waits until the agent holds exactly these back: name, field, and whether something else of
/// it runs.
async fn wait_for_held(mesh: &TestMesh, expected: &[(&str, &str, bool)]) -> Result<()> {
    let expected: BTreeSet<_> = expected.iter().copied().collect();
    let held = || async {
        mesh.shown().await.is_ok_and(|it| {
            let held = it.quarantined.iter();
            let held: BTreeSet<_> =
                held.map(|it| (&*it.name, &*it.field, it.running_revision.is_some())).collect();
            held == expected && it.quarantined_total as usize == expected.len()
        })
    };
    let waited = wait_for("what is held back", PATIENCE, held).await;
    waited.with_context(|| format!("{expected:?}")).map(|_| ())
}

async fn state_of(mesh: &TestMesh, id: VirtualHostId) -> Result<(VirtualHostState, String)> {
    let found: Vec<_> = mesh.client.virtual_hosts().status(id).try_collect().await?;
    let [one] = &found[..] else { anyhow::bail!("{found:?}") };
    assert_eq!(one.agent_id, mesh.agent_id);
    Ok((one.state, one.field.clone()))
}

fn refused(mut host: NewVirtualHost) -> NewVirtualHost {
    host.locations[0].custom_directives = [("expires".to_owned(), BAD.to_owned())].into();
    host
}

fn patch(directive: &str) -> Result<MergePatch> {
    Ok(MergePatch::new(json!({"custom_directives": {"expires": directive}}))?)
}

/// Makes all of them in one revision.
async fn create(mesh: &TestMesh, hosts: Vec<NewVirtualHost>) -> Result<Vec<VirtualHostId>> {
    let changes = hosts.into_iter().map(|host| {
        Ok(NewChange {
            action: ChangeAction::Create,
            kind: ServedKind::VirtualHost,
            id: None,
            reference: None,
            if_match: None,
            body: Some(MergePatch::new(serde_json::to_value(host)?)?),
        })
    });
    let changes = changes.collect::<Result<_>>()?;
    let set = NewChangeSet { message: "all at once".into(), changes };
    let applied = mesh.client.changes().apply(mesh.workspace, &set).await?;
    Ok(applied.changes.into_iter().map(|it| VirtualHostId::from_uuid(it.id)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_virtual_host_among_200_leaves_199_live_by_one_reload() -> Result<()> {
    bad_ones_among_200(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_bad_virtual_hosts_among_200_leave_190_live_by_one_reload() -> Result<()> {
    bad_ones_among_200(10).await
}

async fn bad_ones_among_200(bad: usize) -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    let name = |number: usize| format!("host{number}.example");
    let is_bad = |number: usize| number % (200 / bad) == 7;
    let hosts = (0..200).map(|number| {
        let host = mesh.host(&name(number), port);
        if is_bad(number) { refused(host) } else { host }
    });
    // Even nothing is served by a reload, the first time.
    let settled = || async { mesh.shown().await.is_ok_and(|it| it.last_apply.is_some()) };
    wait_for("the empty workspace", PATIENCE, settled).await?;
    let reloads = Reloads::count(&mesh).await?;
    let ids = create(&mesh, hosts.collect()).await?;
    let names: Vec<_> = (0..200).filter(|it| is_bad(*it)).map(name).collect();
    let field = "locations[0].custom_directives.expires";
    let expected: Vec<_> = names.iter().map(|it| (it.as_str(), field, false)).collect();
    assert_eq!(expected.len(), bad);
    wait_for_held(&mesh, &expected).await?;
    for number in 0..200 {
        // Old workers answer for a moment.
        let name = name(number);
        let as_it_should = || async { serves(port, &name).await != is_bad(number) };
        wait_for(&name, PATIENCE, as_it_should).await?;
    }
    assert_eq!(state_of(&mesh, ids[0]).await?.0, VirtualHostState::Live);
    assert_eq!(state_of(&mesh, ids[7]).await?, (VirtualHostState::LeftOut, field.to_owned()));
    let shown = mesh.shown().await?;
    assert_eq!(shown.state, AgentState::Degraded);
    assert_eq!(shown.last_apply.map(|it| it.status), Some(ApplyStatus::Success));
    assert!(shown.quarantined.iter().all(|it| it.error == "\"expires\" directive invalid value"));
    // By now it was tried again, which comes to the same.
    let log = mesh.agent.folder().join("agent.log");
    let tried_again = || async {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.matches("configuration settled").count() >= 4
    };
    wait_for("the next try", PATIENCE, tried_again).await?;
    assert_eq!(reloads.stop()?, 1);
    for (number, id) in ids.iter().enumerate().filter(|(number, _)| is_bad(*number)) {
        let mended = MergePatch::new(json!({"locations": mesh.host("", port).locations}))?;
        mesh.client.virtual_hosts().update(*id, &mended).await?;
        let name = name(number);
        wait_for("the mended one", PATIENCE, || serves(port, &name)).await?;
    }
    mesh.wait_for_state(AgentState::Online).await?;
    wait_for_held(&mesh, &[]).await?;
    assert_eq!(state_of(&mesh, ids[7]).await?, (VirtualHostState::Live, String::new()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_had_a_good_version_goes_on_with_that() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    let shop = mesh.serve(&mesh.host("shop.example", port)).await?;
    mesh.client.virtual_hosts().update(shop.id, &patch(BAD)?).await?;
    let field = "custom_directives.expires";
    wait_for_held(&mesh, &[("shop.example", field, true)]).await?;
    assert_eq!(state_of(&mesh, shop.id).await?, (VirtualHostState::HeldBack, field.to_owned()));
    // Others go live meanwhile.
    mesh.serve(&mesh.host("blog.example", port)).await?;
    assert!(serves(port, "shop.example").await);
    wait_for_held(&mesh, &[("shop.example", field, true)]).await?;
    mesh.client.virtual_hosts().update(shop.id, &patch("1h")?).await?;
    let mended = || async {
        get(port, "shop.example", "/").await.is_ok_and(|(_, text)| text.contains("max-age=3600"))
    };
    wait_for("the mended one", PATIENCE, mended).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

/// A virtual host that proxies to an upstream.
fn behind(mesh: &TestMesh, name: &str, port: u16, upstream: UpstreamId) -> NewVirtualHost {
    let location = NewLocation {
        path: "/".into(),
        upstream_id: Some(upstream.to_string()),
        ..NewLocation::default()
    };
    NewVirtualHost { locations: vec![location], ..mesh.host(name, port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_two_share_is_taken_back_for_both() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    let api = mesh.client.upstreams().create(mesh.workspace, &mesh.upstream("api")).await?;
    for name in ["one.example", "two.example"] {
        mesh.serve(&behind(&mesh, name, port, api.id)).await?;
    }
    let servers = |address: &str| MergePatch::new(json!({"servers": [{"address": address}]}));
    mesh.client.upstreams().update(api.id, &servers("nowhere.invalid:80")?).await?;
    let user = "locations[0].upstream_id";
    let held =
        [("api", "servers[0]", true), ("one.example", user, true), ("two.example", user, true)];
    wait_for_held(&mesh, &held).await?;
    mesh.serve(&mesh.host("three.example", port)).await?;
    for name in ["one.example", "two.example"] {
        assert!(serves(port, name).await, "{name}");
    }
    mesh.client.upstreams().update(api.id, &servers(&mesh.backend.address())?).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_on_a_held_port_wait_for_it_and_others_do_not() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    mesh.serve(&mesh.host("old.example", port)).await?;
    let holder = TcpListener::bind("0.0.0.0:0")?;
    let held = holder.local_addr()?.port();
    let hosts = [("a.example", held), ("b.example", port), ("c.example", held)];
    create(&mesh, hosts.map(|(name, port)| mesh.host(name, port)).into()).await?;
    let expected = ["a.example", "c.example"].map(|it| (it, "listen_port", false));
    wait_for_held(&mesh, &expected).await?;
    wait_for("the rest", PATIENCE, || serves(port, "b.example")).await?;
    assert!(serves(port, "old.example").await);
    let said = mesh.shown().await?.quarantined.remove(0).error;
    assert!(said.starts_with(&format!("bind() to 0.0.0.0:{held} failed (98: ")), "{said}");
    drop(holder);
    wait_for("the port", PATIENCE, || serves(held, "c.example")).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_lets_nothing_through_and_names_it_as_well() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    let strict = MergePatch::new(json!({"settings": {"on_refusal": "strict"}}))?;
    mesh.client.workspaces().update(mesh.workspace, &strict).await?;
    let old = mesh.serve(&mesh.host("old.example", port)).await?;
    let hosts = vec![refused(mesh.host("shop.example", port)), mesh.host("blog.example", port)];
    let ids = create(&mesh, hosts).await?;
    mesh.wait_for_state(AgentState::Degraded).await?;
    let shown = mesh.shown().await?;
    let refused = shown.last_apply.context("an apply")?;
    let named = format!(
        "virtual host shop.example ({}): locations[0].custom_directives.expires: \"expires\" directive invalid value",
        ids[0]
    );
    assert_eq!((refused.status, refused.error_message), (ApplyStatus::Failed, named.clone()));
    assert_eq!(shown.quarantined, []);
    assert!(serves(port, "old.example").await && !serves(port, "blog.example").await);
    assert_eq!(state_of(&mesh, old.id).await?.0, VirtualHostState::Pending);
    // Whoever is strict no more is served what can be.
    let quarantine = MergePatch::new(json!({"settings": {"on_refusal": "quarantine"}}))?;
    mesh.client.workspaces().update(mesh.workspace, &quarantine).await?;
    wait_for("the good one", PATIENCE, || serves(port, "blog.example")).await?;
    let field = "locations[0].custom_directives.expires";
    wait_for_held(&mesh, &[("shop.example", field, false)]).await?;
    assert_eq!(state_of(&mesh, ids[0]).await?.0, VirtualHostState::LeftOut);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_during_any_of_it_comes_to_the_same() -> Result<()> {
    let mut mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    let api = mesh.client.upstreams().create(mesh.workspace, &mesh.upstream("api")).await?;
    for name in ["one.example", "two.example"] {
        mesh.serve(&behind(&mesh, name, port, api.id)).await?;
    }
    let good = mesh.serve(&mesh.host("good.example", port)).await?;
    let counter = mesh.serve(&mesh.host("counter.example", port)).await?;
    let (field, user) = ("locations[0].custom_directives.expires", "locations[0].upstream_id");
    let holder = TcpListener::bind("0.0.0.0:0")?;
    let taken = holder.local_addr()?.port();
    let mut expected = Vec::new();
    for scenario in 0..5 {
        match scenario {
            0 => {
                create(&mesh, vec![refused(mesh.host("bad.example", port))]).await?;
                expected.push(("bad.example", field, false));
            }
            1 => {
                mesh.client.virtual_hosts().update(good.id, &patch(BAD)?).await?;
                expected.push(("good.example", "custom_directives.expires", true));
            }
            2 => {
                const TEN: [&str; 10] = [
                    "a.example",
                    "b.example",
                    "c.example",
                    "d.example",
                    "e.example",
                    "f.example",
                    "g.example",
                    "h.example",
                    "i.example",
                    "j.example",
                ];
                let ten = TEN.iter().map(|it| refused(mesh.host(it, port)));
                create(&mesh, ten.collect()).await?;
                expected.extend(TEN.map(|it| (it, field, false)));
            }
            3 => {
                let nowhere = json!({"servers": [{"address": "nowhere.invalid:80"}]});
                mesh.client.upstreams().update(api.id, &MergePatch::new(nowhere)?).await?;
                expected.push(("api", "servers[0]", true));
                expected.extend(["one.example", "two.example"].map(|it| (it, user, true)));
            }
            _ => {
                create(&mesh, vec![mesh.host("taken.example", taken)]).await?;
                expected.push(("taken.example", "listen_port", false));
            }
        }
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
            mesh.agent.kill().await?;
            mesh.agent.restart()?;
        }
        let round = format!("round-{scenario}");
        let header = json!([{"name": "X-Round", "value": round}]);
        let location = json!({"path": "/", "proxy_pass": format!("http://{}", mesh.backend.address()), "custom_headers": header});
        let change = MergePatch::new(json!({"locations": [location]}))?;
        mesh.client.virtual_hosts().update(counter.id, &change).await?;
        let changed = || async {
            get(port, "counter.example", "/").await.is_ok_and(|(_, text)| text.contains(&round))
        };
        wait_for("what is not refused", PATIENCE, changed).await?;
        wait_for_held(&mesh, &expected).await?;
        for name in ["good.example", "one.example", "two.example"] {
            assert!(serves(port, name).await, "{name} in {scenario}");
        }
    }
    drop(holder);
    wait_for("the port", PATIENCE, || serves(taken, "taken.example")).await?;
    Ok(())
}
