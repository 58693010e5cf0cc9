use std::time::Duration;

use futures::{SinkExt, StreamExt, TryStreamExt};
use nxmesh_client::{Received, Watch};
use nxmesh_core::{
    RevisionNumber,
    events::EventFilter,
    gateway::link::{
        AgentMessage, Alert, ApplyStatus, ConfigStatus, HealthReport, ServerMessage, Severity,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message},
};

use crate::given::{Given, host, server, server_on_sqlite, upstream};

/// A WebSocket, as anybody would open one.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Socket {
    pub(crate) async fn open(given: &Given, more: &str) -> Self {
        let token = given.client.auth().access_token().unwrap();
        Self::open_as(given, token.expose(), more).await
    }

    async fn open_as(given: &Given, token: &str, more: &str) -> Self {
        let base = given.base.replace("http://", "ws://");
        let url = format!("{base}/v1/events?token={token}{more}");
        Self(connect_async(url).await.unwrap().0)
    }

    async fn say(&mut self, said: Value) {
        self.0.send(Message::text(said.to_string())).await.unwrap();
    }

    /// The next message, but pings.
    pub(crate) async fn hear(&mut self) -> Value {
        let hear = async {
            loop {
                match self.0.next().await.unwrap().unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Close(frame) => {
                        return json!({"closed": frame.map(|it| u16::from(it.code))});
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), hear).await.expect("nothing was said")
    }

    pub(crate) async fn subscribe(&mut self, patterns: &[&str], filter: Value) {
        self.say(json!({"action": "subscribe", "events": patterns, "filter": filter})).await;
        assert_eq!(self.hear().await["type"], "subscribed");
    }

    /// Until an event of this type comes; answers all types before it, and its data.
    pub(crate) async fn until(&mut self, event_type: &str) -> (Vec<String>, Value) {
        let mut before = Vec::new();
        loop {
            let heard = self.hear().await;
            let found = heard["type"].as_str().unwrap_or_default().to_owned();
            if found == event_type {
                return (before, heard);
            }
            before.push(found);
        }
    }
}

