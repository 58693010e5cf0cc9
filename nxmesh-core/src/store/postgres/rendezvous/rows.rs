//! Offers as they are read. Columns are read by their names.

use sqlx::{Row, postgres::PgRow};

use super::text;
use crate::{
    Error, ErrorKind, Result,
    rendezvous::{Answered, Candidate, Offer, Role},
    store::codec::corrupt,
    tenancy::Sealed,
};

/// What is read of an offer.
pub(super) const OFFER: &str = "id, peer, sdp, topics, info, secret, created_at, last_seen, \
     expires_at, answered_by, answer_sdp, answered_at, matched_topics, wrong_secrets, locked_until";

/// An offer, from columns of the names above.
pub(super) fn offer(row: &PgRow) -> Result<Offer> {
    let answered = match row.try_get::<Option<i64>, _>("answered_at")? {
        Some(at) => Some(Answered {
            by: string(row, "answered_by")?,
            sdp: string(row, "answer_sdp")?.into(),
            at,
            matched_topics: strings(row, "matched_topics")?,
        }),
        None => None,
    };
    let wrong_secrets: i64 = row.try_get("wrong_secrets")?;
    Ok(Offer {
        id: string(row, "id")?,
        peer: string(row, "peer")?,
        sdp: string(row, "sdp")?.into(),
        topics: strings(row, "topics")?.unwrap_or_default(),
        info: row.try_get::<Option<&str>, _>("info")?.map(text::read),
        secret: row.try_get::<Option<Vec<u8>>, _>("secret")?.map(Sealed::from_bytes),
        created_at: row.try_get("created_at")?,
        last_seen: row.try_get("last_seen")?,
        expires_at: row.try_get("expires_at")?,
        answered,
        wrong_secrets: u32::try_from(wrong_secrets).map_err(corrupt)?,
        locked_until: row.try_get("locked_until")?,
    })
}

/// A candidate, from columns of these names.
pub(super) fn candidate(row: &PgRow) -> Result<Candidate> {
    let role = if row.try_get("offerer")? { Role::Offerer } else { Role::Answerer };
    let (peer, body) = (string(row, "peer")?, string(row, "body")?);
    Ok(Candidate { peer, role, body, stamp: row.try_get("stamp")? })
}

pub(super) fn string(row: &PgRow, column: &str) -> Result<String> {
    Ok(text::read(row.try_get(column)?))
}

pub(super) fn strings(row: &PgRow, column: &str) -> Result<Option<Vec<String>>> {
    let stored: Option<Vec<String>> = row.try_get(column)?;
    Ok(stored.map(|it| it.iter().map(|it| text::read(it)).collect()))
}

/// A count.
pub(super) fn count(row: &PgRow, column: &str) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(corrupt)
}

/// What the database said that this program does not know.
pub(super) fn unknown(outcome: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the database answered {outcome}"))
}
