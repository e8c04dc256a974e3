//! One transaction on one connection of the pool, and how statements are made for it.
//!
//! A pooler in transaction mode gives every transaction another connection to the server. So nothing outlives one here:
//! what a session would be told is told to each transaction when it begins, statements are prepared without a name, and
//! also what only reads runs in a transaction, for preparing and executing are two requests.
//!
//! A transaction that is not finished, because it failed or nobody waits for it any more, takes its connection with it: the
//! server rolls it back at once, and nobody gets a connection whose answers are those of another question.

use std::time::Duration;

use sqlx::{
    FromRow, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnection, PgRow},
    query::{Query, QueryAs, QueryScalar},
};

use tokio::sync::OwnedSemaphorePermit;

use crate::store::StoreError;

/// What a transaction begins with. One request: statements without parameters go together. The second time-out frees the
/// locks of a process whose machine has gone.
macro_rules! begin {
    ($mode:literal, $locks:literal) => {
        begin!($mode, "5000", "2500", $locks)
    };
    ($mode:literal, $statement_ms:literal, $idle_ms:literal, $locks:literal) => {
        concat!(
            // Whatever the server's default: what waited for a lock sees what was committed meanwhile.
            "BEGIN ISOLATION LEVEL READ COMMITTED ",
            $mode,
            "; SET LOCAL search_path = voicebridge, pg_catalog; SET LOCAL statement_timeout = ",
            $statement_ms,
            "; SET LOCAL idle_in_transaction_session_timeout = ",
            $idle_ms,
            "; ",
            $locks
        )
    };
}

/// What a transaction is for, and so which advisory locks it waits for. They go with the transaction. Their first number
/// tells them from those of others in the same database: "VOIB" in ASCII, and "VOIC" for those of single calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// Reads a call, its events, keys.
    Read,
    /// Reads along lists of calls.
    Search,
    /// Reads positions: waits for whoever has given some and not committed them.
    Positions,
    /// Writes keys, alone.
    Keys,
    /// Writes calls: nobody takes them over meanwhile.
    Calls,
    /// Writes events, alone: positions are given in the order of commits.
    Events,
    /// Takes the calls over, when nobody is writing any.
    Takeover,
    /// Fills the tables from elsewhere, when nobody is writing any calls: statements over all rows, and pauses while the next
    /// ones are read.
    Import,
    /// Says that the owner lives, or has gone.
    Beat,
    /// Changes the schema, alone.
    Schema,
}

impl Purpose {
    const fn begin(self) -> &'static str {
        match self {
            Self::Read | Self::Search => begin!("READ ONLY", ""),
            Self::Beat => begin!("", ""),
            Self::Takeover => begin!("", "SELECT pg_advisory_xact_lock(1448036674, 1)"),
            Self::Import => begin!("", "600000", "60000", "SELECT pg_advisory_xact_lock(1448036674, 1)"),
            Self::Calls => begin!("", "SELECT pg_advisory_xact_lock_shared(1448036674, 1)"),
            Self::Events => begin!(
                "",
                "SELECT pg_advisory_xact_lock_shared(1448036674, 1); SELECT pg_advisory_xact_lock(1448036674, 2)"
            ),
            Self::Positions => begin!("READ ONLY", "SELECT pg_advisory_xact_lock_shared(1448036674, 2)"),
            Self::Keys => begin!("", "SELECT pg_advisory_xact_lock(1448036674, 3)"),
            // An index of a large table takes its time.
            Self::Schema => begin!("", "600000", "60000", "SELECT pg_advisory_xact_lock(1448036674, 4)"),
        }
    }
}

/// In a transaction on one call's claim or end: alone with it.
pub(super) const LOCK_CALL: &str = "SELECT pg_advisory_xact_lock(1448036675, hashtext($1))";

/// How long a connection may take to say that it lives before the pool has it back; one that died in silence never would.
const RETURN_TIMEOUT: Duration = Duration::from_secs(1);

/// A transaction under way.
pub(super) struct Work {
    connection: Option<PoolConnection<Postgres>>,
    /// Of those who read: given back with the connection.
    _turns: [Option<OwnedSemaphorePermit>; 2],
}

impl Work {
    pub(super) async fn begin(pool: &PgPool, purpose: Purpose) -> Result<Self, StoreError> {
        let mut work = Self { connection: Some(pool.acquire().await?), _turns: [None, None] };
        sqlx::raw_sql(purpose.begin()).execute(work.connection()).await?;
        Ok(work)
    }

    /// The same, with the places of one who reads.
    pub(super) fn in_turn(mut self, turns: [Option<OwnedSemaphorePermit>; 2]) -> Self {
        self._turns = turns;
        self
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("taken only by commit and drop")
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::raw_sql("COMMIT").execute(self.connection()).await?;
        if let Some(mut connection) = self.connection.take() {
            // The pool asks it once more whether it lives, and waits for ever; until then it is one of the pool's.
            tokio::spawn(tokio::time::timeout(RETURN_TIMEOUT, connection.return_to_pool()));
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

pub(super) fn query(sql: &'static str) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

pub(super) fn query_as<Columns>(sql: &'static str) -> QueryAs<'static, Postgres, Columns, PgArguments>
where
    Columns: for<'r> FromRow<'r, PgRow>,
{
    sqlx::query_as(sql).persistent(false)
}

pub(super) fn query_scalar<Value>(sql: &'static str) -> QueryScalar<'static, Postgres, Value, PgArguments>
where
    (Value,): for<'r> FromRow<'r, PgRow>,
{
    sqlx::query_scalar(sql).persistent(false)
}
