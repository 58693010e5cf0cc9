//! A server of the protocol, and peers who sign what they say.

use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta};
use ed25519_dalek::{Signer, SigningKey};
use nxmesh_core::{
    Clock, ManualClock,
    rendezvous::{Rendezvous, RendezvousSettings, canonical_json},
};
use nxmesh_server::rendezvous::{RendezvousHttpSettings, rpc_with};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use uuid::Uuid;

use super::super::given::{Kept, On};

/// What the clock of a server shows at first.
pub(super) const START: i64 = 1_700_000_000_000;

/// A server on a free port, which ends with this.
pub(super) struct Given {
    pub(super) base: String,
    http: reqwest::Client,
    clock: ManualClock,
    _server: JoinSet<()>,
    _kept: Kept,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

/// A peer.
pub(super) struct Peer {
    key: SigningKey,
    pub(super) id: String,
}

/// What may be set.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) area: RendezvousSettings,
    pub(super) http: RendezvousHttpSettings,
}

impl Settings {
    /// As they are by default, without limits to how often one may ask.
    pub(super) fn unlimited() -> Self {
        let mut settings = Self::default();
        settings.http.rpc_requests_per_second = None;
        settings
    }
}

/// A server on a store in memory.
pub(super) async fn server() -> Given {
    server_with(Settings::unlimited()).await
}

/// The same with settings of its own.
pub(super) async fn server_with(settings: Settings) -> Given {
    given(On::Memory, settings).await
}

/// A server on each of the stores.
pub(super) async fn servers() -> [Given; 3] {
    servers_with(RendezvousSettings::default()).await
}

/// The same with settings of their own.
pub(super) async fn servers_with(area: RendezvousSettings) -> [Given; 3] {
    let settings = || Settings { area: area.clone(), ..Settings::unlimited() };
    [
        given(On::Memory, settings()).await,
        given(On::Sqlite, settings()).await,
        given(On::Postgres, settings()).await,
    ]
}

/// A server of routes of which the protocol is a part, on a store in memory.
pub(super) async fn composed(
    compose: impl FnOnce(Rendezvous, &RendezvousHttpSettings) -> Router,
) -> Given {
    serve(On::Memory, Settings::unlimited(), compose).await
}

async fn given(on: On, settings: Settings) -> Given {
    serve(on, settings, rpc_with).await
}

async fn serve(
    on: On,
    settings: Settings,
    compose: impl FnOnce(Rendezvous, &RendezvousHttpSettings) -> Router,
) -> Given {
    let clock = ManualClock::new(DateTime::from_timestamp_millis(START).unwrap());
    let (store, _kept) = on.open().await;
    let builder = Rendezvous::builder().shared_store(store);
    let builder = builder.clock(clock.clone()).settings(settings.area);
    let routes = compose(builder.build().unwrap(), &settings.http);
    let routes = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().build().unwrap();
    Given { base, http, clock, _server: server, _kept }
}

impl Given {
    pub(super) fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// Moves the clock.
    pub(super) fn pass(&self, millis: i64) {
        self.clock.advance(TimeDelta::milliseconds(millis));
    }

    /// Sends anything.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, body }
    }

    /// Sends a batch as text.
    pub(super) async fn post(&self, batch: impl Into<reqwest::Body>) -> Answer {
        self.send(Method::POST, "/rpc", &[], batch).await
    }

    /// The answers to these calls, in their order.
    pub(super) async fn batch(&self, calls: Vec<Value>) -> Vec<Value> {
        let wanted = calls.len();
        let answer = self.post(Value::from(calls).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answers = answer.body.as_array().unwrap().clone();
        assert_eq!(answers.len(), wanted);
        answers
    }

    /// The answer to a call that a peer signs.
    pub(super) async fn call(&self, peer: &Peer, method: &str, params: Value) -> Value {
        self.batch(vec![peer.call(self.now(), method, params)]).await.remove(0)
    }

    /// The answer to a call that nobody signs.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Value {
        self.batch(vec![json!({"method": method, "params": params})]).await.remove(0)
    }

    /// Offers of a peer under these tags, one for each session description; their ids.
    pub(super) async fn publish(&self, peer: &Peer, tags: &[&str], sdps: &[&str]) -> Vec<String> {
        let offers: Vec<_> = sdps.iter().map(|sdp| json!({"sdp": sdp})).collect();
        let made = self.call(peer, "publishOffer", json!({"tags": tags, "offers": offers})).await;
        let ids = result(&made)["offers"].as_array().unwrap().iter();
        ids.map(|it| it["offerId"].as_str().unwrap().to_owned()).collect()
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().unwrap())
    }
}

impl Peer {
    pub(super) fn new(seed: u8) -> Self {
        Self::of([seed; 32])
    }

    pub(super) fn of(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let id = key.verifying_key().to_bytes().iter().map(|it| format!("{it:02x}")).collect();
        Self { key, id }
    }

    /// A call that is signed.
    #[expect(clippy::needless_pass_by_value, reason = "most are written where they are passed")]
    pub(super) fn call(&self, at: i64, method: &str, params: Value) -> Value {
        let auth = self.auth(at, &Uuid::new_v4().to_string(), method, &params);
        json!({"method": method, "params": params, "auth": auth})
    }

    /// What proves a call.
    pub(super) fn auth(&self, at: i64, nonce: &str, method: &str, params: &Value) -> Value {
        self.auth_of(at, nonce, method, &canonical_json(params).unwrap())
    }

    /// The same, with the parameters as they are signed.
    pub(super) fn auth_of(&self, at: i64, nonce: &str, method: &str, params: &str) -> Value {
        let signature = self.sign(&format!("{at}:{nonce}:{method}:{params}"));
        json!({"publicKey": self.id, "timestamp": at, "nonce": nonce, "signature": signature})
    }

    pub(super) fn sign(&self, message: &str) -> String {
        STANDARD.encode(self.key.sign(message.as_bytes()).to_bytes())
    }
}

/// The result of a call that has one.
pub(super) fn result(answer: &Value) -> &Value {
    assert_eq!(answer["success"], true, "{answer}");
    &answer["result"]
}

/// The error of a call that has one: its code, and what is said.
pub(super) fn error(answer: &Value) -> (&str, &str) {
    assert_eq!(answer["success"], false, "{answer}");
    (answer["errorCode"].as_str().unwrap(), answer["error"].as_str().unwrap())
}
