//! The database that `DATABASE_URL` names, whichever it is.

use std::{sync::Arc, time::Duration};

use super::{
    KeyStore, Store, StoreError,
    lease::{Held, Lease},
    postgres::Postgres,
    sqlite::{CallsLock, Sqlite},
};

/// What URLs of SQLite begin with.
pub const SQLITE: &str = "sqlite:";
/// What URLs of PostgreSQL begin with.
pub const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// A database in use. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file.
    Sqlite(Sqlite),
    /// A server.
    Postgres(Postgres),
}

impl Database {
    /// Opens what the URL names and brings its schema up to date.
    ///
    /// # Errors
    /// The URL, the file or the server cannot be used, or a migration fails.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if POSTGRES.iter().any(|scheme| url.starts_with(scheme)) {
            Ok(Self::Postgres(Postgres::open(url).await?))
        } else {
            Ok(Self::Sqlite(Sqlite::open(url).await?))
        }
    }

    /// Opens what the URL names for the one process that is to have its calls, waiting so long for another that has them. Only
    /// then is its schema brought up to date: who still has them goes on with the schema it knows.
    ///
    /// # Errors
    /// Those of [`Self::open`] and [`Self::own_calls`].
    pub async fn open_owned(url: &str, wait: Duration) -> Result<(Self, Owner), StoreError> {
        if !POSTGRES.iter().any(|scheme| url.starts_with(scheme)) {
            let lock = Sqlite::lock(url, wait).await?;
            let database = Self::Sqlite(Sqlite::open(url).await?);
            return Ok((database, Owner::of_file(lock)));
        }
        let store = Postgres::connect(url)?;
        if !store.has_owners().await? {
            store.migrate().await?;
        }
        let owner = Owner::of_row(Held::acquire(Arc::new(store.clone()), wait).await?);
        if let Err(error) = store.migrate().await {
            owner.give_back().await;
            return Err(error);
        }
        Ok((Self::Postgres(store), owner))
    }

    /// Its calls.
    #[must_use]
    pub fn calls(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::new(store.clone()),
            Self::Postgres(store) => Arc::new(store.clone()),
        }
    }

    /// Its API keys.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        match self {
            Self::Sqlite(store) => Arc::new(store.clone()),
            Self::Postgres(store) => Arc::new(store.clone()),
        }
    }

    /// The right to the calls of this database, for the one process that has tasks for them: a second would adopt the calls
    /// of the first. If another process has it, its end is waited for so long.
    ///
    /// # Errors
    /// [`StoreError::Lock`] or [`StoreError::Owned`], and those of reading.
    pub async fn own_calls(&self, wait: Duration) -> Result<Owner, StoreError> {
        Ok(match self {
            Self::Sqlite(store) => Owner::of_file(store.own_calls(wait).await?),
            Self::Postgres(store) => Owner::of_row(Held::acquire(Arc::new(store.clone()), wait).await?),
        })
    }

    /// For tests: as it was when it was new, but for its keys and positions.
    #[cfg(test)]
    pub(crate) async fn clear(&self) {
        for sql in ["DELETE FROM events", "DELETE FROM calls", "DELETE FROM tombstones"] {
            match self {
                Self::Sqlite(store) => store.execute(sql).await,
                Self::Postgres(store) => store.execute(sql).await,
            }
        }
    }

    /// Closes it.
    pub async fn shut(&self) {
        match self {
            Self::Sqlite(store) => store.shut().await,
            Self::Postgres(store) => store.shut().await,
        }
    }
}

enum By {
    /// Until it is dropped.
    File {
        _lock: CallsLock,
    },
    Row(Held),
}

/// The right to the calls of a database, until it is given back or the process ends.
pub struct Owner {
    lease: Arc<Lease>,
    by: By,
}

impl Owner {
    fn of_file(lock: CallsLock) -> Self {
        Self { lease: Arc::new(Lease::unlimited()), by: By::File { _lock: lock } }
    }

    fn of_row(held: Held) -> Self {
        Self { lease: Arc::clone(&held.lease), by: By::Row(held) }
    }

    /// What everybody asks who acts on calls.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    /// Whoever waits for it has it at once; a file's lock goes when this is dropped.
    pub async fn give_back(&self) {
        if let By::Row(held) = &self.by {
            held.give_back().await;
        }
    }
}
