//! The size of the write-ahead log.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;

use crate::Result;

/// How long to wait for a lock that somebody else's tool holds.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// For how long writes are held up by those who read, when the log is too large.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches over the log. By itself it begins anew only when nobody reads, which may never be.
pub(super) struct Log {
    path: PathBuf,
    /// How large it may be.
    most: u64,
    /// At which size it is next made to begin anew.
    next: u64,
}

impl Log {
    /// Watches over that of this database, which the connection writes.
    pub(super) fn watch(connection: &Connection, database: &Path, most: u64) -> Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        // Once it begins anew the file is cut to this.
        connection.pragma_update(None, "journal_size_limit", i64::try_from(most).unwrap_or(-1))?;
        Ok(Self { path: path.into(), most, next: most })
    }

    /// Makes it begin anew when it has become too large; to be called between transactions.
    pub(super) fn keep_small(&mut self, connection: &Connection) {
        // Where there is none, as in memory, nothing grows.
        let size = fs::metadata(&self.path).map_or(0, |it| it.len());
        if size <= self.most {
            self.next = self.most;
        }
        if size <= self.next {
            return;
        }
        match begin_anew(connection) {
            Ok(true) => self.next = self.most,
            done => {
                // Whoever reads for so long must not hold up writes each time.
                self.next = size + self.most;
                let error = done.err().map(tracing::field::display);
                tracing::warn!(
                    size,
                    error,
                    "the log of the database grows: somebody reads for long"
                );
            }
        }
    }
}

/// Whether it will.
fn begin_anew(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(PATIENCE)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0));
    connection.busy_timeout(BUSY)?;
    busy.map(|busy: bool| !busy)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
            mpsc::{self, Receiver, Sender},
        },
        thread::{self, JoinHandle},
    };

    use super::{
        super::{
            database::{Database, Purpose},
            writer::Written,
        },
        *,
    };
    use crate::store::local::Local;

    const MOST: u64 = 256 * 1024;

    fn database(path: &Path) -> Database {
        let migrations = &["CREATE TABLE kept (id INTEGER PRIMARY KEY, body BLOB)"];
        let purpose = Purpose { migrations, synchronous: "normal", log: MOST };
        Database::open(path, &purpose, Arc::new(Local::new())).unwrap()
    }

    /// Writes some 16 KiB.
    async fn write(database: &Database) {
        let sql = "INSERT OR REPLACE INTO kept VALUES (1, zeroblob(16000))";
        let write = |db: &Connection| Ok(Written::quietly(db.execute(sql, [])?));
        database.write(write).await.unwrap();
    }

    /// Goes on reading, and is done with a read only once another one has begun.
    fn read(
        path: &Path,
        stop: &Arc<AtomicBool>,
        begun: Receiver<()>,
        next: Sender<()>,
    ) -> JoinHandle<()> {
        let (db, stop) = (Connection::open(path).unwrap(), Arc::clone(stop));
        thread::spawn(move || {
            while begun.recv().is_ok() && !stop.load(Ordering::Relaxed) {
                if !db.is_autocommit() {
                    db.execute_batch("COMMIT").unwrap();
                }
                db.execute_batch("BEGIN; SELECT count(*) FROM kept").unwrap();
                if next.send(()).is_err() {
                    break;
                }
            }
        })
    }

    #[tokio::test]
    async fn the_log_stays_small_while_somebody_reads_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let [path, log] = ["it.db", "it.db-wal"].map(|it| folder.path().join(it));
        let database = database(&path);
        write(&database).await;
        let stop = Arc::<AtomicBool>::default();
        let [(to_one, at_one), (to_other, at_other)] = [mpsc::channel(), mpsc::channel()];
        to_one.send(()).unwrap();
        let readers = [read(&path, &stop, at_one, to_other), read(&path, &stop, at_other, to_one)];
        let (mut largest, mut cut) = (0, false);
        for _ in 0..500 {
            write(&database).await;
            let size = fs::metadata(&log).unwrap().len();
            cut |= size < largest;
            largest = largest.max(size);
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|it| it.join().unwrap());
        assert!(largest > MOST, "it was never too large: {largest}");
        assert!(largest < 8 * MOST, "{largest}");
        assert!(cut, "what was too large is given back");
    }
}
