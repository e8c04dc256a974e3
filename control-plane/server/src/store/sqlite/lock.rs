//! One process has the calls of a database: a lock on a file beside it, which the operating system gives back when its
//! holder dies.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

/// Between two looks at a lock that somebody else holds.
const LOOK: Duration = Duration::from_millis(100);

/// Somebody else has the database's calls.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// For as long as it was waited for.
    #[error(
        "another process has the calls of the database ({path} is locked, waited {waited_s} s): end it first, or let this one wait longer \
         by VOICEBRIDGE_DATABASE_WAIT_S"
    )]
    Held {
        /// The file that is locked.
        path: PathBuf,
        /// How long.
        waited_s: u64,
    },
    /// The file cannot be made or locked.
    #[error("the database's lock cannot be used")]
    File(#[from] io::Error),
}

/// The right to the calls of a database, until it is dropped.
#[derive(Debug)]
pub struct CallsLock {
    _file: Option<File>,
}

impl CallsLock {
    /// Of a database that nobody else can open.
    pub(super) const fn unshared() -> Self {
        Self { _file: None }
    }

    /// Of the database in this file, waiting for whoever has it.
    pub(super) async fn acquire(database: &Path, wait: Duration) -> Result<Self, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = open(&path)?;
        let began = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: Some(file) }),
                Err(TryLockError::WouldBlock) if began.elapsed() >= wait => {
                    return Err(LockError::Held { path, waited_s: wait.as_secs() });
                }
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        let wait_s = wait.as_secs();
                        tracing::info!(wait_s, "another process has the database's calls: waiting for its end");
                    }
                    tokio::time::sleep(LOOK.min(wait)).await;
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

/// Its owner's alone, as the database is.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_waits_and_then_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("calls.db");
        let first = CallsLock::acquire(&database, Duration::ZERO).await.unwrap();
        let refused = CallsLock::acquire(&database, Duration::ZERO).await.unwrap_err().to_string();
        assert!(refused.contains("calls.db.lock") && refused.contains("VOICEBRIDGE_DATABASE_WAIT_S"), "{refused}");
        let began = Instant::now();
        assert!(CallsLock::acquire(&database, Duration::from_secs(5)).await.is_err());
        assert!(began.elapsed() >= Duration::from_secs(5));
        let second = tokio::spawn(async move { CallsLock::acquire(&database, Duration::from_secs(5)).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first);
        second.await.unwrap().unwrap();
    }
}
