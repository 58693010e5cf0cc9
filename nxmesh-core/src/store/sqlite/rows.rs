//! Reading and writing rows of keys and a JSON body.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Params, Row, ToSql};
use serde::{Serialize, de::DeserializeOwned};

use super::error::corrupt;
use crate::{Error, ErrorKind, Id, Page, PageMeta, PageRequest, Result};

/// The body of the one row that a query finds.
pub(super) fn find<T: DeserializeOwned>(
    db: &Connection,
    sql: &str,
    keys: impl Params,
) -> Result<Option<T>> {
    let body: Option<String> =
        db.prepare_cached(sql)?.query_row(keys, |row| row.get(0)).optional()?;
    body.map(|body| from_body(&body)).transpose()
}

/// The bodies of all rows that a query finds.
pub(super) fn all<T: DeserializeOwned>(
    db: &Connection,
    sql: &str,
    keys: impl Params,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(keys)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(from_body(row.get_ref(0)?.as_str().map_err(corrupt)?)?);
    }
    Ok(found)
}

/// One page of the rows of a table that belong to `key`, in order of creation, then id.
pub(super) fn page<T>(
    db: &Connection,
    columns_of: &str,
    key: &impl ToSql,
    page: PageRequest,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Page<T>> {
    let (columns, rest) = columns_of.split_once(" FROM ").unwrap_or((columns_of, ""));
    let total: i64 = db
        .prepare_cached(&format!("SELECT count(*) FROM {rest}"))?
        .query_row([key], |row| row.get(0))?;
    let sql = format!("SELECT {columns} FROM {rest} ORDER BY created_at, id LIMIT ?2 OFFSET ?3");
    let mut statement = db.prepare_cached(&sql)?;
    let limit = number(page.per_page())?;
    let offset = number(page.offset())?;
    let mut rows = statement.query((key, limit, offset))?;
    let mut data = Vec::new();
    while let Some(row) = rows.next()? {
        data.push(read(row)?);
    }
    Ok(Page {
        data,
        meta: PageMeta {
            page: page.page(),
            per_page: page.per_page(),
            total: u64::try_from(total).map_err(corrupt)?,
        },
    })
}

pub(super) fn body(row: &Row<'_>, column: usize) -> Result<String> {
    Ok(row.get(column)?)
}

pub(super) fn from_body<T: DeserializeOwned>(body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(corrupt)
}

pub(super) fn to_body(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot write a row as JSON").with_source(error)
    })
}

pub(super) fn key<T>(id: &Id<T>) -> &[u8] {
    id.as_uuid().as_bytes()
}

pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

pub(super) fn time(micros: i64) -> Result<DateTime<Utc>> {
    let bad = || Error::new(ErrorKind::Corrupt, "a stored time is out of range");
    DateTime::from_timestamp_micros(micros).ok_or_else(bad)
}

pub(super) fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "a number is too large to store").with_source(error)
    })
}
