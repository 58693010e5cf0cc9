//! Large responses, within limits: of all that wait to be read, and of the time that clients take for them.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody, to_bytes},
    response::Response,
};
use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, header};
use nxmesh_core::Tasks;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::refusal::Refusal;

/// What is smaller counts as nothing. What is larger is handed on in pieces of this size.
const PIECE: usize = 64 * 1024;
/// How much of all large responses together may wait to be read. One that is larger yet may wait alone.
const ALL_RESPONSES: usize = 128 * 1024 * 1024;
/// How many pages are read from the store at once.
const MAX_PAGES: usize = 8;
/// How many lists that have no pages are.
const MAX_LISTS: usize = 3;

/// Holds what clients have not read yet.
#[derive(Debug)]
pub(super) struct Responses {
    room: Arc<Semaphore>,
    pages: Semaphore,
    lists: Semaphore,
    patience: Duration,
}

/// What is left of a response, until its client has read it or is given up.
#[derive(Debug)]
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

type Shared = Arc<Mutex<Option<Held>>>;

impl Responses {
    /// Clients have this time for each MiB of a response.
    pub(super) fn new(patience: Duration) -> Self {
        let room = Arc::new(Semaphore::new(ALL_RESPONSES / PIECE));
        let (pages, lists) = (Semaphore::new(MAX_PAGES), Semaphore::new(MAX_LISTS));
        Self { room, pages, lists, patience }
    }

    /// Waits for the turn of a page, which lasts until it is written as JSON.
    pub(super) async fn page(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.pages.acquire().await.ok()
    }

    /// The same for a list of all there is: a thousand large offers, at worst.
    pub(super) async fn list(&self) -> Option<SemaphorePermit<'_>> {
        self.lists.acquire().await.ok()
    }

    /// Makes room for a response, if it is large.
    pub(super) async fn hold(
        &self,
        mut response: Response,
        tasks: &Tasks,
    ) -> Result<Response, Refusal> {
        let size = response.body().size_hint().exact();
        let size = size.and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
        if size <= PIECE {
            return Ok(response);
        }
        let pieces = u32::try_from(size.min(ALL_RESPONSES) / PIECE).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(pieces);
        let room = room.map_err(|_| Refusal::busy())?;
        // It is at hand: nothing is waited for, and it has that size.
        let bytes = to_bytes(std::mem::take(response.body_mut()), size).await.unwrap_or_default();
        let held = Arc::new(Mutex::new(Some(Held { bytes, _room: room })));
        let read = CancellationToken::new();
        let patience = self.patience.saturating_mul(1 + pieces * PIECE as u32 / 1_048_576);
        let waiting = Arc::clone(&held);
        let (was_read, stopping) = (read.clone(), tasks.stopping().clone());
        tasks.spawn(async move {
            tokio::select! {
                () = sleep(patience) => drop(take(&waiting)),
                () = was_read.cancelled() => {}
                () = stopping.cancelled() => {}
            }
        });
        let pieces = Pieces { held, at: 0, size, _read: read.drop_guard() };
        *response.body_mut() = Body::from_stream(pieces);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        Ok(response)
    }
}

fn take(held: &Shared) -> Option<Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A response as it is handed on. Each piece is a copy: while a slow connection has one, it does not keep the whole.
#[derive(Debug)]
struct Pieces {
    held: Shared,
    at: usize,
    size: usize,
    _read: DropGuard,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.at == self.size {
            return Poll::Ready(None);
        }
        let end = self.size.min(self.at + PIECE);
        let piece = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = held.as_ref().and_then(|it| it.bytes.get(self.at..end));
            bytes.map(Bytes::copy_from_slice)
        };
        self.at = end;
        if end == self.size || piece.is_none() {
            drop(take(&self.held));
        }
        let slow = || io::Error::new(io::ErrorKind::TimedOut, "the response was read too slowly");
        Poll::Ready(Some(piece.ok_or_else(slow)))
    }
}