#[tokio::test]
async fn what_agents_do_is_told_as_the_source_says() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await;
        let mut socket = Socket::open(&given, "").await;
        let filter = json!({"workspace_id": workspace.id});
        socket.subscribe(&["agent.*", "config.*", "health.alert"], filter).await;
        let token = crate::agents::token(&given, workspace.id, "web").await;
        let (mut link, _) = crate::agents::dial(&given, &token.token).await;
        let (before, connected) = socket.until("agent.connected").await;
        assert_eq!(before, ["agent.created"]);
        assert_eq!(
            connected["data"],
            json!({
                "agent_id": token.agent_id,
                "hostname": "web-01.internal",
                "ip_address": "10.0.1.10",
            })
        );
        assert_eq!(connected["workspace_id"], json!(workspace.id));
        assert_eq!(connected["organization_id"], json!(workspace.organization_id));
        assert!(connected["timestamp"].as_str().unwrap().ends_with('Z'));

        let update = loop {
            if let ServerMessage::Config(update) = link.incoming.next().await.unwrap().unwrap() {
                break update;
            }
        };
        let status = ConfigStatus {
            error_message: "no such host".into(),
            ..ConfigStatus::of(&update, ApplyStatus::RolledBack, chrono::DateTime::UNIX_EPOCH)
        };
        link.outgoing.send(AgentMessage::ConfigStatus(status)).await.unwrap();
        let (_, applied) = socket.until("config.applied").await;
        let data = &applied["data"];
        assert_eq!(data["agent_id"], json!(token.agent_id));
        assert_eq!(data["config_id"], update.config_id);
        assert_eq!(data["version"], json!(RevisionNumber(1)));
        assert!(data["duration_ms"].as_u64().is_some(), "{data}");
        assert_eq!(data["success"], false);
        assert_eq!(data["error_message"], "no such host");
        assert_eq!(data["happened_at"], "1970-01-01T00:00:00Z");

        let alert = Alert {
            id: "alert-456".into(),
            severity: Severity::Warning,
            message: "High CPU usage: 85%".into(),
            metric: Some("cpu_percent".into()),
            value: Some(85.0),
            timestamp: chrono::DateTime::UNIX_EPOCH,
        };
        let report = HealthReport { alerts: vec![alert], ..HealthReport::default() };
        link.outgoing.send(AgentMessage::Health(report)).await.unwrap();
        let (_, alert) = socket.until("health.alert").await;
        assert_eq!(
            alert["data"],
            json!({
                "agent_id": token.agent_id,
                "alert_id": "alert-456",
                "severity": "warning",
                "happened_at": "1970-01-01T00:00:00Z",
                "message": "High CPU usage: 85%",
                "metric": "cpu_percent",
                "value": 85.0,
            })
        );
        drop(link);
        let (_, gone) = socket.until("agent.disconnected").await;
        assert_eq!(
            gone["data"],
            json!({"agent_id": token.agent_id, "reason": "connection_closed"})
        );
    }
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_wanted_and_after_it_is_not() {
    let given = server().await;
    let workspace = given.workspace().await;
    let mut socket = Socket::open(&given, "").await;
    given.client.upstreams().create(workspace.id, &upstream("before")).await.unwrap();
    // Only once the server itself has seen it is it in the past.
    let mut seen = Socket::open(&given, "&since=0").await;
    seen.subscribe(&["upstream.created"], json!({})).await;
    seen.hear().await;
    socket.subscribe(&["upstream.created"], json!({})).await;
    let made = given.client.upstreams().create(workspace.id, &upstream("a")).await.unwrap();
    let (before, heard) = socket.until("upstream.created").await;
    assert!(before.is_empty());
    assert_eq!(heard["data"]["upstream_id"], json!(made.id));
    assert_eq!(heard["data"]["name"], "a");
    assert_eq!(heard["data"]["revision"], json!(made.revision));

    socket.say(json!({"action": "unsubscribe", "events": ["upstream.created"]})).await;
    let answer = socket.hear().await;
    assert_eq!(
        answer,
        json!({"type": "unsubscribed", "events": ["upstream.created"], "filter": {}})
    );
    given.client.upstreams().create(workspace.id, &upstream("unseen")).await.unwrap();
    let elsewhere = json!({"workspace_id": workspace.organization_id});
    socket.subscribe(&["*"], elsewhere).await;
    given.client.upstreams().create(workspace.id, &upstream("elsewhere")).await.unwrap();
    socket.subscribe(&["virtual_host.*"], json!({})).await;
    given.client.virtual_hosts().create(workspace.id, &host("a.test", 80)).await.unwrap();
    assert_eq!(socket.hear().await["type"], "virtual_host.created");
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_the_connection_stays() {
    let given = server().await;
    let mut socket = Socket::open(&given, "").await;
    for (said, field) in [
        (r#"{"action": "subscribe"}"#.to_owned(), "events"),
        (r#"{"action": "dance", "events": ["*"]}"#.to_owned(), "action"),
        (r#"{"action": "subscribe", "events": ["agent"]}"#.to_owned(), "events[0]"),
        ("{".to_owned(), "body"),
        (
            json!({"action": "subscribe", "events": (0..65_u8).map(|it| format!("{}.{}", (b'a' + it / 26) as char, (b'a' + it % 26) as char)).collect::<Vec<_>>()}).to_string(),
            "events",
        ),
    ] {
        socket.0.send(Message::text(said)).await.unwrap();
        let answer = socket.hear().await;
        assert_eq!(answer["error"]["code"], "VALIDATION_ERROR");
        assert_eq!(answer["error"]["details"][0]["field"], field, "{answer}");
        assert!(!answer["error"]["request_id"].as_str().unwrap().is_empty());
    }
    socket.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(socket.hear().await["error"]["code"], "VALIDATION_ERROR");
    let answer = json!({"action": "subscribe", "events": ["agent.*"], "filter": {}});
    socket.say(answer).await;
    assert_eq!(socket.hear().await["events"], json!(["agent.*"]));
}

#[tokio::test]
async fn what_happened_since_is_replayed() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await;
        let mut socket = Socket::open(&given, "&since=0").await;
        socket.subscribe(&["*"], json!({})).await;
        assert_eq!(socket.hear().await["type"], "organization.created");
        let made = socket.hear().await;
        assert_eq!(made["type"], "workspace.created");
        let first = given.client.upstreams().create(workspace.id, &upstream("a")).await.unwrap();
        let second = given.client.upstreams().create(workspace.id, &upstream("b")).await.unwrap();
        let since = format!("&since={}", made["id"].as_str().unwrap());
        let mut socket = Socket::open(&given, &since).await;
        socket.subscribe(&["upstream.*"], json!({})).await;
        for expected in [first.id, second.id] {
            assert_eq!(socket.hear().await["data"]["upstream_id"], json!(expected));
        }
        let token = given.client.auth().access_token().unwrap();
        for (since, field) in [("999999", "since"), ("yesterday", "since")] {
            let path = format!("/v1/events?since={since}");
            let headers = [
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("authorization", &format!("Bearer {}", token.expose())),
            ];
            let refused = given.send_with(Method::GET, &path, &headers[..4], None).await;
            assert_eq!(refused.refusal(), (422, "VALIDATION_ERROR", vec![field]));
        }
    }
}

#[tokio::test]
async fn who_may_not_see_it_is_not_told() {
    let given = server().await;
    let workspace = given.workspace().await;
    let stranger = given.stranger().await.auth().access_token().unwrap();
    let mut mine = Socket::open(&given, "").await;
    mine.subscribe(&["*"], json!({})).await;
    let mut theirs = Socket::open_as(&given, stranger.expose(), "").await;
    theirs.subscribe(&["*"], json!({})).await;
    let members = format!("/v1/organizations/{}/members", workspace.organization_id);
    given.client.upstreams().create(workspace.id, &upstream("secret")).await.unwrap();
    let body = json!({"name": "Theirs", "slug": "theirs"});
    let token = Some(stranger.expose().as_str());
    given.send_as(&Method::POST, "/v1/organizations", token, Some(body)).await;
    assert_eq!(theirs.hear().await["type"], "organization.created");

    // They are told from when they belong there until they do no more.
    let body = json!({"email": "stranger@example.com", "role": "viewer"});
    let member = given.send(Method::POST, &members, Some(body)).await.body;
    assert_eq!(theirs.hear().await["type"], "member.added");
    given.client.upstreams().create(workspace.id, &upstream("seen")).await.unwrap();
    let (before, seen) = theirs.until("upstream.created").await;
    assert!(before.is_empty());
    assert_eq!(seen["data"]["name"], "seen");
    // Keys are for those who may see them.
    let of = workspace.organization_id;
    let body = json!({"name": "ci", "role": "viewer", "organization_id": of});
    let key = given.send(Method::POST, "/v1/api-keys", Some(body)).await.body;
    let member = format!("{members}/{}", member["user_id"].as_str().unwrap());
    given.send(Method::DELETE, &member, None).await;
    given.client.upstreams().create(workspace.id, &upstream("unseen")).await.unwrap();
    let (before, _) = mine.until("member.removed").await;
    assert!(before.contains(&"api_key.created".to_owned()));
    mine.until("upstream.created").await;
    theirs.say(json!({"action": "unsubscribe"})).await;
    assert_eq!(theirs.hear().await["type"], "unsubscribed");

    // A key that is revoked is let go.
    let mut program = Socket::open_as(&given, key["key"].as_str().unwrap(), "").await;
    program.subscribe(&["*"], json!({})).await;
    given.client.upstreams().create(workspace.id, &upstream("by key")).await.unwrap();
    assert_eq!(program.hear().await["type"], "upstream.created");
    let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
    given.send(Method::DELETE, &path, None).await;
    assert_eq!(program.hear().await["error"]["code"], "UNAUTHORIZED");
    assert_eq!(program.hear().await, json!({"closed": 1008}));
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_why() {
    let given = server().await;
    let path = "/v1/events";
    assert_eq!(given.send_bare(Method::GET, path, None).await.refusal().0, 401);
    let wrong = format!("{path}?token=wrong");
    assert_eq!(given.send_bare(Method::GET, &wrong, None).await.refusal().0, 401);
    let plain = given.send(Method::GET, path, None).await;
    assert_eq!(plain.refusal(), (426, "VALIDATION_ERROR", vec![]));
    let base = given.base.replace("http://", "ws://");
    let refused = connect_async(format!("{base}{path}?token=wrong")).await.unwrap_err();
    let tungstenite::Error::Http(response) = refused else { panic!("{refused}") };
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn the_client_goes_on_where_a_broken_connection_left_it() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await;
    let way = proxy::Cut::start(&given.base).await;
    let client = nxmesh_client::Client::new(way.base()).unwrap();
    client.auth().login(crate::given::EMAIL, crate::given::PASSWORD).await.unwrap();
    let mut watch = Watch::default();
    watch.patterns = vec!["upstream.created".parse().unwrap()];
    watch.filter = EventFilter { workspace_id: Some(workspace.id), ..EventFilter::default() };
    let mut events = client.events().watch(watch).await.unwrap();
    for round in 0..5 {
        let name = format!("made{round}");
        if round % 2 == 1 {
            way.cut();
        }
        let made = given.client.upstreams().create(workspace.id, &upstream(&name)).await.unwrap();
        let Some(Received::Event(event)) = events.try_next().await.unwrap() else { panic!() };
        assert_eq!(event.event.data["upstream_id"], json!(made.id), "{round}");
    }
}

/// A way to the server that can be cut.
mod proxy {
    use tokio::{
        io::copy_bidirectional,
        net::{TcpListener, TcpStream},
        sync::watch,
        task::JoinSet,
    };

    pub(super) struct Cut {
        base: String,
        cuts: watch::Sender<u32>,
        _tasks: JoinSet<()>,
    }

    impl Cut {
        pub(super) async fn start(to: &str) -> Self {
            let to = to.trim_start_matches("http://").to_owned();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let cuts = watch::Sender::new(0);
            let ends = cuts.clone();
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                loop {
                    let (mut from, _) = listener.accept().await.unwrap();
                    let mut to = TcpStream::connect(&to).await.unwrap();
                    let mut end = ends.subscribe();
                    connections.spawn(async move {
                        tokio::select! {
                            _ = copy_bidirectional(&mut from, &mut to) => {}
                            _ = end.changed() => {}
                        }
                    });
                }
            });
            Self { base, cuts, _tasks: tasks }
        }

        pub(super) fn base(&self) -> &str {
            &self.base
        }

        /// Breaks all connections; new ones go through.
        pub(super) fn cut(&self) {
            self.cuts.send_modify(|it| *it += 1);
        }
    }
}
