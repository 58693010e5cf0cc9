//! A rendezvous server whose push comes and goes, and which may be away.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use nxmesh_client::rendezvous::{RendezvousClient, Signaler, SignalerBuilder};
use nxmesh_core::{
    Clock,
    rendezvous::{Rendezvous, RendezvousSettings},
    store::memory::MemoryRendezvous,
};
use nxmesh_server::rendezvous::{RendezvousHttpSettings, offers_with};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// A server, and the door in front of it.
pub(crate) struct Server {
    pub(crate) client: RendezvousClient,
    pub(crate) door: Arc<Door>,
    pub(crate) rendezvous: Rendezvous,
    _tasks: JoinSet<()>,
}

/// What stands between clients and the server.
pub(crate) struct Door {
    /// Whether there is no push.
    no_push: AtomicBool,
    /// What everybody is answered instead; 0 for what the server does.
    refusal: AtomicU16,
    /// Whether candidates that were asked for are on their way until further notice.
    held: watch::Sender<bool>,
    /// How many answers are.
    holding: AtomicU16,
    /// Changes when all that is pushed ends.
    cuts: watch::Sender<u32>,
}

impl Door {
    pub(crate) fn set_push(&self, there: bool) {
        self.no_push.store(!there, Ordering::SeqCst);
    }

    /// Answers everybody with this status, and passes nothing on.
    pub(crate) fn refuse(&self, status: u16) {
        self.refusal.store(status, Ordering::SeqCst);
    }

    pub(crate) fn pass_again(&self) {
        self.refuse(0);
    }

    /// Breaks all connections by which something is pushed.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|it| *it += 1);
    }

    /// Holds back what is answered to who asks for candidates, or lets it go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until an answer is held back.
    pub(crate) async fn holds(&self) {
        while self.holding.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&self, request: Request, next: Next) -> Response {
        if let Ok(status) = StatusCode::from_u16(self.refusal.load(Ordering::SeqCst)) {
            return (status, r#"{"error":"Not now"}"#).into_response();
        }
        if request.method() == Method::GET && request.uri().path().ends_with("/ice-candidates") {
            let response = next.run(request).await;
            self.holding.fetch_add(1, Ordering::SeqCst);
            // The door is there as long as this is.
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            self.holding.fetch_sub(1, Ordering::SeqCst);
            return response;
        }
        if request.uri().path() != "/events" {
            return next.run(request).await;
        }
        if self.no_push.load(Ordering::SeqCst) {
            return (StatusCode::NOT_FOUND, "404 Not Found").into_response();
        }
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        let cut = async move {
            // The door is there as long as the server is.
            let _ = cuts.changed().await;
        };
        let (parts, body) = next.run(request).await.into_parts();
        let body = Body::from_stream(body.into_data_stream().take_until(Box::pin(cut)));
        Response::from_parts(parts, body)
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_by(nxmesh_core::SystemClock, RendezvousSettings::default()).await
    }

    pub(crate) async fn start_by(clock: impl Clock, settings: RendezvousSettings) -> Self {
        let store = MemoryRendezvous::new();
        let rendezvous = Rendezvous::builder().store(store).clock(clock).settings(settings);
        let rendezvous = rendezvous.build().unwrap();
        // Tests ask as fast as they can.
        let mut settings = RendezvousHttpSettings::default();
        (settings.requests_per_second, settings.peer_requests_per_second) = (None, None);
        let (cuts, _) = watch::channel(0);
        let (no_push, refusal) = (AtomicBool::new(false), AtomicU16::new(0));
        let (held, _) = watch::channel(false);
        let door = Arc::new(Door { no_push, refusal, held, holding: AtomicU16::new(0), cuts });
        let guard = Arc::clone(&door);
        let routes = Router::new()
            .fallback_service(offers_with(rendezvous.clone(), &settings))
            .layer(middleware::from_fn(move |request: Request, next: Next| {
                let guard = Arc::clone(&guard);
                async move { guard.pass(request, next).await }
            }));
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = RendezvousClient::new(format!("http://{}", listener.local_addr().unwrap()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { client: client.unwrap(), door, rendezvous, _tasks: tasks }
    }

    /// A new peer.
    pub(crate) async fn peer(&self) -> SignalerBuilder {
        Signaler::builder(&self.client, self.client.register().await.unwrap())
    }
}
