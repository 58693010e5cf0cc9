//! Server-sent events (HTML Living Standard, 9.2).

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use nxmesh_core::{Tasks, rendezvous::Subscription};
use tokio::time::{sleep, timeout};

use super::event::Terms;

/// How often a comment is sent where there is nothing else to say: proxies cut what is silent for long.
const COMMENT: Duration = Duration::from_secs(20);
/// How long to wait for a store that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Sends what a subscription has, as fast as the client reads.
pub(super) fn stream(subscription: Subscription, terms: Terms, tasks: &Tasks) -> Response {
    let stopping = tasks.stopping().clone();
    let first = Bytes::from_static(b"retry: 1000\n\n");
    let events = stream::unfold((subscription, Some(first)), move |(mut subscription, first)| {
        let stopping = stopping.clone();
        async move {
            if let Some(first) = first {
                return Some((Ok::<_, Infallible>(first), (subscription, None)));
            }
            let next = tokio::select! {
                next = next(&mut subscription, terms) => next,
                () = stopping.cancelled() => return None,
            };
            Some((Ok(next), (subscription, None)))
        }
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold it back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A candidate is JSON to the letter, and may have line ends: each line is one of the data.
fn message(stamp: Option<i64>, text: &str) -> String {
    let mut message = stamp.map_or_else(String::new, |it| format!("id: {it}\n"));
    for line in text.split(['\n', '\r']) {
        message.extend(["data: ", line, "\n"]);
    }
    message.push('\n');
    message
}

async fn next(subscription: &mut Subscription, terms: Terms) -> Bytes {
    match timeout(COMMENT, subscription.next()).await {
        Ok(Ok(event)) => {
            let (stamp, text) = terms(&event);
            Bytes::from(message(stamp, &text))
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot read what reached a peer; will try again");
            sleep(RETRY).await;
            Bytes::from_static(b":\n\n")
        }
        Err(_) => Bytes::from_static(b":\n\n"),
    }
}
