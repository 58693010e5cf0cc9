//! Reading and writing rows of keys and a JSON body.

use rusqlite::{Connection, OptionalExtension, Params, Row, ToSql};
use serde::de::DeserializeOwned;

use crate::{
    Id, Page, PageMeta, PageRequest, Result,
    store::codec::{corrupt, from_body, number},
};

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

pub(super) fn key<T>(id: &Id<T>) -> &[u8] {
    id.as_uuid().as_bytes()
}
