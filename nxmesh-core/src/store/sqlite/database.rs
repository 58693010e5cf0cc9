use std::{
    fmt,
    fs::{File, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    log::{BUSY, Log},
    migrate::migrate,
    readers::Readers,
    writer::{Audience, Writer, Written},
};
use crate::{Error, ErrorKind, Result, store::local::Local};

/// How many reads run at a time.
const READERS: usize = 4;
/// How large the log becomes while there are always readers.
pub(super) const LOG: u64 = 64 * 1024 * 1024;

/// One writer, some readers.
pub(super) struct Database<A: Audience = Local> {
    path: PathBuf,
    // Before the writer: whoever closes the file last empties the log into it, if it may write.
    readers: Readers,
    writer: Writer<A>,
    _lock: File,
}

/// What a database is for.
pub(super) struct Purpose {
    /// How its schema came about.
    pub(super) migrations: &'static [&'static str],
    /// `full`: each commit waits for the disk; `normal`: none does.
    pub(super) synchronous: &'static str,
    /// How large the log may become, in bytes.
    pub(super) log: u64,
}

impl<A: Audience> Database<A> {
    pub(super) fn open(path: &Path, purpose: &Purpose, news: Arc<A>) -> Result<Self> {
        let lock = lock(path)?;
        make(path)?;
        let mut connection = Connection::open(path).map_err(|error| cannot_open(path, error))?;
        configure(&connection)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", purpose.synchronous)?;
        migrate(&mut connection, purpose.migrations)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = || -> Result<Connection> {
            let connection = Connection::open_with_flags(path, flags)
                .map_err(|error| cannot_open(path, error))?;
            configure(&connection)?;
            Ok(connection)
        };
        let readers = Readers::start((0..READERS).map(|_| reader()).collect::<Result<_>>()?)?;
        let log = Log::watch(&connection, path, purpose.log)?;
        let writer = Writer::start(connection, log, news)?;
        Ok(Self { path: path.to_owned(), readers, writer, _lock: lock })
    }

    /// Reads; all that `work` sees is of one moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(work).await
    }

    /// Writes; when this answers, what `work` did is on disk, or did not happen.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Written<T, A::Effect>> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(work).await
    }
}

impl<A: Audience> fmt::Debug for Database<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// What is in it is for the owner's eyes only.
fn make(path: &Path) -> Result<()> {
    let made = File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(|_| ()).map_err(|error| cannot_open(path, error))
}

/// News of changes do not leave the process, so a second one must not write here.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options().write(true).create(true).truncate(false).open(&name);
    let file = file.map_err(|error| cannot_open(path, error))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            let message = format!("another process has the database {} open", path.display());
            Error::new(ErrorKind::Unavailable, message)
        }
        TryLockError::Error(error) => cannot_open(path, error),
    })?;
    Ok(file)
}

fn cannot_open(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = format!("cannot open the database {}", path.display());
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
