//! One bad object is held back, and the rest goes live.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path, sync::Arc, time::Duration};

use nxmesh_core::{
    Id, RevisionNumber,
    conformance::given::id,
    from_json,
    gateway::{
        ConfigUpdate, NewUpstream, NewVirtualHost, Projection, Quarantined, ServedKind, UpstreamId,
        UpstreamSpec, VirtualHostId, VirtualHostSpec,
        link::{
            AgentMessage,
            ApplyStatus::{Applying, Failed, Pending, Success, Validating},
            CommandAction,
        },
    },
};
use serde_json::{Value, json};

use crate::commands::order;
use crate::given::{
    State, free_port, headers, nginx_pid, start, strict, until, workers_after, workers_in,
};

/// Virtual hosts and upstreams, by what they are called.
#[derive(Default, Clone)]
struct Site {
    hosts: BTreeMap<&'static str, (VirtualHostId, Arc<VirtualHostSpec>)>,
    upstreams: BTreeMap<&'static str, (UpstreamId, Arc<UpstreamSpec>)>,
}

impl Site {
    /// A virtual host that answers `X-Text: {text}`, with this added to its location.
    fn host(&mut self, name: &'static str, port: u16, text: &str, more: &Value) -> VirtualHostId {
        let mut location = json!({
            "path": "/", "root": "/nonexistent",
            "custom_headers": [{"name": "X-Text", "value": text, "always": true}],
        });
        let body = location.as_object_mut().unwrap();
        body.extend(more.as_object().unwrap().clone());
        if body.contains_key("upstream_id") {
            body.remove("root");
        }
        let new: NewVirtualHost = from_json(json!({
            "name": name, "server_name": format!("{name}.example"), "listen_port": port,
            "locations": [location],
        }))
        .unwrap();
        let spec = Arc::new(new.parse().unwrap().0);
        let it = self.hosts.entry(name).or_insert_with(|| (id(), Arc::clone(&spec)));
        it.1 = spec;
        it.0
    }

    fn upstream(&mut self, name: &'static str, server: &str) -> UpstreamId {
        let new: NewUpstream =
            from_json(json!({"name": name, "servers": [{"address": server}]})).unwrap();
        let spec = Arc::new(new.parse().unwrap());
        let it = self.upstreams.entry(name).or_insert_with(|| (id(), Arc::clone(&spec)));
        it.1 = spec;
        it.0
    }

    fn update(&self, version: u64) -> Arc<ConfigUpdate> {
        let projection = Projection {
            virtual_hosts: self.hosts.values().cloned().collect(),
            upstreams: self.upstreams.values().cloned().collect(),
            ..Projection::default()
        };
        Arc::new(ConfigUpdate {
            drift: Default::default(),
            config_id: format!("{version}-test"),
            version: RevisionNumber(version),
            checksum: format!("sum{version}"),
            projection: Arc::new(projection),
        })
    }
}

fn nothing() -> Value {
    json!({})
}

fn bad() -> Value {
    json!({"custom_directives": {"expires": "nonsense"}})
}

/// Which virtual host answers what.
async fn answers(port: u16, name: &str) -> Option<String> {
    headers(port, &format!("{name}.example")).await
}

fn told(held: &[Quarantined]) -> Vec<(&str, &str, Option<u64>)> {
    let told = held
        .iter()
        .map(|it| (it.name.as_str(), it.field.as_str(), it.running_revision.map(|it| it.0)));
    told.collect()
}

