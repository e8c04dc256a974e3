//! SQLite: one file, write-ahead log, created and migrated when opened.
//!
//! One connection writes and a few read. A single writer means that writes queue in this process, fairly, instead of
//! polling SQLite's lock; readers never wait for it (write-ahead log). `synchronous = NORMAL`: a commit survives the
//! process, and on power loss the last moments may be missing but the file is whole. Several processes may have it open,
//! e.g. for its keys; one at a time has its calls, see [`Sqlite::own_calls`].

mod calls;
mod export;
mod keys;
mod lock;
mod private;

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::StoreError;
pub use lock::{CallsLock, LockError};

/// Connections for reading: API requests and event streams, each for a few milliseconds.
const READERS: u32 = 4;
/// How long somebody else's lock on the file is waited for, e.g. a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection; then it fails instead of queueing without bound.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The embedded store.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    reader: SqlitePool,
    /// None for one in memory.
    file: Option<PathBuf>,
}

impl Sqlite {
    /// Opens `sqlite://...`, creating and migrating the file as needed.
    ///
    /// # Errors
    /// The URL or the file cannot be used, or a migration fails.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            // What retention deletes is overwritten, not just forgotten.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_TIMEOUT);
        // A connection of such a database is the database, and there is no file.
        let in_memory = Self::is_in_memory(url);
        let file = (!in_memory).then(|| options.get_filename().to_owned());
        if let Some(file) = &file {
            private::prepare(file).await?;
        }
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .min_connections(1)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // Also because an in-memory database goes with its connection, and a connection with a request that is given
                // up while it is tried out. There is no network between that could have broken it.
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await?;
        let reader = if in_memory { writer.clone() } else { pool(READERS).connect_with(options).await? };
        Ok(Self { writer, reader, file })
    }

    fn is_in_memory(url: &str) -> bool {
        url.contains(":memory:") || url.contains("mode=memory")
    }

    /// The right to the calls of this database, for the one process that has tasks for them: a second would adopt the calls
    /// of the first. If another process has it, its end is waited for so long. One in memory is nobody else's.
    ///
    /// # Errors
    /// [`StoreError::Lock`].
    pub async fn own_calls(&self, wait: Duration) -> Result<CallsLock, StoreError> {
        Ok(match &self.file {
            Some(file) => CallsLock::acquire(file, wait).await?,
            None => CallsLock::unshared(),
        })
    }

    /// The same, of a database that need not be open yet, nor be there.
    ///
    /// # Errors
    /// The URL cannot be used, and [`StoreError::Lock`].
    pub async fn lock(url: &str, wait: Duration) -> Result<CallsLock, StoreError> {
        Ok(match Self::file_of(url)? {
            Some(file) => CallsLock::acquire(&file, wait).await?,
            None => CallsLock::unshared(),
        })
    }

    /// Closes the file: what is in the write-ahead log goes into it.
    pub async fn shut(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}
