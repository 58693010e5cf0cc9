//! Requests that may be sent again: `Idempotency-Key`.

use std::panic::AssertUnwindSafe;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use nxmesh_core::{Done, Error, ErrorKind, FieldCode, IdempotencyKey, Mesh, Outcome};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use super::{ApiError, Authenticated, extract::body_of, reply::NothingChanged};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What else is sent again with an answer; the rest belongs to one request.
const HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// What is kept of an answer: this as JSON, a newline, and the body.
#[derive(Serialize, Deserialize)]
enum Head {
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
    },
    /// It has no body: that names the request that it answers, and is written for each anew.
    Error(ApiError),
}

/// Does a `POST` that has a key once, and answers what it answered then when it comes again.
pub(super) async fn layer(State(mesh): State<Mesh>, request: Request, next: Next) -> Response {
    let applies = request.headers().contains_key(KEY)
        // Tokens are not kept; a login changes nothing that matters twice.
        && !request.uri().path().starts_with("/v1/auth/");
    if !applies {
        return next.run(request).await;
    }
    once(&mesh, request, next).await.unwrap_or_else(ApiError::into_response)
}

async fn once(mesh: &Mesh, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let Authenticated(actor) = Authenticated::from_request_parts(&mut parts, mesh).await?;
    let key = key(&parts.headers)?;
    let whole = Request::from_parts(parts.clone(), body);
    let body = body_of(whole, mesh).await?;
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let asked = [b"POST", path.as_bytes(), &body];
    let work = answer(request, next).in_current_span();
    match mesh.once().run(&actor, &key, &asked, work).await? {
        Done::Now(response) => Ok(response),
        Done::Before(kept) => again(kept.expose()),
        Done::UnderWay => {
            let mut response = ApiError::under_way().into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(response)
        }
    }
}

fn key(headers: &HeaderMap) -> Result<IdempotencyKey, ApiError> {
    let mut given = headers.get_all(KEY).iter();
    let key = given.next().map(|it| it.as_bytes()).unwrap_or_default();
    if given.next().is_some() {
        return Err(Error::invalid_field(
            "Idempotency-Key",
            FieldCode::Duplicate,
            "must be sent once",
        )
        .into());
    }
    let parsed = IdempotencyKey::parse(key);
    parsed.map_err(|bad| Error::invalid_field("Idempotency-Key", bad.code, bad.message).into())
}

/// The answer, and what is kept of it.
async fn answer(request: Request, next: Next) -> Outcome<Response> {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answered.unwrap_or_else(|_| ApiError::panicked().into_response());
    if let Some(error) = response.extensions().get::<ApiError>() {
        return match error.changed_nothing() {
            true => Outcome::Nothing(response),
            false => kept(&Head::Error(error.clone()), &[], response),
        };
    }
    let shown = response.extensions().get::<NothingChanged>().is_some();
    if shown || response.status().is_client_error() {
        return Outcome::Nothing(response);
    }
    let (parts, body) = response.into_parts();
    // It is in memory already.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let headers = HEADERS.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let head = Head::Whole { status: parts.status.as_u16(), headers: headers.collect() };
    kept(&head, &body.clone(), Response::from_parts(parts, Body::from(body)))
}

fn kept(head: &Head, body: &[u8], response: Response) -> Outcome<Response> {
    // It has no keys that JSON lacks.
    let head = serde_json::to_vec(head).unwrap_or_default();
    Outcome::Kept(response, [&head, &b"\n"[..], body].concat())
}

fn again(kept: &[u8]) -> Result<Response, ApiError> {
    let unreadable = |error: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, "an answer that was kept cannot be read").with_source(error)
    };
    let end = kept.iter().position(|it| *it == b'\n').unwrap_or(kept.len());
    let (head, body) = kept.split_at(end);
    let mut response = match serde_json::from_slice(head).map_err(unreadable)? {
        Head::Error(error) => error.into_response(),
        Head::Whole { status, headers } => {
            let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
    };
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, middleware, routing::post};
    use nxmesh_core::{Secret, Tasks, store::memory::MemoryStore};

    use super::*;
    use crate::http::{metrics::Metrics, watch};

    #[derive(Clone, Copy)]
    enum Failure {
        Panics,
        MayHaveBeenDone,
        WasNotDone,
    }

    async fn fail(how: Failure, calls: Arc<AtomicUsize>) -> Result<(), ApiError> {
        calls.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(ErrorKind::Unavailable, "the store went away");
        match how {
            Failure::Panics => panic!("as it was told to"),
            Failure::MayHaveBeenDone => Err(error.undecided().into()),
            Failure::WasNotDone => Err(error.into()),
        }
    }

    /// Sends the same request twice to a route that fails; answers the last status, whether that
    /// was what the first was answered, and how often the route was called.
    async fn twice(how: Failure) -> (StatusCode, bool, usize) {
        let mesh = Mesh::builder().store(MemoryStore::new()).build().await.unwrap();
        let password = || Secret::new("correct horse".to_owned());
        mesh.tenancy().users().create("me@example.com", password()).await.unwrap();
        let login = mesh.tenancy().auth().login("me@example.com", password()).await.unwrap();
        let calls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&calls);
        let once = middleware::from_fn_with_state(mesh.clone(), layer);
        let router = Router::new()
            .route("/fail", post(async move || fail(how, Arc::clone(&counted)).await))
            .route_layer(once)
            .layer(middleware::from_fn_with_state(Metrics::new(Vec::new()), watch::layer))
            .with_state(mesh.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/fail", listener.local_addr().unwrap());
        let tasks = Tasks::default();
        let stopped = tasks.stopping().clone().cancelled_owned();
        let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
        tasks.spawn(async move { server.await.unwrap() });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut answers = Vec::new();
        for number in 0..2 {
            let request = client.post(&url).bearer_auth(login.access_token.expose());
            let request = request.header(KEY, "key").header("x-request-id", format!("id-{number}"));
            let answer = request.send().await.unwrap();
            let (status, replayed) = (answer.status(), answer.headers().contains_key(REPLAYED));
            let text = answer.text().await.unwrap();
            assert!(text.contains(&format!("\"request_id\":\"id-{number}\"")), "{text}");
            answers.push((status, replayed, text.replace("id-1", "id-0")));
        }
        assert_eq!((answers[0].0, &answers[0].2), (answers[1].0, &answers[1].2));
        tasks.shutdown().await;
        mesh.shutdown().await;
        (answers[1].0, answers[1].1, calls.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_failure_is_answered_again_unless_nothing_was_done() {
        let (internal, away) = (StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(twice(Failure::Panics).await, (internal, true, 1));
        assert_eq!(twice(Failure::MayHaveBeenDone).await, (away, true, 1));
        assert_eq!(twice(Failure::WasNotDone).await, (away, false, 2));
    }
}
