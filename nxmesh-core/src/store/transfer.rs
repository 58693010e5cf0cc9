//! Moving everything from one database to another.

use std::fmt::Debug;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::tables::{Digest, Digests, Row, TABLES, Table};
use crate::{Error, ErrorKind, Result};

/// How many rows go together.
const TOGETHER: usize = 500;
/// How many such batches wait at most.
const WAITING: usize = 4;

/// A database that everything can be moved out of, or into.
#[derive(Debug)]
pub struct Archive(Box<dyn Rows>);

impl Archive {
    pub(super) fn new(rows: impl Rows) -> Self {
        Self(Box::new(rows))
    }
}

/// What moving asks of a backend.
#[async_trait]
pub(super) trait Rows: Debug + Send + Sync + 'static {
    /// Hands out all rows of all tables, as they are at one moment, and then the end.
    async fn read_all(&self, parts: mpsc::Sender<Part>) -> Result<()>;

    /// Takes all rows, in one transaction. Fails, and changes nothing, when a table is not
    /// empty before, when the end does not come, or when what is then in the tables is not
    /// what came.
    async fn write_all(&self, parts: mpsc::Receiver<Part>) -> Result<Digests>;
}

/// A part of everything.
#[derive(Debug)]
pub(super) enum Part {
    /// Rows of the table with this number.
    Rows(usize, Vec<Row>),
    /// That was all.
    End,
}

/// Moves everything. The target must be empty; the source stays as it is. Nobody should
/// work on either meanwhile: what is changed at the source after this began is not moved.
/// Answers how many rows each table has.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) when the target is not empty; those of either database. The
/// target is then as it was.
pub async fn transfer(from: &Archive, to: &Archive) -> Result<Vec<(&'static str, u64)>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (read, written) = tokio::join!(from.0.read_all(sender), to.0.write_all(receiver));
    // A target that refuses stops the source too; its reason is the better one.
    match (read, written) {
        (Ok(()), Ok(digests)) => {
            Ok(digests.into_iter().map(|(name, rows, _)| (name, rows)).collect())
        }
        (Err(error), Err(other)) if other.kind() == ErrorKind::Internal => Err(error),
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

/// Gathers the rows of one table, to send them together.
pub(super) struct Batches {
    table: usize,
    rows: Vec<Row>,
}

impl Batches {
    pub(super) const fn of(table: usize) -> Self {
        Self { table, rows: Vec::new() }
    }

    /// A full batch, to be sent.
    pub(super) fn add(&mut self, row: Row) -> Option<Part> {
        self.rows.push(row);
        (self.rows.len() == TOGETHER).then(|| self.rest())
    }

    /// What is left, to be sent.
    pub(super) fn rest(&mut self) -> Part {
        Part::Rows(self.table, std::mem::take(&mut self.rows))
    }
}

/// Checks what came against what was stored.
#[derive(Debug)]
pub(super) struct Check {
    came: Vec<Digest>,
}

impl Check {
    pub(super) fn new() -> Self {
        Self { came: vec![Digest::default(); TABLES.len()] }
    }

    pub(super) fn add(&mut self, table: usize, rows: &[Row]) {
        if let Some(digest) = self.came.get_mut(table) {
            rows.iter().for_each(|row| digest.add(row));
        }
    }

    /// Fails unless the tables have exactly the rows that came.
    pub(super) fn finish(self, stored: Digests) -> Result<Digests> {
        let came = self.came.into_iter().zip(TABLES).map(|(digest, table)| digest.of(table));
        for ((name, rows, digest), (_, stored_rows, stored_digest)) in came.zip(&stored) {
            if (rows, digest) != (*stored_rows, *stored_digest) {
                let message =
                    format!("the table {name} came with {rows} rows, and has {stored_rows} others");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        Ok(stored)
    }
}

pub(super) fn not_empty(table: &Table) -> Error {
    let message = format!(
        "the target is not empty: it has rows in {}; name a database that no server was started on",
        table.name
    );
    Error::new(ErrorKind::Conflict, message)
}

pub(super) fn cut_off() -> Error {
    Error::new(ErrorKind::Internal, "the other database was given up")
}
