use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row as _, postgres::PgRow};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{PostgresStore, connections::Statement};
use crate::{
    Error, ErrorKind, Result,
    store::{
        Archive,
        tables::{Digest, Digests, Kind, Row, TABLES, Table, Value},
        transfer::{Batches, Check, Part, Rows, cut_off, not_empty},
    },
};

impl From<PostgresStore> for Archive {
    fn from(store: PostgresStore) -> Self {
        Self::new(store)
    }
}

#[async_trait]
impl Rows for PostgresStore {
    async fn read_all(&self, parts: mpsc::Sender<Part>) -> Result<()> {
        // Whatever is not committed ends with the connection.
        let mut connection = self.database.open().await?;
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        connection.execute("SET LOCAL statement_timeout = 0").await?;
        for (number, table) in TABLES.iter().enumerate() {
            let mut batches = Batches::of(number);
            let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(&mut connection);
            while let Some(row) = rows.try_next().await? {
                if let Some(full) = batches.add(read(table, &row)?) {
                    parts.send(full).await.map_err(|_| cut_off())?;
                }
            }
            parts.send(batches.rest()).await.map_err(|_| cut_off())?;
        }
        parts.send(Part::End).await.map_err(|_| cut_off())
    }

    async fn write_all(&self, mut parts: mpsc::Receiver<Part>) -> Result<Digests> {
        let mut connection = self.database.open().await?;
        connection.execute("BEGIN").await?;
        connection.execute("SET LOCAL statement_timeout = 0").await?;
        for table in TABLES {
            let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", table.name);
            connection.execute(AssertSqlSafe(lock)).await?;
            let sql = format!("SELECT EXISTS (SELECT FROM {})", table.name);
            let row = connection.fetch_one(AssertSqlSafe(sql)).await?;
            if row.try_get(0)? {
                return Err(not_empty(table));
            }
        }
        let mut check = Check::new();
        loop {
            match parts.recv().await.ok_or_else(cut_off)? {
                Part::End => break,
                Part::Rows(number, rows) => {
                    check.add(number, &rows);
                    insert(&mut connection, &TABLES[number], &rows).await?;
                }
            }
        }
        let mut stored = Vec::new();
        for table in TABLES {
            let mut digest = Digest::default();
            let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(&mut connection);
            while let Some(row) = rows.try_next().await? {
                digest.add(&read(table, &row)?);
            }
            stored.push(digest.of(table));
        }
        let stored = check.finish(stored)?;
        connection.execute("COMMIT").await?;
        Ok(stored)
    }
}

async fn insert(connection: &mut PgConnection, table: &Table, rows: &[Row]) -> Result<()> {
    let kind = |(number, (_, kind)): (usize, &(&str, Kind))| {
        let number = number + 1;
        match kind {
            Kind::Uuid => format!("${number}::uuid[]"),
            Kind::Bytes => format!("${number}::bytea[]"),
            Kind::Text => format!("${number}::text[]"),
            Kind::Integer => format!("${number}::bigint[]"),
            Kind::Flag => format!("${number}::boolean[]"),
        }
    };
    let values: Vec<_> = table.columns.iter().enumerate().map(kind).collect();
    let (name, columns, values) = (table.name, table.columns(), values.join(", "));
    let sql = format!("INSERT INTO {name} ({columns}) SELECT * FROM unnest({values})");
    let mut statement = sqlx::query(AssertSqlSafe(sql));
    for (column, (_, kind)) in table.columns.iter().enumerate() {
        statement = bind(statement, *kind, rows.iter().map(|row| &row[column]))?;
    }
    statement.execute(connection).await?;
    Ok(())
}

fn bind<'q, 'v>(
    statement: Statement<'q>,
    kind: Kind,
    values: impl Iterator<Item = &'v Value>,
) -> Result<Statement<'q>> {
    Ok(match kind {
        Kind::Uuid => statement.bind(all(values, uuid)?),
        Kind::Bytes => statement.bind(all(values, bytes)?),
        Kind::Text => statement.bind(all(values, text)?),
        Kind::Integer => statement.bind(all(values, integer)?),
        Kind::Flag => statement.bind(all(values, |it| integer(it).map(|it| it != 0))?),
    })
}

/// The values of a column as an array; what is of another type is damaged.
fn all<'v, T>(
    values: impl Iterator<Item = &'v Value>,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let wrong = || Error::new(ErrorKind::Corrupt, "a value has a wrong type");
    let value = |it: &Value| {
        if *it == Value::Null { Ok(None) } else { read(it).map(Some).ok_or_else(wrong) }
    };
    values.map(value).collect()
}

fn uuid(value: &Value) -> Option<Uuid> {
    Uuid::from_slice(&bytes(value)?).ok()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    if let Value::Bytes(bytes) = value { Some(bytes.clone()) } else { None }
}

fn text(value: &Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text.clone()) } else { None }
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(*number) } else { None }
}

fn read(table: &Table, row: &PgRow) -> Result<Row> {
    let value = |(column, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Uuid => {
                let uuid: Option<Uuid> = row.try_get(column)?;
                uuid.map(|it| Value::Bytes(it.as_bytes().to_vec()))
            }
            Kind::Bytes => row.try_get::<Option<_>, _>(column)?.map(Value::Bytes),
            Kind::Text => row.try_get::<Option<_>, _>(column)?.map(Value::Text),
            Kind::Integer => row.try_get::<Option<_>, _>(column)?.map(Value::Integer),
            Kind::Flag => {
                let flag: Option<bool> = row.try_get(column)?;
                flag.map(|it| Value::Integer(it.into()))
            }
        }
        .unwrap_or(Value::Null))
    };
    table.columns.iter().enumerate().map(value).collect()
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::postgres::Database;

    #[tokio::test]
    async fn every_column_of_every_table_is_moved() {
        let database = Database::create().await;
        let store = PostgresStore::open(database.url()).await.unwrap();
        let statement = sqlx::query(
            "SELECT table_name::text, string_agg(column_name::text, ', ' ORDER BY ordinal_position)
             FROM information_schema.columns WHERE table_schema = 'public' GROUP BY 1 ORDER BY 1",
        );
        let rows = store.database.all(statement).await.unwrap();
        let mut tables: Vec<(String, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for table in TABLES {
            let at = tables.iter().position(|(name, _)| name == table.name).unwrap();
            assert_eq!(tables.remove(at).1, table.columns(), "{}", table.name);
        }
        // What lives no longer than the servers.
        let left: Vec<_> = tables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["commands", "events", "leases", "schema_version"]);
    }
}
