//! The protocol `origin`: sessions kept apart by the `Origin` header.

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
    routing::{get, post},
};
use nxmesh_core::rendezvous::{Rendezvous, Role, SessionDraft, SessionPost, parse_side};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    RendezvousHttpSettings,
    body::parse,
    cors::Cors,
    events,
    facade::{Health, Service, around, bad_path},
    json::json,
    query::{Number, Parameters},
    realm::asking_origin,
    refusal::Refusal,
};

/// How many topics a page has, if nobody says how many, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;
/// The largest body.
const MAX_BODY: usize = 256 * 1024;

type Answered = Result<Response, Refusal>;

/// The routes of the protocol `origin`, to be served, nested, or mounted alone; see
/// [`offers`](super::offers()).
pub fn origin(rendezvous: Rendezvous) -> Router {
    origin_with(rendezvous, &RendezvousHttpSettings::default())
}

/// The same with other settings.
pub fn origin_with(rendezvous: Rendezvous, settings: &RendezvousHttpSettings) -> Router {
    origin_of(&Service::new(rendezvous, settings))
}

/// The same for a service whose limits other protocols share.
pub(super) fn origin_of(service: &Service) -> Router {
    let cors = Cors {
        protocol: "origin",
        origins: service.settings.allowed_origins.clone(),
        methods: "GET,POST,OPTIONS",
        headers: "Content-Type,Origin,X-Rondevu-Global",
        max_age: "600",
        credentials: true,
    };
    let routes = Router::new()
        .route("/", get(about))
        .route("/health", get(health))
        .route("/topics", get(topics))
        .route("/answer", post(add))
        .route("/poll", post(poll))
        .route("/events", get(events::of_session))
        .route("/{topic}/sessions", get(list))
        .route("/{topic}/offer", post(open));
    around(routes, service, cors)
}

#[derive(Serialize)]
struct About<'a> {
    version: &'a str,
}

async fn about(State(service): State<Service>) -> Response {
    json(&About { version: &service.settings.version })
}

async fn health(State(service): State<Service>) -> Response {
    json(&Health::of(&service, None))
}

#[derive(Serialize)]
struct Topic<'a> {
    topic: &'a str,
    count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    page: u64,
    limit: u32,
    total: u64,
    has_more: bool,
}

#[derive(Serialize)]
struct Topics<'a> {
    topics: Vec<Topic<'a>>,
    pagination: Pagination,
}

async fn topics(State(service): State<Service>, request: Request) -> Answered {
    let origin = asking_origin(&service, request.headers())?;
    let parameters = Parameters::of(request.uri());
    let limit = match parameters.number("limit") {
        Some(Number::Is(limit)) => u32::try_from(limit.clamp(1, MAX_PAGE.into())).unwrap_or(PAGE),
        Some(Number::NaN) | None => PAGE,
    };
    let page = match parameters.number("page") {
        Some(Number::Is(page)) => u64::try_from(page.max(1)).unwrap_or(1),
        Some(Number::NaN) | None => 1,
    };
    let offset = (page - 1).saturating_mul(limit.into());
    let found = service.rendezvous.sessions().topics(&origin, offset, limit).await?;
    let topics: Vec<_> =
        found.topics.iter().map(|it| Topic { topic: &it.topic, count: it.offers }).collect();
    let total = found.total;
    let has_more = offset.saturating_add(topics.len() as u64) < total;
    Ok(json(&Topics { topics, pagination: Pagination { page, limit, total, has_more } }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    code: &'a str,
    info: &'a str,
    peer_id: &'a str,
    offer: &'a str,
    offer_candidates: Vec<&'a RawValue>,
    created_at: i64,
    expires_at: i64,
}

#[derive(Serialize)]
struct Sessions<'a> {
    sessions: Vec<Session<'a>>,
}

/// What was stored was JSON.
fn raw(candidates: &[String]) -> Vec<&RawValue> {
    candidates.iter().filter_map(|it| serde_json::from_str(it).ok()).collect()
}

async fn list(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answered {
    let origin = asking_origin(&service, request.headers())?;
    let topic = path.map_err(|_| bad_path())?.0;
    let _turn = service.responses.list().await;
    let found = service.rendezvous.sessions().list(&origin, &topic).await?;
    let sessions = found.iter().map(|it| {
        let info = it.offer.info.as_deref().unwrap_or_default();
        Session {
            code: &it.offer.id,
            info,
            peer_id: info,
            offer: &it.offer.sdp,
            offer_candidates: raw(&it.candidates),
            created_at: it.offer.created_at,
            expires_at: it.offer.expires_at,
        }
    });
    Ok(json(&Sessions { sessions: sessions.collect() }))
}

#[derive(Serialize)]
struct Opened {
    code: String,
}

async fn open(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answered {
    let origin = asking_origin(&service, request.headers())?;
    let topic = path.map_err(|_| bad_path())?.0;
    let (body, _room) = service.bodies.json(request, MAX_BODY).await?;
    let draft = SessionDraft::parse(topic, &body)?;
    let code = service.rendezvous.sessions().open(&origin, draft).await?;
    Ok(json(&Opened { code }))
}

/// What is kept to the letter.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    candidate: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Done {
    success: bool,
}

async fn add(State(service): State<Service>, request: Request) -> Answered {
    let origin = asking_origin(&service, request.headers())?;
    let (body, _room) = service.bodies.read(request, MAX_BODY).await?;
    let value = parse(&body)?;
    let sent = serde_json::from_slice::<Sent<'_>>(&body).ok().and_then(|it| it.candidate);
    let post = SessionPost::parse(&value, sent.map(RawValue::get))?;
    service.rendezvous.sessions().post(&origin, post).await?;
    Ok(json(&Done { success: true }))
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Polled<'a> {
    Offerer { answer: Option<&'a str>, answer_candidates: Vec<&'a RawValue> },
    Answerer { offer: &'a str, offer_candidates: Vec<&'a RawValue> },
}

async fn poll(State(service): State<Service>, request: Request) -> Answered {
    let origin = asking_origin(&service, request.headers())?;
    let (body, _room) = service.bodies.json(request, MAX_BODY).await?;
    let (code, side) = parse_side(&body)?;
    let polled = service.rendezvous.sessions().poll(&origin, &code, side).await?;
    let candidates = raw(&polled.candidates);
    Ok(json(&match side {
        Role::Offerer => Polled::Offerer {
            answer: polled.offer.answered.as_ref().map(|it| &*it.sdp),
            answer_candidates: candidates,
        },
        Role::Answerer => {
            Polled::Answerer { offer: &polled.offer.sdp, offer_candidates: candidates }
        }
    }))
}
