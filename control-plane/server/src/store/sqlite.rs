//! SQLite: one file, write-ahead log, created and migrated when opened.
//!
//! One connection writes and a few read. A single writer means that writes queue in this process, fairly, instead of
//! polling SQLite's lock; readers never wait for it (write-ahead log). `synchronous = NORMAL`: a commit survives the
//! process, and on power loss the last moments may be missing but the file is whole. Several processes may have it open,
//! e.g. for its keys; one at a time has its calls, see [`Sqlite::own_calls`].

mod keys;

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use voicebridge_core::{
    identity::{CallId, Caller, PhoneNumber, UserId, Wacid},
    termination::{Termination, TerminationResult},
};

use super::{
    Burial, CallRow, Change, Claim, HistoryRow, Holder, KEY_BYTES, LAST_KIND, NewCall, Page, SessionPlace, Store,
    StoreError, StoredEvent, TOMBSTONE_RETENTION_MS, Tombstone, Write, Written, lock::CallsLock, private,
};

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
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
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

    /// Closes the file: what is in the write-ahead log goes into it.
    pub async fn shut(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

const APPEND_EVENT: &str = "INSERT INTO events (call_id, sequence, kind, occurred_at_ms, node_sequence, payload)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const APPLY_CHANGE: &str = "UPDATE calls SET
         last_sequence = ?2,
         -- A new session counts its events anew.
         node_sequence = coalesce(?3, CASE WHEN ?5 IS NULL OR ?5 = session_id THEN node_sequence ELSE 0 END),
         phase = coalesce(?4, phase),
         session_id = coalesce(?5, session_id), node_id = coalesce(?6, node_id),
         node_url = coalesce(?7, node_url), region = coalesce(?8, region),
         accepted_at_ms = coalesce(accepted_at_ms, ?9),
         result = coalesce(result, ?10), reason = coalesce(reason, ?11),
         message = coalesce(message, ?12), upstream_code = coalesce(upstream_code, ?13),
         ended_at_ms = ?14
     WHERE call_id = ?1";
const HISTORY_COLUMNS: &str = "SELECT position, events.call_id, sequence, kind, payload, phone_number_id, caller_phone
     FROM events JOIN calls USING (call_id)";

#[async_trait]
impl Store for Sqlite {
    async fn claim(&self, call: &NewCall) -> Result<Claim, StoreError> {
        let caller = &call.caller;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let known: Option<String> = sqlx::query_scalar("SELECT call_id FROM calls WHERE wacid = ?1")
            .bind(call.wacid.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(known) = known {
            return Ok(Claim::Duplicate(read_id(&known, "calls.call_id")?));
        }
        let buried: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tombstones WHERE wacid = ?1)")
            .bind(call.wacid.as_str())
            .fetch_one(&mut *transaction)
            .await?;
        if buried {
            return Ok(Claim::Tombstoned);
        }
        sqlx::query(
            "INSERT INTO calls (call_id, wacid, signalling, phase, phone_number_id, caller_phone, caller_user_id,
                                caller_name, received_at_ms, ring_until_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .bind(call.call_id.as_str())
        .bind(call.wacid.as_str())
        .bind(call.holder.word())
        .bind(call.phase)
        .bind(&call.phone_number_id)
        .bind(caller.phone_number.as_ref().map_or("", PhoneNumber::digits))
        .bind(caller.user_id.as_ref().map_or("", UserId::as_str))
        .bind(caller.name.as_deref().unwrap_or_default())
        .bind(call.received_at_ms)
        .bind(call.ring_until_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Claim::Claimed)
    }

    async fn bury(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<Burial, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM tombstones WHERE buried_at_ms < ?1")
            .bind(tombstone.buried_at_ms - TOMBSTONE_RETENTION_MS)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO tombstones (wacid, buried_at_ms, failed, error_code) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (wacid) DO NOTHING",
        )
        .bind(wacid.as_str())
        .bind(tombstone.buried_at_ms)
        .bind(tombstone.failed)
        .bind(tombstone.error_code)
        .execute(&mut *transaction)
        .await?;
        let known: Option<(String, bool)> =
            sqlx::query_as("SELECT call_id, ended_at_ms IS NOT NULL FROM calls WHERE wacid = ?1")
                .bind(wacid.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
        transaction.commit().await?;
        let Some((call_id, ended)) = known else { return Ok(Burial::Unknown) };
        let call_id = read_id(&call_id, "calls.call_id")?;
        Ok(if ended { Burial::Ended(call_id) } else { Burial::Live(call_id) })
    }

    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError> {
        let row = sqlx::query("SELECT buried_at_ms, failed, error_code FROM tombstones WHERE wacid = ?1")
            .bind(wacid.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| {
            Ok(Tombstone {
                buried_at_ms: row.try_get("buried_at_ms")?,
                failed: row.try_get("failed")?,
                error_code: row.try_get("error_code")?,
            })
        })
        .transpose()
    }

    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let stored: Option<(i64, bool)> =
            sqlx::query_as("SELECT last_sequence, ended_at_ms IS NOT NULL FROM calls WHERE call_id = ?1")
                .bind(call_id.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
        let Some((stored, is_closed)) = stored else { return Ok(Written::Refused) };
        let (after, last) = (write.after as i64, write.after as i64 + write.events.len() as i64);
        if stored == last && last > after && is_closed == write.change.ended_at_ms.is_some() {
            let position: i64 = sqlx::query_scalar("SELECT position FROM events WHERE call_id = ?1 AND sequence = ?2")
                .bind(call_id.as_str())
                .bind(last)
                .fetch_one(&mut *transaction)
                .await?;
            return Ok(Written::Stored { position: Some(position as u64) });
        }
        if is_closed || stored != after {
            return Ok(Written::Refused);
        }
        let mut position = None;
        for (event, sequence) in write.events.iter().zip(after + 1..) {
            let inserted = sqlx::query(APPEND_EVENT)
                .bind(call_id.as_str())
                .bind(sequence)
                .bind(event.kind)
                .bind(event.occurred_at_ms)
                .bind(event.node_sequence.map(|sequence| sequence as i64))
                .bind(event.payload.as_slice())
                .execute(&mut *transaction)
                .await?;
            position = Some(inserted.last_insert_rowid() as u64);
        }
        let Change { phase, session, accepted_at_ms, termination, ended_at_ms } = &write.change;
        let (session, termination) = (session.as_ref(), termination.as_ref());
        sqlx::query(APPLY_CHANGE)
            .bind(call_id.as_str())
            .bind(last)
            .bind(write.node_sequence().map(|sequence| sequence as i64))
            .bind(*phase)
            .bind(session.map(|session| session.session_id.as_str()))
            .bind(session.map(|session| session.node_id.as_str()))
            .bind(session.map(|session| session.node_url.as_str()))
            .bind(session.map(|session| session.region.as_str()))
            .bind(*accepted_at_ms)
            .bind(termination.map(|termination| termination.result.word()))
            .bind(termination.map(|termination| termination.reason.as_ref()))
            .bind(termination.map(|termination| termination.message.as_str()))
            .bind(termination.map(|termination| termination.upstream_code.as_str()))
            .bind(*ended_at_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Written::Stored { position })
    }

    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM calls WHERE call_id = ?1")
            .bind(call_id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(read_call).transpose()
    }

    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM calls WHERE wacid = ?1")
            .bind(wacid.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(read_call).transpose()
    }

    async fn calls(&self, page: Page) -> Result<Vec<CallRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM calls WHERE ordinal < ?1 AND (NOT ?2 OR ended_at_ms IS NULL) ORDER BY ordinal DESC LIMIT ?3",
        )
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(page.live_only)
        .bind(i64::from(page.size))
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(read_call).collect()
    }

    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, kind, payload FROM events WHERE call_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
        )
        .bind(call_id.as_str())
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(read_event).collect()
    }

    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, kind, payload FROM events WHERE call_id = ?1 AND kind = ?2 ORDER BY sequence",
        )
        .bind(call_id.as_str())
        .bind(kind)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(read_event).collect()
    }

    async fn history(
        &self,
        call_id: Option<&CallId>,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        // Positions of one call grow with its sequences, whose index holds both.
        let order = match call_id {
            Some(_) => "WHERE events.call_id = ?4 AND position > ?1 AND position <= ?2 ORDER BY sequence LIMIT ?3",
            None => "WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
        };
        let sql = sqlx::AssertSqlSafe(format!("{HISTORY_COLUMNS} {order}"));
        let bound = |position| i64::try_from(position).unwrap_or(i64::MAX);
        let mut query = sqlx::query(sql).bind(bound(after)).bind(bound(through)).bind(i64::from(limit));
        if let Some(call_id) = call_id {
            query = query.bind(call_id.as_str());
        }
        query.fetch_all(&self.reader).await?.iter().map(read_history).collect()
    }

    async fn last_position(&self) -> Result<u64, StoreError> {
        // Also of events that have been deleted since.
        let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
            .fetch_optional(&self.reader)
            .await?;
        Ok(last.unwrap_or(0) as u64)
    }

    async fn own_key(&self, name: &str, fresh: [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StoreError> {
        sqlx::query("INSERT INTO own_keys (name, key) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(fresh.as_slice())
            .execute(&self.writer)
            .await?;
        let key: Vec<u8> =
            sqlx::query_scalar("SELECT key FROM own_keys WHERE name = ?1").bind(name).fetch_one(&self.writer).await?;
        key.try_into().map_err(|_| StoreError::Corrupt("own_keys.key"))
    }

    async fn prune(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let ended: Vec<String> = sqlx::query_scalar(
            "SELECT call_id FROM calls WHERE ended_at_ms IS NOT NULL AND ended_at_ms < ?1 ORDER BY ended_at_ms LIMIT ?2",
        )
        .bind(before_ms)
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        for call_id in &ended {
            for statement in ["DELETE FROM events WHERE call_id = ?1", "DELETE FROM calls WHERE call_id = ?1"] {
                sqlx::query(statement).bind(call_id).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(ended.len() as u64)
    }
}

fn read_id(text: &str, column: &'static str) -> Result<CallId, StoreError> {
    CallId::parse(text).map_err(|_| StoreError::Corrupt(column))
}

fn read_event(row: &SqliteRow) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        sequence: row.try_get::<i64, _>("sequence")? as u64,
        payload: row.try_get("payload")?,
        is_last: row.try_get::<&str, _>("kind")? == LAST_KIND,
    })
}

fn read_history(row: &SqliteRow) -> Result<HistoryRow, StoreError> {
    Ok(HistoryRow {
        position: row.try_get::<i64, _>("position")? as u64,
        call_id: read_id(row.try_get("call_id")?, "events.call_id")?,
        phone_number_id: row.try_get("phone_number_id")?,
        caller_phone: row.try_get("caller_phone")?,
        event: read_event(row)?,
    })
}

fn read_call(row: &SqliteRow) -> Result<CallRow, StoreError> {
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let session_id = text("session_id")?;
    let session = if session_id.is_empty() {
        None
    } else {
        Some(SessionPlace {
            session_id,
            node_id: text("node_id")?,
            node_url: text("node_url")?,
            region: text("region")?,
        })
    };
    let termination = match row.try_get::<Option<String>, _>("result")? {
        None => None,
        Some(word) => Some(Termination {
            result: TerminationResult::from_word(&word).ok_or(StoreError::Corrupt("calls.result"))?,
            reason: row.try_get::<Option<String>, _>("reason")?.unwrap_or_default().into(),
            message: row.try_get::<Option<String>, _>("message")?.unwrap_or_default(),
            upstream_code: row.try_get::<Option<String>, _>("upstream_code")?.unwrap_or_default(),
        }),
    };
    Ok(CallRow {
        ordinal: row.try_get("ordinal")?,
        call_id: read_id(row.try_get("call_id")?, "calls.call_id")?,
        // NULL only for calls that we place, of which there are none yet.
        wacid: Wacid::parse(text("wacid")?).map_err(|_| StoreError::Corrupt("calls.wacid"))?,
        holder: Holder::from_word(&text("signalling")?).ok_or(StoreError::Corrupt("calls.signalling"))?,
        phase: text("phase")?,
        phone_number_id: text("phone_number_id")?,
        caller: Caller {
            phone_number: PhoneNumber::parse(&text("caller_phone")?),
            user_id: UserId::parse(&text("caller_user_id")?),
            name: Some(text("caller_name")?).filter(|name| !name.is_empty()),
        },
        received_at_ms: row.try_get("received_at_ms")?,
        ring_until_ms: row.try_get("ring_until_ms")?,
        session,
        accepted_at_ms: row.try_get("accepted_at_ms")?,
        ended_at_ms: row.try_get("ended_at_ms")?,
        termination,
        last_sequence: row.try_get::<i64, _>("last_sequence")? as u64,
        node_sequence: row.try_get::<i64, _>("node_sequence")? as u64,
    })
}
