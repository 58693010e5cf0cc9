//! A server of rendezvous in this process, and peers that call it.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use chrono::DateTime;
use nxmesh_core::{
    ManualClock,
    conformance::postgres::Database,
    rendezvous::{
        CredentialKey, CredentialKeys, Durability, Rendezvous, RendezvousBuilder,
        RendezvousSettings, RendezvousStore,
    },
    store::{memory::MemoryRendezvous, postgres::PostgresRendezvous, sqlite::SqliteRendezvous},
    tenancy::MasterKey,
};
use nxmesh_server::rendezvous::{RendezvousHttpSettings, offers_with, origin_with};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

/// For how long a body may be on its way here.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// What [`Setup::clock`] shows at first.
pub(crate) const NOW: i64 = 1_700_000_000_000;
/// A key, a peer, and the secret of that peer under that key, as the first server made them.
pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// See [`KEY`].
pub(crate) const KNOWN_PEER: &str = "f17c195f067255e357232e34cf0735d9";
/// See [`KEY`].
pub(crate) const KNOWN_SECRET: &str =
    "oKGio6SlpqeoqaqrgClLTnTyN9lSU7DhMk+l7UWbayOg0nFY/2gWsUyeETggEiXl7OT+FRC3EQvkyUL1";

/// A server of one protocol on a free port, which ends with this.
pub(crate) struct Given {
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
    pub(crate) rendezvous: Rendezvous,
    _server: JoinSet<()>,
    _kept: Arc<Kept>,
}

/// Where a store is, as long as it is used.
#[derive(Default)]
pub(crate) struct Kept {
    _folder: Option<TempDir>,
    pub(crate) database: Option<Database>,
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Memory,
    Sqlite,
    Postgres,
}

/// Tests of sentences, each with every store.
macro_rules! on_each_store {
    ($($name:ident,)*) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::On::Memory).await })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::On::Sqlite).await })*
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(super::On::Postgres).await })*
        }
    };
}
pub(crate) use on_each_store;

impl On {
    pub(crate) async fn open(self) -> (Arc<dyn RendezvousStore>, Kept) {
        match self {
            Self::Memory => (Arc::new(MemoryRendezvous::new()), Kept::default()),
            Self::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("rendezvous.db");
                let store = SqliteRendezvous::open(path, Durability::Durable).await.unwrap();
                (Arc::new(store), Kept { _folder: Some(folder), ..Kept::default() })
            }
            Self::Postgres => {
                let database = Database::create().await;
                let url = database.url();
                let store = PostgresRendezvous::open(url, Durability::Durable).await.unwrap();
                (Arc::new(store), Kept { database: Some(database), ..Kept::default() })
            }
        }
    }
}

/// A server that is to be started. What may be set is public.
pub(crate) struct Setup {
    store: Arc<dyn RendezvousStore>,
    kept: Arc<Kept>,
    /// Stands still until it is moved.
    pub(crate) clock: ManualClock,
    /// Nothing is swept by itself, if not set otherwise.
    pub(crate) settings: RendezvousSettings,
    pub(crate) http: RendezvousHttpSettings,
    pub(crate) keys: Option<CredentialKeys>,
}

impl Setup {
    pub(crate) async fn on(on: On) -> Self {
        let (store, kept) = on.open().await;
        Self::with(store, Arc::new(kept))
    }

    /// On a store that somebody else looks after.
    pub(crate) fn of(store: impl RendezvousStore) -> Self {
        Self::with(Arc::new(store), Arc::default())
    }

    fn with(store: Arc<dyn RendezvousStore>, kept: Arc<Kept>) -> Self {
        let clock = ManualClock::new(DateTime::from_timestamp_millis(NOW).unwrap());
        let mut settings = RendezvousSettings::default();
        settings.sweep_interval = Duration::from_secs(3600);
        Self { store, kept, clock, settings, http: unhurried(), keys: None }
    }

    /// Another server on the same database, by the same clock.
    pub(crate) async fn beside(&self) -> Self {
        let url = self.kept.database.as_ref().unwrap().url();
        let store = PostgresRendezvous::open(url, Durability::Durable).await.unwrap();
        let keys = self.keys.clone();
        let clock = self.clock.clone();
        Self { clock, keys, ..Self::with(Arc::new(store), Arc::clone(&self.kept)) }
    }

    /// The database that its store is in.
    pub(crate) fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept)
    }

    pub(crate) async fn offers(&self) -> Given {
        self.serve(offers_with).await
    }

    pub(crate) async fn origin(&self) -> Given {
        self.serve(origin_with).await
    }

    /// Starts one; several of one setup are several servers on one store.
    pub(crate) async fn serve(
        &self,
        routes: impl FnOnce(Rendezvous, &RendezvousHttpSettings) -> Router,
    ) -> Given {
        // Whoever shares a store shares the key of what is in it.
        static MASTER: OnceLock<MasterKey> = OnceLock::new();
        let keys = self.keys.clone().unwrap_or_else(|| known_keys(None));
        let builder = Rendezvous::builder()
            .shared_store(Arc::clone(&self.store))
            .clock(self.clock.clone())
            .settings(self.settings.clone())
            .master_key(MASTER.get_or_init(MasterKey::generate).clone())
            .credential_keys(keys);
        serve(builder, Arc::clone(&self.kept), &self.http, routes).await
    }
}

/// The key of [`KEY`], and maybe one of before.
pub(crate) fn known_keys(previous: Option<&str>) -> CredentialKeys {
    let key = |it| CredentialKey::parse(it).unwrap();
    CredentialKeys::new(key(KEY), previous.map(key))
}

