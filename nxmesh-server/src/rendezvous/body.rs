//! Bodies, within limits: of one, of all that are at hand, and of the time they take.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::refusal::Refusal;

/// The largest body of most calls.
pub(super) const MAX_BODY: usize = 512 * 1024;
/// The largest body that makes offers: a hundred of 64 KiB, and what belongs to them.
pub(super) const MAX_OFFERS_BODY: usize = 16 * 1024 * 1024;
/// How much of all bodies together may be at hand.
const ALL_BODIES: usize = 64 * 1024 * 1024;
/// What counts as one; less counts as nothing.
const UNIT: usize = 64 * 1024;
/// How many values a body may have that is larger than [`UNIT`]. A hundred offers have six thousand; read, a
/// value takes sixteen times what it needs in a body.
const MAX_VALUES: usize = 20_000;

/// Reads bodies.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    room: Arc<Semaphore>,
    patience: Duration,
}

/// The room that a body takes, as long as it is at hand.
#[derive(Debug)]
#[must_use]
pub(super) struct Room {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Makes room for so much. Nobody waits for any: who holds some and waits for more may wait for others
    /// that do the same.
    fn grow(&mut self, size: usize) -> Result<(), Refusal> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from((size / UNIT).saturating_sub(held)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.all).try_acquire_many_owned(more);
        let more = more.map_err(|_| Refusal::busy())?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

impl Bodies {
    pub(super) fn new(patience: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(ALL_BODIES / UNIT)), patience }
    }

    /// All of a body, if it is no larger than that.
    pub(super) async fn read(
        &self,
        request: Request,
        most: usize,
    ) -> Result<(Bytes, Room), Refusal> {
        let said = request.headers().get(http::header::CONTENT_LENGTH);
        let said = said.and_then(|it| it.to_str().ok()).and_then(|it| it.parse::<usize>().ok());
        if said.is_some_and(|it| it > most) {
            return Err(Refusal::too_large(most));
        }
        let read = self.collect(request.into_body(), most);
        timeout(self.patience, read).await.map_err(|_| Refusal::too_slow())?
    }

    async fn collect(&self, body: Body, most: usize) -> Result<(Bytes, Room), Refusal> {
        let mut stream = body.into_data_stream();
        let broken = |_| Refusal::bad("The body broke off");
        let mut room = Room { all: Arc::clone(&self.room), held: None };
        let mut take =
            |size| if size > most { Err(Refusal::too_large(most)) } else { room.grow(size) };
        let Some(first) = stream.next().await.transpose().map_err(broken)? else {
            return Ok((Bytes::new(), room));
        };
        take(first.len())?;
        let mut next = stream.next().await.transpose().map_err(broken)?;
        if next.is_none() {
            // Most bodies come in one piece.
            return Ok((first, room));
        }
        let mut all = BytesMut::from(first);
        while let Some(chunk) = next {
            take(all.len() + chunk.len())?;
            all.extend_from_slice(&chunk);
            next = stream.next().await.transpose().map_err(broken)?;
        }
        Ok((all.freeze(), room))
    }

    /// A body of JSON, whatever its type is said to be.
    pub(super) async fn json(
        &self,
        request: Request,
        most: usize,
    ) -> Result<(Value, Room), Refusal> {
        let (body, room) = self.read(request, most).await?;
        Ok((parse(&body)?, room))
    }
}

/// Reads JSON: text in UTF-8 whose characters are all whole, no deeper than 128 levels.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    let invalid = || Refusal::bad("Invalid JSON body");
    if bytes.len() > UNIT && values(bytes) > MAX_VALUES {
        // To look whether it is JSON at all takes no room.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|_| invalid())?;
        return Err(Refusal::bad("The body has too many values"));
    }
    let value = serde_json::from_slice(bytes).ok().filter(|it: &Value| !it.is_null());
    value.ok_or_else(invalid)
}

/// How many values a JSON text has, or a few more.
fn values(bytes: &[u8]) -> usize {
    let (mut count, mut quoted, mut at) = (1, false, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b',' | b':' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
        at += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (text, count) in [
            ("7", 1),
            ("[7,8]", 3),
            (r#"{"a":{"b":[1]}}"#, 6),
            (r#"{"a,[":"{\\\",:,,"}"#, 3),
            (r#"["\\\\",1]"#, 3),
        ] {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
    }
}
