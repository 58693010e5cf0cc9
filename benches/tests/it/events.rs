//! Many who watch, some who do not read, and servers that show the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use nxmesh_benches::{ServerProcess, wait_for};
use nxmesh_client::{Client, Received, Watch};
use nxmesh_core::{
    Actor, Mesh, Secret,
    events::{Delivery, Event, EventFilter, EventId, EventPattern},
    gateway::{
        NewUpstream, UpstreamServer,
        link::{
            AgentMessage, Alert, Connector, HealthReport, Registration, ServerMessage, Severity,
        },
    },
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
    transport::grpc::GrpcConnector,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::cluster::Pair;

const PATIENCE: Duration = Duration::from_secs(120);
/// As many as the issue of it names.
const WATCHERS: usize = 10_000;

/// A WebSocket with small buffers, for there are many.
async fn open(server: &ServerProcess, token: &str) -> Result<WebSocketStream<TcpStream>> {
    let http = server.http();
    let address = http.trim_start_matches("http://");
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let stream = socket.connect(address.parse()?).await?;
    let url = format!("ws://{address}/v1/events?token={token}");
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(1024);
    let (mut socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    let subscribe = json!({"action": "subscribe", "events": ["upstream.*", "health.alert"]});
    socket.send(Message::text(subscribe.to_string())).await?;
    match hear(&mut socket).await? {
        heard if heard["type"] == "subscribed" => Ok(socket),
        heard => bail!("{heard}"),
    }
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Result<Value> {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await?;
        if let Message::Text(text) = message.context("the connection ended")?? {
            return Ok(serde_json::from_str(&text)?);
        }
    }
}

async fn workspace(client: &Client) -> Result<WorkspaceId> {
    let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = client.organizations().create(&organization).await?;
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    Ok(client.workspaces().create(organization.id, &new).await?.id)
}

fn upstream(number: usize) -> NewUpstream {
    NewUpstream {
        name: format!("backend{number}"),
        algorithm: Default::default(),
        servers: vec![UpstreamServer::at("10.0.1.20:8080")],
        health_check: None,
        keepalive_connections: 32,
    }
}

/// Memory that a process has to itself and uses.
fn resident(id: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_who_watch_do_not_stop_the_api() -> Result<()> {
    const CHANGES: usize = 20;
    let folder = tempfile::tempdir()?;
    let mut server = ServerProcess::start(folder.path()).await?;
    let client = server.client().await?;
    let workspace = workspace(&client).await?;
    let before = resident(server.process().id().context("it runs")?)?;
    let token = client.auth().access_token().context("logged in")?;
    let told = Arc::new(AtomicUsize::new(0));
    let mut watchers = JoinSet::new();
    let mut opening = futures::stream::iter(0..WATCHERS)
        .map(|_| open(&server, token.expose()))
        .buffer_unordered(64);
    while let Some(socket) = opening.next().await {
        let (mut socket, told) = (socket?, Arc::clone(&told));
        watchers.spawn(async move {
            while let Ok(heard) = hear(&mut socket).await {
                if heard["type"] == "upstream.created" {
                    told.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    drop(opening);
    let each = (resident(server.process().id().context("it runs")?)? - before) / WATCHERS;
    let mut slowest = Duration::ZERO;
    for number in 0..CHANGES {
        let began = std::time::Instant::now();
        let made = client.upstreams().create(workspace, &upstream(number)).await?;
        client.upstreams().get(made.id).await?;
        slowest = slowest.max(began.elapsed());
    }
    let all = || async { told.load(Ordering::Relaxed) == CHANGES * WATCHERS };
    wait_for("all are told of all", PATIENCE, all).await?;
    println!(
        "{WATCHERS} who watch cost {each} bytes each; a write and a read beside them took {slowest:?} at most"
    );
    assert!(each < 64 * 1024, "{each} bytes each");
    Ok(())
}

/// An agent that tells of trouble all the time.
async fn alarm(server: &ServerProcess, token: Secret<String>, reports: usize) -> Result<()> {
    let connector = GrpcConnector::new(&server.grpc())?;
    let mut link = connector.connect().await?;
    let registration = Registration {
        token,
        hostname: "web".into(),
        ip_address: "10.0.0.1".into(),
        version: "0.1.0".into(),
        capabilities: Vec::new(),
        labels: Default::default(),
        deployment_mode: Default::default(),
        config_checksum: String::new(),
        config_version: Default::default(),
        nginx_version: "1.22.1".into(),
    };
    link.outgoing.send(AgentMessage::Registration(registration)).await?;
    let Some(Ok(ServerMessage::Registered(_))) = link.incoming.next().await else {
        bail!("not let in")
    };
    for number in 0..reports {
        let alert = |at: usize| Alert {
            id: format!("{number}-{at}"),
            severity: Severity::Warning,
            message: "High CPU usage".repeat(20),
            metric: Some("cpu_percent".into()),
            value: Some(85.0),
            timestamp: chrono::DateTime::UNIX_EPOCH,
        };
        let alerts = (0..16).map(alert).collect();
        let report = HealthReport { alerts, ..HealthReport::default() };
        link.outgoing.send(AgentMessage::Health(report)).await?;
    }
    // The server still reads what is on its way.
    let last = format!("{}-15", reports - 1);
    let client = server.client().await?;
    let mut watch = Watch::default();
    watch.patterns = vec!["health.alert".parse()?];
    watch.since = Some(EventId(0));
    let mut events = client.events().watch(watch).await?;
    while let Some(received) = events.next().await {
        if let Received::Event(event) = received?
            && event.event.data["alert_id"] == last.as_str()
        {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_nothing_costs_little_and_is_told_what_was_missed() -> Result<()> {
    const REPORTS: usize = 2500;
    let folder = tempfile::tempdir()?;
    let mut server = ServerProcess::start(folder.path()).await?;
    let client = server.client().await?;
    let workspace = workspace(&client).await?;
    let access = client.auth().access_token().context("logged in")?;
    let mut lazy = Vec::new();
    for _ in 0..20 {
        lazy.push(open(&server, access.expose()).await?);
    }
    let token = client.agents().create_token(workspace, &crate::cluster::agent(0)).await?;
    // What is at hand of events for all is there before, so it is not counted.
    alarm(&server, token.token, REPORTS).await?;
    let id = server.process().id().context("it runs")?;
    let with = resident(id)?;
    let mut seen = Vec::new();
    for socket in &mut lazy {
        let (mut received, mut missed) = (0, 0);
        loop {
            let heard = hear(socket).await?;
            match heard["type"].as_str() {
                Some("lagged") => missed += heard["data"]["missed"].as_u64().context("a number")?,
                _ => received += 1,
            }
            if heard["data"]["alert_id"] == format!("{}-15", REPORTS - 1).as_str() {
                break;
            }
        }
        seen.push((received, missed));
    }
    println!("20 who read nothing of {} events: {with} bytes in all, then {seen:?}", REPORTS * 16);
    // Of each event they were told, or that they missed it; what they missed may be counted
    // with what they did not want.
    assert!(seen.iter().all(|(_, missed)| *missed > 0), "{seen:?}");
    assert!(seen.iter().all(|(received, missed)| received + missed >= REPORTS as u64 * 16));
    assert!(with < 400 * 1024 * 1024, "{with} bytes");
    Ok(())
}

/// All events that an actor is shown at a server, until one of this type and name.
async fn shown(server: Mesh, actor: Actor, last: &str) -> Result<Vec<Arc<Event>>> {
    let mut subscription = server.events().subscribe(&actor, Some(EventId(0))).await?;
    subscription.want(&[EventPattern::All], &EventFilter::default())?;
    let mut seen: Vec<Arc<Event>> = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, subscription.next()).await?? {
            Delivery::Events(events) => seen.extend(events),
            Delivery::Missed(missed) => bail!("missed {missed}"),
        }
        if seen.iter().any(|it| it.event.data.get("name") == Some(&json!(last))) {
            return Ok(seen);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_show_the_same_events_in_the_same_order() -> Result<()> {
    // The second server does not hear of the first: it looks every second.
    let pair = Pair::start(false, 3).await?;
    let watching = [0, 1].map(|at| {
        let (server, actor) = (pair.servers[at].clone(), pair.actor.clone());
        async move { shown(server, actor, "the last").await }
    });
    let work = async {
        let hosts = pair.servers[0].gateway().virtual_hosts();
        let workspace = hosts.get(&pair.actor, pair.host).await?.workspace_id;
        let creates = (0..60).map(|number| {
            let upstreams = pair.servers[number % 2].gateway().upstreams();
            let actor = pair.actor.clone();
            async move { upstreams.create(&actor, workspace, upstream(number)).await }
        });
        futures::future::try_join_all(creates).await?;
        for number in 0..10 {
            pair.change(number % 2, number).await?;
        }
        let last = NewUpstream { name: "the last".into(), ..upstream(0) };
        pair.servers[1].gateway().upstreams().create(&pair.actor, workspace, last).await?;
        Ok::<_, anyhow::Error>(())
    };
    let [first, second] = watching;
    let (first, second, ()) = tokio::try_join!(first, second, work)?;
    let count = first.len().min(second.len());
    assert_eq!(first[..count], second[..count]);
    let of = |name: &str| first.iter().filter(|it| it.event.event_type.as_str() == name).count();
    assert_eq!(of("upstream.created"), 61);
    assert_eq!(of("virtual_host.updated"), 10);
    // On a busy machine some are cut off, and come again.
    assert!(of("agent.connected") >= 6);
    assert!(of("config.applied") >= 6);
    pair.end().await;
    Ok(())
}
