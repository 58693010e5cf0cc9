use async_trait::async_trait;
use rusqlite::{
    Connection, Row as SqliteRow, params_from_iter,
    types::{ToSqlOutput, Value as SqliteValue, ValueRef},
};
use tokio::sync::mpsc;

use super::{SqliteStore, writer::Written};
use crate::{
    Error, ErrorKind, Result,
    store::{
        Archive,
        tables::{Digest, Digests, Row, TABLES, Table, Value},
        transfer::{Batches, Check, Part, Rows, cut_off, not_empty},
    },
};

impl From<SqliteStore> for Archive {
    fn from(store: SqliteStore) -> Self {
        Self::new(store)
    }
}

#[async_trait]
impl Rows for SqliteStore {
    async fn read_all(&self, parts: mpsc::Sender<Part>) -> Result<()> {
        self.database.read(move |db| read_all(db, &parts)).await
    }

    async fn write_all(&self, parts: mpsc::Receiver<Part>) -> Result<Digests> {
        self.database.write(move |db| write_all(db, parts).map(Written::quietly)).await
    }
}

fn read_all(db: &Connection, parts: &mpsc::Sender<Part>) -> Result<()> {
    for (number, table) in TABLES.iter().enumerate() {
        let mut batches = Batches::of(number);
        each_row(db, table, |row| match batches.add(row) {
            Some(full) => parts.blocking_send(full).map_err(|_| cut_off()),
            None => Ok(()),
        })?;
        parts.blocking_send(batches.rest()).map_err(|_| cut_off())?;
    }
    parts.blocking_send(Part::End).map_err(|_| cut_off())
}

fn write_all(db: &Connection, mut parts: mpsc::Receiver<Part>) -> Result<Digests> {
    for table in TABLES {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        if db.query_row(&sql, [], |row| row.get(0))? {
            return Err(not_empty(table));
        }
    }
    let mut check = Check::new();
    loop {
        match parts.blocking_recv().ok_or_else(cut_off)? {
            Part::End => break,
            Part::Rows(number, rows) => {
                check.add(number, &rows);
                insert(db, &TABLES[number], rows)?;
            }
        }
    }
    let mut stored = Vec::new();
    for table in TABLES {
        let mut digest = Digest::default();
        each_row(db, table, |row| {
            digest.add(&row);
            Ok(())
        })?;
        stored.push(digest.of(table));
    }
    check.finish(stored)
}

fn insert(db: &Connection, table: &Table, rows: Vec<Row>) -> Result<()> {
    let places: Vec<_> = (1..=table.columns.len()).map(|it| format!("?{it}")).collect();
    let (name, columns, places) = (table.name, table.columns(), places.join(", "));
    let mut statement =
        db.prepare_cached(&format!("INSERT INTO {name} ({columns}) VALUES ({places})"))?;
    for row in rows {
        statement.execute(params_from_iter(row.into_iter().map(to_sqlite)))?;
    }
    Ok(())
}

fn each_row(db: &Connection, table: &Table, mut with: impl FnMut(Row) -> Result<()>) -> Result<()> {
    let mut statement = db.prepare(&table.select())?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        with(read(table, row)?)?;
    }
    Ok(())
}

fn read(table: &Table, row: &SqliteRow<'_>) -> Result<Row> {
    let value = |column| {
        Ok(match row.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Real(_) => {
                let (name, (column, _)) = (table.name, table.columns[column]);
                let message = format!("{column} of {name} has a value of a wrong type");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        })
    };
    (0..table.columns.len()).map(value).collect()
}

fn to_sqlite(value: Value) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(match value {
        Value::Null => SqliteValue::Null,
        Value::Integer(number) => SqliteValue::Integer(number),
        Value::Bytes(bytes) => SqliteValue::Blob(bytes),
        Value::Text(text) => SqliteValue::Text(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_column_of_every_table_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.db");
        drop(SqliteStore::open(&path).await.unwrap());
        let db = Connection::open(&path).unwrap();
        let all = |sql: &str| -> Vec<String> {
            let mut statement = db.prepare(sql).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let mut tables =
            all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
        for table in TABLES {
            tables.retain(|it| it != table.name);
            let columns = all(&format!("SELECT name FROM pragma_table_info('{}')", table.name));
            assert_eq!(columns.join(", "), table.columns(), "{}", table.name);
        }
        assert_eq!(tables, ["events"]);
    }
}
