//! The protocol `offers`: peers with credentials, topics, answers, candidates.

use std::collections::HashSet;

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
    routing::{delete, get, post, put},
};
use nxmesh_core::rendezvous::{
    AnswerDraft, MAX_CANDIDATES_PER_REQUEST, OfferDraft, OfferFilter, PeerFilter, Rendezvous,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    RendezvousHttpSettings,
    body::{MAX_BODY, MAX_OFFERS_BODY, parse},
    cors::Cors,
    events,
    facade::{Health, Service, around, bad_path},
    json::json,
    offer::Shown,
    query::{Number, Parameters},
    refusal::Refusal,
    turn,
};

/// How many offers or topics a page has, if nobody says how many.
const PAGE: u32 = 50;
/// How many it has at most.
const MAX_PAGE: u32 = 200;

type Answered = Result<Response, Refusal>;
type PathText = Result<Path<String>, PathRejection>;

/// The routes of the protocol `offers`, to be served, nested, or mounted alone. Requests are limited by
/// address: serve the router with `into_make_service_with_connect_info::<SocketAddr>()`, or all
/// share one limit.
pub fn offers(rendezvous: Rendezvous) -> Router {
    offers_with(rendezvous, &RendezvousHttpSettings::default())
}

/// The same with other settings.
pub fn offers_with(rendezvous: Rendezvous, settings: &RendezvousHttpSettings) -> Router {
    offers_of(&Service::new(rendezvous, settings))
}

/// The same for a service whose limits other protocols share.
pub(super) fn offers_of(service: &Service) -> Router {
    let cors = Cors {
        protocol: "offers",
        origins: service.settings.allowed_origins.clone(),
        methods: "GET,POST,PUT,DELETE,OPTIONS",
        headers: "Content-Type,Origin,Authorization",
        max_age: "600",
        credentials: true,
    };
    let routes = Router::new()
        .route("/", get(about))
        .route("/health", get(health))
        .route("/register", post(register))
        .route("/topics", get(topics))
        .route("/offers", post(publish))
        // A peer may have given its offer any name.
        .route(
            "/offers/mine",
            get(mine).delete(async |service, it| remove_of(service, it, "mine").await),
        )
        .route(
            "/offers/answers",
            get(answers).delete(async |service, it| remove_of(service, it, "answers").await),
        )
        .route("/offers/by-topic/{topic}", get(by_topic))
        .route("/offers/{id}", delete(remove))
        .route("/offers/{id}/heartbeat", put(heartbeat))
        .route("/offers/{id}/answer", post(answer))
        .route("/offers/{id}/ice-candidates", post(add_candidates).get(candidates))
        .route("/peers/{peer}/offers", get(of_peer))
        .route("/events", get(events::of_peer))
        .route("/turn", get(turn::of_peer));
    around(routes, service, cors)
}

fn text(path: PathText) -> Result<String, Refusal> {
    path.map(|it| it.0).map_err(|_| bad_path())
}

#[derive(Serialize)]
struct About<'a> {
    version: &'a str,
    name: &'static str,
    description: &'static str,
}

async fn about(State(service): State<Service>) -> Response {
    json(&About {
        version: &service.settings.version,
        name: "Rondevu",
        description: "Topic-based peer discovery and signaling server",
    })
}

