//! PostgreSQL: one pool, every request a transaction, also through a pooler in transaction mode.
//!
//! Writes of calls go through one task that commits what has come meanwhile together (`group.rs`), under a lock that makes
//! positions appear in their order. Every write of a call carries the generation of the process that has the calls, and is
//! refused under any other (`owner.rs`). A commit survives loss of power as far as the server is set so.
//!
//! Nothing is repeated here: a server that restarts or cannot be reached is an error of each request, within
//! [`REQUEST_TIMEOUT`], and the next request finds a new connection.

mod calls;
mod group;
mod import;
mod keys;
mod owner;
mod schema;
#[cfg(test)]
mod tests;
mod work;

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use tokio::sync::Semaphore;

use super::StoreError;
use group::Group;
pub(super) use import::Import;
use work::{Purpose, Work};

/// Connections for requests.
const CONNECTIONS: u32 = 8;
/// Of them those that read at a time; the rest are for claims, hang-ups and writing, which wait for no reader.
const READERS: usize = 5;
/// Of these those that search lists, which may take their time; the rest are for keys, events and single calls.
const SEARCHES: usize = 2;
/// How long a request waits for one, connecting included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take in all; a statement has 5 s at the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection unused this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the connections may take to say goodbye, and what is under way to end; then they are cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in PostgreSQL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    readers: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    /// For the owner's beats alone: they must not wait for requests.
    beats: PgPool,
    group: Group,
    /// Of the owner that this is; 0 for none.
    generation: Arc<AtomicI64>,
}

impl Postgres {
    /// Opens `postgres://...` and brings the schema up to date.
    ///
    /// # Errors
    /// The URL or the server cannot be used, or a migration fails.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_counting(url).await.map(|(store, _)| store)
    }

    /// Also returns how many migrations were made.
    pub(super) async fn open_counting(url: &str) -> Result<(Self, usize), StoreError> {
        let store = Self::connect(url)?;
        let migrations = store.migrate().await?;
        Ok((store, migrations))
    }

    /// With the schema as it is; connects when first asked for something.
    pub(super) fn connect(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        let (pool, beats) = (pool(CONNECTIONS, &options), pool(1, &options));
        let group = Group::start(pool.clone());
        let (readers, searches) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(SEARCHES)));
        Ok(Self { pool, readers, searches, beats, group, generation: Arc::default() })
    }

    /// Brings the schema up to date; how many migrations that took. As long as a statement of theirs may take, see
    /// [`Purpose::Schema`].
    pub(super) async fn migrate(&self) -> Result<usize, StoreError> {
        schema::migrate(&self.pool).await
    }

    /// Somebody can have its calls: the row that says who is there.
    pub(super) async fn has_owners(&self) -> Result<bool, StoreError> {
        bounded(schema::has_owners(&self.pool)).await
    }

    /// Closes the connections, when what is under way is done, or has had its time.
    pub async fn shut(&self) {
        let closing = async { tokio::join!(self.pool.close(), self.beats.close()) };
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!("some connections to the database did not close in time and are cut");
        }
    }

    /// A transaction that reads or writes.
    async fn begin(&self, purpose: Purpose) -> Result<Work, StoreError> {
        // Never closed.
        let place = async |places: &Arc<Semaphore>| Arc::clone(places).acquire_owned().await.ok();
        // In this order: who waits to search keeps nobody else from reading.
        let search = if matches!(purpose, Purpose::Search) { place(&self.searches).await } else { None };
        let read = match purpose {
            Purpose::Read | Purpose::Search | Purpose::Positions => place(&self.readers).await,
            _ => None,
        };
        Ok(Work::begin(&self.pool, purpose).await?.in_turn([search, read]))
    }

    /// For tests, which make what cannot be made otherwise.
    #[cfg(test)]
    pub(super) async fn execute(&self, sql: &'static str) {
        let mut work = self.begin(Purpose::Calls).await.expect("a connection");
        work::query(sql).execute(work.connection()).await.expect("valid SQL");
        work.commit().await.expect("committed");
    }

    fn generation(&self) -> i64 {
        self.generation.load(Ordering::Relaxed)
    }
}

fn pool(connections: u32, options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .connect_lazy_with(options.clone())
}

/// Somebody elsewhere gets our data only by the name that a CA vouches for, unless the URL says otherwise.
fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let mut options = PgConnectOptions::from_str(url)?
        // Statements and numbers a pooler does not know of.
        .statement_cache_capacity(0)
        .extra_float_digits(None)
        .application_name("voicebridge");
    let mode_is_said = url.contains("sslmode=") || url.contains("ssl-mode=") || std::env::var_os("PGSSLMODE").is_some();
    let is_here = options.get_socket().is_some() || is_loopback(options.get_host());
    if !mode_is_said && !is_here {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if !is_here && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        tracing::warn!("DATABASE_URL has another sslmode than verify-full: whoever is between can read and change all");
    }
    Ok(options)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // With a slash: a socket's folder.
    host == "localhost"
        || host.starts_with('/')
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A server that neither answers nor goes away.
async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::Database("the database did not answer in time".into());
    tokio::time::timeout(REQUEST_TIMEOUT, work).await.map_err(late)?
}
