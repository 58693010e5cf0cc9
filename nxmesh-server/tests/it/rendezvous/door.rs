//! A rendezvous server whose push comes and goes, and which may be away.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
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
    /// Where it is.
    pub(crate) at: String,
    pub(crate) client: RendezvousClient,
    pub(crate) door: Arc<Door>,
    pub(crate) rendezvous: Rendezvous,
    _tasks: JoinSet<()>,
}

/// What becomes of who asks for push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    /// It is passed on.
    Passed,
    /// It is passed on later: what is said waits here.
    Held,
    /// There is none.
    Missing,
    /// Nothing is answered.
    Mute,
    /// It is answered that there is, and nothing more: what follows is kept.
    Buffered,
}

/// What stands between clients and the server.
pub(crate) struct Door {
    push: watch::Sender<Push>,
    /// Whether it does not come back what was answered to who answered an offer.
    loses_answers: AtomicBool,
    /// Whether who looks for offers is refused, and how often that was done.
    refuses_looks: AtomicBool,
    refused_looks: AtomicUsize,
    /// What everybody is answered instead; 0 for what the server does.
    refusal: AtomicU16,
    /// Whether candidates that were asked for are on their way until further notice.
    held: watch::Sender<bool>,
    /// How many answers are.
    holding: AtomicU16,
    /// How often all answers were asked for, and candidates.
    asked_answers: AtomicUsize,
    asked_candidates: AtomicUsize,
    /// Changes when all that is pushed ends.
    cuts: watch::Sender<u32>,
}

impl Door {
    pub(crate) fn set_push(&self, there: bool) {
        self.push_is(if there { Push::Passed } else { Push::Missing });
    }

    pub(crate) fn push_is(&self, push: Push) {
        self.push.send_replace(push);
    }

    /// Passes answers to offers on, and says something else than the server did.
    pub(crate) fn lose_answers(&self, lost: bool) {
        self.loses_answers.store(lost, Ordering::SeqCst);
    }

    /// Refuses who looks for offers, or passes them on.
    pub(crate) fn refuse_looks(&self, refused: bool) {
        self.refuses_looks.store(refused, Ordering::SeqCst);
    }

    pub(crate) fn refused_looks(&self) -> usize {
        self.refused_looks.load(Ordering::SeqCst)
    }

    /// How often all answers were asked for, and candidates.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let of = |it: &AtomicUsize| it.load(Ordering::SeqCst);
        (of(&self.asked_answers), of(&self.asked_candidates))
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
        let (asks, path) = (request.method() == Method::GET, request.uri().path());
        if path.ends_with("/answer") && self.loses_answers.load(Ordering::SeqCst) {
            next.run(request).await;
            return (StatusCode::BAD_GATEWAY, "<h1>Bad Gateway</h1>").into_response();
        }
        if self.refuses_looks.load(Ordering::SeqCst) && path.starts_with("/offers/by-topic/") {
            self.refused_looks.fetch_add(1, Ordering::SeqCst);
            return (StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"Not now"}"#).into_response();
        }
        if asks && path == "/offers/answers" {
            self.asked_answers.fetch_add(1, Ordering::SeqCst);
        }
        if asks && path.ends_with("/ice-candidates") {
            self.asked_candidates.fetch_add(1, Ordering::SeqCst);
            let response = next.run(request).await;
            self.holding.fetch_add(1, Ordering::SeqCst);
            // The door is there as long as this is.
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            self.holding.fetch_sub(1, Ordering::SeqCst);
            return response;
        }
        if path != "/events" {
            return next.run(request).await;
        }
        let pushed = *self.push.borrow();
        match pushed {
            Push::Passed | Push::Held | Push::Buffered => {}
            Push::Missing => return (StatusCode::NOT_FOUND, "404 Not Found").into_response(),
            Push::Mute => return std::future::pending().await,
        }
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        let cut = async move {
            // The door is there as long as the server is.
            let _ = cuts.changed().await;
        };
        let (parts, body) = next.run(request).await.into_parts();
        let push = self.push.subscribe();
        let said = body.into_data_stream().then(move |said| {
            let mut push = push.clone();
            async move {
                if pushed == Push::Buffered {
                    return std::future::pending().await;
                }
                let _ = push.wait_for(|it| *it != Push::Held).await;
                said
            }
        });
        Response::from_parts(parts, Body::from_stream(said.take_until(Box::pin(cut))))
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
        let door = Arc::new(Door {
            push: watch::Sender::new(Push::Passed),
            loses_answers: AtomicBool::new(false),
            refuses_looks: AtomicBool::new(false),
            refused_looks: AtomicUsize::new(0),
            refusal: AtomicU16::new(0),
            held: watch::Sender::new(false),
            holding: AtomicU16::new(0),
            asked_answers: AtomicUsize::new(0),
            asked_candidates: AtomicUsize::new(0),
            cuts: watch::Sender::new(0),
        });
        let guard = Arc::clone(&door);
        let routes = Router::new()
            .fallback_service(offers_with(rendezvous.clone(), &settings))
            .layer(middleware::from_fn(move |request: Request, next: Next| {
                let guard = Arc::clone(&guard);
                async move { guard.pass(request, next).await }
            }));
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let client = RendezvousClient::new(&at).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { at, client, door, rendezvous, _tasks: tasks }
    }

    /// A new peer.
    pub(crate) async fn peer(&self) -> SignalerBuilder {
        Signaler::builder(&self.client, self.client.register().await.unwrap())
    }
}