async fn health(State(service): State<Service>) -> Response {
    json(&Health::of(&service, Some(&service.settings.version)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered<'a> {
    peer_id: &'a str,
    secret: &'a str,
}

async fn register(State(service): State<Service>) -> Answered {
    let credential = service.rendezvous.offers().register()?;
    let secret = credential.secret.expose();
    Ok(json(&Registered { peer_id: &credential.peer_id, secret }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    id: &'a str,
    peer_id: &'a str,
    topics: &'a [String],
    expires_at: i64,
}

#[derive(Serialize)]
struct AllMade<'a> {
    offers: Vec<Made<'a>>,
}

async fn publish(State(service): State<Service>, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    let (body, _room) = service.bodies.json(request, MAX_OFFERS_BODY).await?;
    let drafts = OfferDraft::parse_all(&body, service.rendezvous.settings())?;
    let made = service.rendezvous.offers().publish(&peer, drafts).await?;
    let offers = made.iter().map(|it| Made {
        id: &it.id,
        peer_id: &peer,
        topics: &it.topics,
        expires_at: it.expires_at,
    });
    Ok(json(&AllMade { offers: offers.collect() }))
}

#[derive(Serialize)]
struct ByTopic<'a> {
    topic: &'a str,
    offers: Vec<Shown<'a>>,
    total: u64,
    returned: usize,
}

/// How many of a page are wanted: what is no number is as if nothing was said.
fn limit(parameters: &Parameters) -> u32 {
    match parameters.number("limit") {
        None | Some(Number::NaN) => PAGE,
        Some(Number::Is(limit)) => u32::try_from(limit.max(0)).unwrap_or(MAX_PAGE).min(MAX_PAGE),
    }
}

async fn by_topic(State(service): State<Service>, path: PathText, request: Request) -> Answered {
    let topic = text(path)?;
    let parameters = Parameters::of(request.uri());
    let excluded = parameters.get("bloom").filter(|it| !it.is_empty());
    let excluded = excluded.map(PeerFilter::parse).transpose()?;
    let limit = limit(&parameters);
    let _turn = service.responses.page().await;
    let page = service.rendezvous.offers().by_topic(&topic, excluded, limit).await?;
    let offers: Vec<_> = page.offers.iter().map(|it| Shown::of(it, Some(&it.peer))).collect();
    Ok(json(&ByTopic { topic: &topic, returned: offers.len(), offers, total: page.total }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Topic<'a> {
    topic: &'a str,
    active_peers: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Topics<'a> {
    topics: Vec<Topic<'a>>,
    total: u64,
    limit: u32,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_with: Option<&'a str>,
}

async fn topics(State(service): State<Service>, request: Request) -> Answered {
    let parameters = Parameters::of(request.uri());
    let limit = limit(&parameters);
    let offset = match parameters.number("offset") {
        Some(Number::Is(offset)) => u64::try_from(offset).unwrap_or_default(),
        Some(Number::NaN) | None => 0,
    };
    let starts_with = parameters.get("startsWith").filter(|it| !it.is_empty());
    let prefix = starts_with.unwrap_or_default();
    let page = service.rendezvous.offers().topics(prefix, offset, limit).await?;
    let topics = page.topics.iter();
    let topics = topics.map(|it| Topic { topic: &it.topic, active_peers: it.peers }).collect();
    Ok(json(&Topics { topics, total: page.total, limit, offset, starts_with }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPeer<'a> {
    peer_id: &'a str,
    offers: Vec<Shown<'a>>,
    topics: Vec<&'a str>,
}

async fn of_peer(State(service): State<Service>, path: PathText) -> Answered {
    let peer = text(path)?;
    let _turn = service.responses.list().await;
    let offers = service.rendezvous.offers().of_peer(&peer, OfferFilter::Open).await?;
    let mut known = HashSet::new();
    let topics = offers.iter().flat_map(|it| &it.topics).map(String::as_str);
    let topics = topics.filter(|it| known.insert(*it)).collect();
    let offers = offers.iter().map(|it| Shown::of(it, None)).collect();
    Ok(json(&OfPeer { peer_id: &peer, offers, topics }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mine<'a> {
    id: &'a str,
    sdp: &'a str,
    topics: &'a [String],
    created_at: i64,
    expires_at: i64,
    last_seen: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answerer_peer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllMine<'a> {
    peer_id: &'a str,
    offers: Vec<Mine<'a>>,
}

async fn mine(State(service): State<Service>, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    let _turn = service.responses.list().await;
    let offers = service.rendezvous.offers().of_peer(&peer, OfferFilter::All).await?;
    let mine = offers.iter().map(|it| {
        Ok(Mine {
            id: &it.id,
            sdp: &it.sdp,
            topics: &it.topics,
            created_at: it.created_at,
            expires_at: it.expires_at,
            last_seen: it.last_seen,
            secret: service.rendezvous.offers().secret(it)?,
            info: it.info.as_deref(),
            answerer_peer_id: it.answered.as_ref().map(|it| it.by.as_str()),
            answered_at: it.answered.as_ref().map(|it| it.at),
        })
    });
    let offers = mine.collect::<Result<_, Refusal>>()?;
    Ok(json(&AllMine { peer_id: &peer, offers }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    id: &'a str,
    last_seen: i64,
}

async fn heartbeat(State(service): State<Service>, path: PathText, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    let id = text(path)?;
    let last_seen = service.rendezvous.offers().heartbeat(&id, &peer).await?;
    Ok(json(&Seen { id: &id, last_seen }))
}

#[derive(Serialize)]
struct Deleted {
    deleted: bool,
}

async fn remove(State(service): State<Service>, path: PathText, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    service.rendezvous.offers().delete(&text(path)?, &peer).await?;
    Ok(json(&Deleted { deleted: true }))
}

async fn remove_of(service: State<Service>, request: Request, id: &str) -> Answered {
    remove(service, Ok(Path(id.to_owned())), request).await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerMade<'a> {
    offer_id: &'a str,
    answerer_id: &'a str,
    answered_at: i64,
}

async fn answer(State(service): State<Service>, path: PathText, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    let id = text(path)?;
    let (body, _room) = service.bodies.json(request, MAX_BODY).await?;
    let draft = AnswerDraft::parse(&body)?;
    let answered_at = service.rendezvous.offers().answer(&id, &peer, draft).await?;
    Ok(json(&AnswerMade { offer_id: &id, answerer_id: &peer, answered_at }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerShown<'a> {
    offer_id: &'a str,
    answerer_id: &'a str,
    sdp: &'a str,
    answered_at: i64,
    topics: &'a [String],
}

#[derive(Serialize)]
struct Answers<'a> {
    answers: Vec<AnswerShown<'a>>,
}

async fn answers(State(service): State<Service>, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    let _turn = service.responses.list().await;
    let offers = service.rendezvous.offers().of_peer(&peer, OfferFilter::Answered).await?;
    let answers = offers.iter().filter_map(|it| {
        let answered = it.answered.as_ref()?;
        Some(AnswerShown {
            offer_id: &it.id,
            answerer_id: &answered.by,
            sdp: &answered.sdp,
            answered_at: answered.at,
            topics: &it.topics,
        })
    });
    Ok(json(&Answers { answers: answers.collect() }))
}

/// What is kept to the letter.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Added<'a> {
    offer_id: &'a str,
    candidates_added: usize,
}

async fn add_candidates(
    State(service): State<Service>,
    path: PathText,
    request: Request,
) -> Answered {
    let peer = service.peer(&request)?;
    let id = text(path)?;
    let (body, _room) = service.bodies.read(request, MAX_BODY).await?;
    // Read whole first: what is kept to the letter is not looked into below.
    let value = parse(&body)?;
    let missing = || {
        let text = "Missing or invalid required parameter: candidates (must be non-empty array)";
        Refusal::bad(text)
    };
    let there = value.get("candidates").and_then(|it| it.as_array());
    let count = there.map(Vec::len).filter(|it| *it > 0).ok_or_else(missing)?;
    if count > MAX_CANDIDATES_PER_REQUEST {
        let most = MAX_CANDIDATES_PER_REQUEST;
        return Err(Refusal::bad(format!("Too many candidates. Maximum {most} per request")));
    }
    let sent: Sent<'_> = serde_json::from_slice(&body).map_err(|_| missing())?;
    let list = sent.candidates.ok_or_else(missing)?;
    let list: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_| missing())?;
    let bodies = list.into_iter().map(|it| it.get().to_owned()).collect();
    let added = service.rendezvous.offers().add_candidates(&id, &peer, bodies).await?;
    Ok(json(&Added { offer_id: &id, candidates_added: added }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CandidateShown<'a> {
    candidate: &'a RawValue,
    peer_id: &'a str,
    role: &'static str,
    created_at: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidates<'a> {
    offer_id: &'a str,
    candidates: Vec<CandidateShown<'a>>,
}

async fn candidates(State(service): State<Service>, path: PathText, request: Request) -> Answered {
    let peer = service.peer(&request)?;
    let id = text(path)?;
    let since = match Parameters::of(request.uri()).number("since") {
        None => 0,
        Some(Number::Is(since)) => since,
        // Nothing is above what is no number.
        Some(Number::NaN) => i64::MAX,
    };
    let _turn = service.responses.page().await;
    let found = service.rendezvous.offers().candidates(&id, &peer, since).await?;
    let shown = found.iter().filter_map(|it| {
        // What was stored was JSON.
        let candidate = serde_json::from_str(&it.body).ok()?;
        let role = it.role.as_str();
        Some(CandidateShown { candidate, peer_id: &it.peer, role, created_at: it.stamp })
    });
    Ok(json(&Candidates { offer_id: &id, candidates: shown.collect() }))
}