fn folders(state: &Path) -> usize {
    fs::read_dir(state.join("gen")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_was_good_is_left_out_by_one_reload_and_mended_it_goes_live() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    site.host("fine", port, "1", &nothing());
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    let before = workers_in(&state.path());

    site.host("fine", port, "2", &nothing());
    let shop = site.host("shop", port, "2", &bad());
    let (steps, held) = server.apply_and_hold(&site.update(2)).await;
    assert_eq!(steps, [Pending, Validating, Applying, Success]);
    assert_eq!(told(&held), [("shop", "locations[0].custom_directives.expires", None)]);
    assert_eq!((held[0].kind, held[0].id), (ServedKind::VirtualHost, *shop.as_uuid()));
    assert_eq!(held[0].error, "\"expires\" directive invalid value");
    until("the good one", async || answers(port, "fine").await.as_deref() == Some("2")).await;
    assert_eq!(answers(port, "shop").await, None);
    let after = workers_after(&state.path(), &before).await;

    // The same again comes to the same, without a reload.
    let (again, held_again) = server.apply_and_hold(&site.update(2)).await;
    assert_eq!((again.last(), &held_again), (Some(&Success), &held));
    assert!(!again.contains(&Applying), "{again:?}");
    assert_eq!(workers_in(&state.path()), after);

    site.host("shop", port, "3", &nothing());
    assert!(server.apply_and_hold(&site.update(3)).await.1.is_empty());
    until("the mended one", async || answers(port, "shop").await.as_deref() == Some("3")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_good_goes_on_and_an_agent_that_was_killed_remembers() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    let api = site.upstream("api", "127.0.0.1:1");
    site.host("fine", port, "1", &nothing());
    site.host("shop", port, "1", &json!({"upstream_id": api}));
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    site.host("fine", port, "2", &nothing());
    assert!(server.apply_and_hold(&site.update(2)).await.1.is_empty());

    let mut refused = bad();
    refused["upstream_id"] = json!(api);
    site.host("shop", port, "3", &refused);
    site.host("other", port, "3", &json!({"upstream_id": api}));
    // The good one goes on with the upstream as it was, beside the new one.
    site.upstream("api", "127.0.0.1:2");
    let (_, held) = server.apply_and_hold(&site.update(3)).await;
    let why = "locations[0].custom_directives.expires";
    assert_eq!(told(&held), [("shop", why, Some(2))]);
    let serves = async |text: &str| {
        answers(port, "shop").await.as_deref() == Some("1")
            && answers(port, "other").await.as_deref() == Some(text)
    };
    until("old and new", async || serves("3").await).await;
    let current = state.path().join("current");
    let servers = |address: &str| {
        let files = fs::read_dir(current.join("upstreams")).unwrap();
        files
            .filter(|it| fs::read_to_string(it.as_ref().unwrap().path()).unwrap().contains(address))
            .count()
    };
    assert_eq!((servers("127.0.0.1:1"), servers("127.0.0.1:2")), (1, 1));
    agent.kill().await;

    // Another one of them changes: what is refused is not tried again for that.
    let mut agent = start(&state.path());
    let (mut server, registration) = agent.accept().await;
    assert!(registration.config_checksum.starts_with("sum3-"), "{registration:?}");
    site.host("other", port, "4", &json!({"upstream_id": api}));
    let (_, held) = server.apply_and_hold(&site.update(4)).await;
    assert_eq!(told(&held), [("shop", why, Some(2))]);
    until("old and newer", async || serves("4").await).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_refused_is_taken_back_for_all_who_use_it() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    let api = site.upstream("api", "127.0.0.1:1");
    for name in ["one", "two"] {
        site.host(name, port, "1", &json!({"upstream_id": api}));
    }
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    site.upstream("api", "nowhere.invalid:80");
    let new = site.upstream("new", "nowhere.invalid:80");
    site.host("two", port, "2", &json!({"upstream_id": api}));
    site.host("three", port, "2", &json!({"upstream_id": new}));
    site.host("four", port, "2", &nothing());
    let (_, mut held) = server.apply_and_hold(&site.update(2)).await;
    held.sort_by(|a, b| a.name.cmp(&b.name));
    let (user, own) = ("locations[0].upstream_id", "servers[0]");
    let expected = [
        ("api", own, Some(1)),
        ("new", own, None),
        ("one", user, Some(1)),
        ("three", user, None),
        ("two", user, Some(1)),
    ];
    assert_eq!(told(&held), expected);
    assert!(held[2].error.starts_with("upstream api ("), "{held:?}");
    until("the rest", async || answers(port, "four").await.as_deref() == Some("2")).await;
    let two = async || answers(port, "two").await.as_deref() == Some("2");
    until("the new one with the upstream as it was", two).await;
    assert_eq!(answers(port, "three").await, None);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_on_a_port_that_somebody_holds_are_held_back_without_a_reload() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    for name in ["moved", "stays"] {
        site.host(name, port, "1", &nothing());
    }
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    let first = workers_in(&state.path());
    let holder = TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    site.host("moved", taken, "2", &nothing());
    site.host("new", taken, "2", &nothing());
    site.host("stays", port, "2", &nothing());
    let (_, mut held) = server.apply_and_hold(&site.update(2)).await;
    held.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(told(&held), [("moved", "listen_port", Some(1)), ("new", "listen_port", None)]);
    assert!(held.iter().all(|it| it.error.contains(&format!(":{taken} failed (98: "))));
    until("the rest", async || answers(port, "stays").await.as_deref() == Some("2")).await;
    assert_eq!(answers(port, "moved").await.as_deref(), Some("1"));
    let before = workers_after(&state.path(), &first).await;
    assert_eq!(server.apply_and_hold(&site.update(2)).await.1.len(), 2);
    assert_eq!(workers_in(&state.path()), before);
    drop(holder);
    assert!(server.apply_and_hold(&site.update(2)).await.1.is_empty());
    until("the free port", async || answers(taken, "new").await.as_deref() == Some("2")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_are_tried_one_at_a_time_are_held_back_with_all_that_changed() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    const NAMES: [&str; 17] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"];
    let mut site = Site::default();
    site.host("changed", port, "1", &nothing());
    site.host("same", port, "1", &nothing());
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    site.host("changed", port, "2", &nothing());
    // Sixteen bad ones are found one at a time, and all else goes live.
    for name in &NAMES[..16] {
        site.host(name, port, "2", &bad());
    }
    assert_eq!(server.apply_and_hold(&site.update(2)).await.1.len(), 16);
    until("what changed", async || answers(port, "changed").await.as_deref() == Some("2")).await;
    // With one more that is not known yet, too.
    site.host("changed", port, "3", &nothing());
    site.host(NAMES[16], port, "3", &bad());
    assert_eq!(server.apply_and_hold(&site.update(3)).await.1.len(), 17);
    until("what changed", async || answers(port, "changed").await.as_deref() == Some("3")).await;
    // Seventeen at once are not found: all that changed is held back.
    let mut site = Site { hosts: site.hosts, ..Site::default() };
    for name in NAMES {
        site.host(name, port, "4", &bad());
    }
    site.host("changed", port, "4", &nothing());
    let (_, held) = server.apply_and_hold(&site.update(4)).await;
    assert_eq!(held.len(), 18, "{held:?}");
    let changed = held.iter().find(|it| it.name == "changed").unwrap();
    assert_eq!(changed.running_revision, Some(RevisionNumber(3)));
    assert_eq!(answers(port, "changed").await.as_deref(), Some("3"));
    assert_eq!(answers(port, "same").await.as_deref(), Some("1"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_refused_and_strict_ones_let_nothing_through() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    site.host("fine", port, "1", &nothing());
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    let before = (nginx_pid(&state.path()), folders(&state.path()));
    site.host("fine", port, "2", &nothing());
    let update = site.update(2);
    let settings = from_json(json!({"nginx_directives": {"gzip": "maybe"}})).unwrap();
    let mut projection = Projection::clone(&update.projection);
    projection.settings = Arc::new(settings);
    let refused = ConfigUpdate { projection: Arc::new(projection), ..ConfigUpdate::clone(&update) };
    let (steps, reason) = server.apply(&Arc::new(refused)).await;
    assert_eq!(steps, [Pending, Validating, Failed]);
    assert!(reason.starts_with("the settings of the workspace: settings.nginx_directives.gzip: "));
    let shop = site.host("shop", port, "2", &bad());
    let (steps, reason) = server.apply(&strict(&site.update(3))).await;
    assert_eq!(steps, [Pending, Validating, Failed]);
    let object = format!("virtual host shop ({}): locations[0]", Id::clone(&shop));
    assert!(reason.starts_with(&object), "{reason}");
    assert_eq!(answers(port, "fine").await.as_deref(), Some("1"));
    assert_eq!((nginx_pid(&state.path()), folders(&state.path())), before);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_a_port_that_was_taken_meanwhile_does_not_keep_nginx_from_the_others() {
    let (state, port, taken) = (State::new(), free_port(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    site.host("fine", port, "1", &nothing());
    site.host("shop", taken, "1", &nothing());
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    agent.kill().await;
    drop(server);
    let master = rustix::process::Pid::from_raw(nginx_pid(&state.path()).unwrap()).unwrap();
    rustix::process::kill_process(master, rustix::process::Signal::TERM).unwrap();
    let mut holder = None;
    until("nginx to let go of the port", async || {
        holder = TcpListener::bind(("0.0.0.0", taken)).ok();
        holder.is_some()
    })
    .await;
    // Nobody accepts: there is no server.
    let agent = start(&state.path());
    until("the others", async || answers(port, "fine").await.as_deref() == Some("1")).await;
    drop(holder);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_was_stopped_is_not_started_by_what_is_held_back() {
    let (state, port) = (State::new(), free_port());
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    site.host("fine", port, "1", &nothing());
    site.host("shop", port, "1", &bad());
    let update = site.update(1);
    assert_eq!(server.apply_and_hold(&update).await.1.len(), 1);
    let stop = CommandAction::Stop { graceful: true, timeout: Duration::from_secs(5) };
    assert_eq!(order(&mut server, stop).await.0, "true");
    // A server asks for what is held back again and again.
    let (steps, held) = server.apply_and_hold(&update).await;
    assert_eq!((steps, held.len()), (vec![Success], 1));
    assert_eq!(answers(port, "fine").await, None);
    site.host("fine", port, "2", &nothing());
    server.apply_and_hold(&site.update(2)).await;
    until("the other", async || answers(port, "fine").await.as_deref() == Some("2")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asks_for_again_is_tried_each_minute_and_told() {
    let (state, port) = (State::new(), free_port());
    let holder = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let mut site = Site::default();
    site.host("fine", port, "1", &nothing());
    let held_port = holder.local_addr().unwrap().port();
    assert!(server.apply_and_hold(&site.update(1)).await.1.is_empty());
    site.host("shop", held_port, "1", &nothing());
    assert_eq!(server.apply_and_hold(&site.update(2)).await.1.len(), 1);
    // Another agent remembers that too.
    agent.kill().await;
    let mut agent = start(&state.path());
    drop(server);
    // Nobody asks it for anything.
    let (mut server, _) = agent.accept().await;
    drop(holder);
    // It tries each minute.
    let tried = async {
        loop {
            if let AgentMessage::ConfigStatus(it) = server.find(Some).await {
                return (it.status, it.quarantined_total, it.checksum);
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(120), tried).await;
    assert_eq!(told.expect("it is never tried again"), (Success, 0, "sum2".to_owned()));
    assert!(answers(held_port, "shop").await.is_some());
    agent.stop().await;
}
