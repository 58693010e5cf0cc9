//! What the routers of all protocols have around them.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};
use nxmesh_core::rendezvous::Rendezvous;
use serde::Serialize;

use super::{
    RendezvousHttpSettings, body::Bodies, cors::Cors, credentials::authenticate, limits::Limits,
    refusal::Refusal, response::Responses,
};

/// What handlers need.
#[derive(Debug, Clone)]
pub(super) struct Service(Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) rendezvous: Rendezvous,
    pub(super) settings: RendezvousHttpSettings,
    pub(super) bodies: Bodies,
    pub(super) responses: Responses,
    pub(super) limits: Limits,
}

impl std::ops::Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Service {
    pub(super) fn new(rendezvous: Rendezvous, settings: &RendezvousHttpSettings) -> Self {
        let bodies = Bodies::new(settings.body_timeout);
        let responses = Responses::new(settings.body_timeout);
        let limits = Limits::new(settings);
        Self(Arc::new(Parts { rendezvous, settings: settings.clone(), bodies, responses, limits }))
    }

    /// The peer of a request, if it may ask once more.
    pub(super) fn peer(&self, request: &Request) -> Result<String, Refusal> {
        let peer = authenticate(&self.rendezvous, request.headers())?;
        self.limits.spend_of_peer(&peer)?;
        Ok(peer)
    }
}

/// What `GET /health` answers.
#[derive(Serialize)]
pub(super) struct Health<'a> {
    status: &'static str,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

impl<'a> Health<'a> {
    pub(super) fn of(service: &'a Service, version: Option<&'a str>) -> Self {
        Self { status: "ok", timestamp: service.rendezvous.now(), version }
    }
}

/// Puts around the routes of a protocol what it promises of every path.
pub(super) fn around(routes: Router<Service>, service: &Service, cors: Cors) -> Router {
    around_with(routes, service, cors, unknown)
}

/// The same with an answer of its own to paths that there are not.
pub(super) fn around_with(
    routes: Router<Service>,
    service: &Service,
    cors: Cors,
    unknown: fn() -> Response,
) -> Router {
    let inner = routes
        .fallback(async move || unknown())
        .method_not_allowed_fallback(async move || unknown())
        .with_state(service.clone());
    let (cors, service) = (Arc::new(cors), service.clone());
    // The path is made plain before it is looked at: a layer of the routes would come too late.
    Router::new().fallback_service(inner).layer(middleware::from_fn(
        move |request: Request, next: Next| {
            let (cors, service) = (Arc::clone(&cors), service.clone());
            async move { answer(request, next, &cors, &service).await }
        },
    ))
}

async fn answer(mut request: Request, next: Next, cors: &Cors, service: &Service) -> Response {
    let began = Instant::now();
    let asking = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        cors.preflight()
    } else if let Err(refusal) = service.limits.spend_of_address(&request) {
        refusal.into_response()
    } else {
        make_plain(request.uri_mut());
        let response = next.run(request).await;
        let held = service.responses.hold(response, service.rendezvous.tasks()).await;
        held.unwrap_or_else(IntoResponse::into_response)
    };
    cors.add(asking.as_ref(), &mut response);
    service.settings.metrics.answered(cors.protocol, response.status(), began.elapsed());
    response
}

/// Clients put their paths behind whatever base they were given: `//register` is `/register`.
pub(super) fn make_plain(uri: &mut Uri) {
    if !uri.path().contains("//") {
        return;
    }
    let mut path = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if c != '/' || !path.ends_with('/') {
            path.push(c);
        }
    }
    set_path(uri, &path);
}

/// Puts another path before the query.
pub(super) fn set_path(uri: &mut Uri, path: &str) {
    let query = uri.query().map_or_else(String::new, |it| format!("?{it}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

fn unknown() -> Response {
    let mut response = Response::new(Body::from("404 Not Found"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let text = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// What is answered to a path whose escapes do not spell UTF-8.
pub(super) fn bad_path() -> Refusal {
    Refusal::bad("The path has characters that are no UTF-8")
}