/// Settings for tests, which ask as fast as they can.
fn unhurried() -> RendezvousHttpSettings {
    let mut settings = RendezvousHttpSettings::default();
    (settings.requests_per_second, settings.peer_requests_per_second) = (None, None);
    settings.body_timeout = BODY_TIMEOUT;
    settings
}

/// The protocol `offers` by a clock that stands still.
pub(crate) async fn offers_frozen(on: On) -> (Given, ManualClock) {
    let setup = Setup::on(on).await;
    (setup.offers().await, setup.clock)
}

/// The protocol `origin` by a clock that stands still.
pub(crate) async fn origin_frozen(on: On) -> (Given, ManualClock) {
    let setup = Setup::on(on).await;
    (setup.origin().await, setup.clock)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The status, and the whole body.
    pub(crate) fn whole(&self) -> (u16, Value) {
        (self.status, self.body.clone())
    }

    /// The status, and what the protocols say why.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or(&self.text))
    }
}

/// A peer of the protocol `offers`.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) id: String,
    pub(crate) credential: String,
}

/// The protocol `offers` on a store in memory.
pub(crate) async fn offers() -> Given {
    by_the_clock(On::Memory, offers_with).await
}

/// The same for bodies that may take as long as they like.
pub(crate) async fn patient_offers() -> Given {
    let patient = |rendezvous, settings: &RendezvousHttpSettings| {
        let mut settings = settings.clone();
        settings.body_timeout = Duration::from_secs(60);
        offers_with(rendezvous, &settings)
    };
    by_the_clock(On::Memory, patient).await
}

/// The protocol `origin` on a store in memory.
pub(crate) async fn origin() -> Given {
    by_the_clock(On::Memory, origin_with).await
}

/// The protocol `offers` on SQLite.
pub(crate) async fn offers_on_sqlite() -> Given {
    by_the_clock(On::Sqlite, offers_with).await
}

/// The protocol `offers` on Postgres.
pub(crate) async fn offers_on_postgres() -> Given {
    by_the_clock(On::Postgres, offers_with).await
}

/// With the clock of the machine.
async fn by_the_clock(
    on: On,
    routes: impl FnOnce(Rendezvous, &RendezvousHttpSettings) -> Router,
) -> Given {
    let (store, kept) = on.open().await;
    let builder = Rendezvous::builder().shared_store(store);
    serve(builder, Arc::new(kept), &unhurried(), routes).await
}

async fn serve(
    builder: RendezvousBuilder,
    kept: Arc<Kept>,
    settings: &RendezvousHttpSettings,
    routes: impl FnOnce(Rendezvous, &RendezvousHttpSettings) -> Router,
) -> Given {
    let rendezvous = builder.build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes(rendezvous.clone(), settings);
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    // Whoever was first has done it for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().build().unwrap();
    Given { address, http, rendezvous, _server: server, _kept: kept }
}

impl Given {
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// Sends a request, as this peer, if one is named.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        peer: Option<&Peer>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.request(method, path).body(body);
        if let Some(peer) = peer {
            request = request.bearer_auth(&peer.credential);
        }
        answer(request).await
    }

    pub(crate) async fn post(&self, path: &str, peer: &Peer, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(peer), body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str, peer: &Peer) -> Answer {
        self.send(Method::GET, path, Some(peer), "").await
    }

    pub(crate) async fn peer(&self) -> Peer {
        let made = self.send(Method::POST, "/register", None, "{}").await.body;
        let id = made["peerId"].as_str().unwrap().to_owned();
        let credential = format!("{id}:{}", made["secret"].as_str().unwrap());
        Peer { id, credential }
    }

    /// Makes offers, and answers their ids.
    pub(crate) async fn publish(&self, peer: &Peer, offers: Value) -> Vec<String> {
        let made = self.post("/offers", peer, &json!({"offers": offers})).await;
        assert_eq!(made.status, 200, "{}", made.text);
        let made = made.body["offers"].as_array().unwrap();
        made.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Answers an offer; what comes back is when.
    pub(crate) async fn answer(&self, peer: &Peer, id: &str, sdp: &str) -> i64 {
        let answered = self.post(&format!("/offers/{id}/answer"), peer, &json!({"sdp": sdp})).await;
        assert_eq!(answered.status, 200, "{}", answered.text);
        answered.body["answeredAt"].as_i64().unwrap()
    }

    /// Adds candidates to an offer.
    pub(crate) async fn add(&self, peer: &Peer, id: &str, candidates: Value) {
        let path = format!("/offers/{id}/ice-candidates");
        let added = self.post(&path, peer, &json!({"candidates": candidates})).await;
        assert_eq!(added.status, 200, "{}", added.text);
    }

    /// What anybody is answered.
    pub(crate) async fn look(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, "").await
    }

    /// Makes an offer, and answers its id.
    pub(crate) async fn offer(&self, peer: &Peer, sdp: &str) -> String {
        let body = json!({"offers": [{"sdp": sdp, "topics": ["t"]}]});
        let made = self.post("/offers", peer, &body).await;
        assert_eq!(made.status, 200, "{}", made.text);
        made.body["offers"][0]["id"].as_str().unwrap().to_owned()
    }
}

impl Peer {
    /// The peer of [`KEY`].
    pub(crate) fn known() -> Self {
        let id = KNOWN_PEER.to_owned();
        Self { credential: format!("{id}:{KNOWN_SECRET}"), id }
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, body }
}
