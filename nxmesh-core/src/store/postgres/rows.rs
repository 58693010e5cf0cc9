//! Reading and writing rows of keys and a JSON body.

use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use uuid::Uuid;

use super::{connections::Statement, database::Database};
use crate::{
    Id, Page, PageMeta, PageRequest, Result, RevisionNumber,
    store::codec::{corrupt, from_body, number},
};

/// The body of the one row that a statement answers.
pub(super) async fn find<T: DeserializeOwned>(
    database: &Database,
    statement: Statement<'_>,
) -> Result<Option<T>> {
    database.optional(statement).await?.map(|row| body(&row, 0)).transpose()
}

/// One page of the rows of a table that belong to `key`, in order of creation, then id.
/// `columns_of` is `columns FROM rest`.
pub(super) async fn page<T>(
    database: &Database,
    columns_of: &str,
    key: Uuid,
    page: PageRequest,
    read: impl Fn(&PgRow) -> Result<T> + Send,
) -> Result<Page<T>> {
    let (columns, rest) = columns_of.split_once(" FROM ").unwrap_or((columns_of, ""));
    // One statement, so that count and rows are of one moment; without rows there is
    // still the count.
    let sql = format!(
        "WITH page AS (
             SELECT created_at, id, {columns} FROM {rest}
             ORDER BY created_at, id LIMIT $2 OFFSET $3
         )
         SELECT total, page.* FROM (SELECT count(*) AS total FROM {rest}) AS all_of_them
         LEFT JOIN page ON true ORDER BY created_at, id"
    );
    let statement = sqlx::query(AssertSqlSafe(sql))
        .bind(key)
        .bind(number(page.per_page())?)
        .bind(number(page.offset())?);
    let rows = database.all(statement).await?;
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    let mut data = Vec::with_capacity(rows.len());
    for row in &rows {
        let is_there: Option<Uuid> = row.try_get(2)?;
        if is_there.is_some() {
            data.push(read(row)?);
        }
    }
    let total = u64::try_from(total).map_err(corrupt)?;
    Ok(Page { data, meta: PageMeta { page: page.page(), per_page: page.per_page(), total } })
}

/// Where the columns of [`page`] begin.
pub(super) const PAGE: usize = 3;

pub(super) fn body<T: DeserializeOwned>(row: &PgRow, column: usize) -> Result<T> {
    from_body(row.try_get(column)?)
}

pub(super) const fn key<T>(id: Id<T>) -> Uuid {
    *id.as_uuid()
}

pub(super) fn id<T>(row: &PgRow, column: usize) -> Result<Id<T>> {
    Ok(Id::from_uuid(row.try_get(column)?))
}

pub(super) fn revision(row: &PgRow, column: usize) -> Result<RevisionNumber> {
    let number: i64 = row.try_get(column)?;
    Ok(RevisionNumber(u64::try_from(number).map_err(corrupt)?))
}

pub(super) fn seconds(lasting: Duration) -> f64 {
    lasting.as_secs_f64()
}
