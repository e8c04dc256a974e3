//! Calls, their events and tombstones in PostgreSQL.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection};
use voicebridge_core::{
    identity::{CallId, PhoneNumber, UserId, Wacid},
    labels::{LabelChange, Labels},
    payloads::Payloads,
};

use super::{
    Postgres, bounded,
    work::{LOCK_CALL, Purpose, query, query_as, query_scalar},
};
use crate::store::{
    CallRow, Claim, HangUpOutcome, HistoryRow, KEY_BYTES, Labelled, NewCall, Search, Store, StoreError, StoredEvent,
    TOMBSTONE_RETENTION_MS, Tombstone, Write, Written,
    rows::{self, CallColumns, EventColumns, HistoryColumns, TombstoneColumns},
    search_sql,
    text::storable,
};

const INSERT_CALL: &str =
    "INSERT INTO calls (call_id, wacid, signalling, phase, phone_number_id, caller_phone, caller_user_id, caller_name,
                        received_at_ms, ring_until_ms, generation, deeplink_payload, cta_payload,
                        biz_opaque_callback_data)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING ordinal";
const SET_LABELS: &str = "INSERT INTO labels (ordinal, name, value, received_at_ms)
     SELECT $1, name, value, $4 FROM unnest($2::text[], $3::text[]) AS new (name, value)
     ON CONFLICT (ordinal, name) DO UPDATE SET value = excluded.value";
const ADD_PAYLOADS: &str = "UPDATE calls SET
         deeplink_payload = CASE WHEN deeplink_payload = '' THEN $2 ELSE deeplink_payload END,
         cta_payload = CASE WHEN cta_payload = '' THEN $3 ELSE cta_payload END,
         biz_opaque_callback_data = CASE WHEN biz_opaque_callback_data = '' THEN $4 ELSE biz_opaque_callback_data END
     WHERE call_id = $1";
const HISTORY_OF_ALL: &str = "SELECT position, events.call_id, sequence, kind, payload, phone_number_id, caller_phone
     FROM events JOIN calls ON calls.call_id = events.call_id
     WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3";
/// Positions of one call grow with its sequences, which have an index.
const HISTORY_OF_ONE: &str = "SELECT position, events.call_id, sequence, kind, payload, phone_number_id, caller_phone
     FROM events JOIN calls ON calls.call_id = events.call_id
     WHERE events.call_id = $4 AND position > $1 AND position <= $2 ORDER BY sequence LIMIT $3";
/// The generation, whether the call is hung_up, and the id of the call that is known by this one of Meta's.
const CLAIMABLE: &str = "SELECT generation, EXISTS (SELECT FROM tombstones WHERE wacid = $1),
            (SELECT call_id FROM calls WHERE wacid = $1) FROM owner";
/// The generation, the id of the call, and whether it is over, if there is one.
const ENDED: &str =
    "SELECT owner.generation, call_id, ended_at_ms IS NOT NULL FROM owner LEFT JOIN calls ON wacid = $1";
const PRUNE: &str = "WITH old AS (
         SELECT call_id FROM calls WHERE ended_at_ms < $1 ORDER BY ended_at_ms LIMIT $2
     ), events_of_old AS (DELETE FROM events WHERE call_id IN (SELECT call_id FROM old))
     SELECT call_id FROM old";

fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text_of(payload: &Option<String>) -> &str {
    payload.as_deref().unwrap_or_default()
}

/// The call of which this is true.
async fn one(connection: &mut PgConnection, of: &str, value: &str) -> Result<Option<CallColumns>, StoreError> {
    let sql = AssertSqlSafe(format!("SELECT {} FROM calls WHERE {of}", <sqlx::Postgres as search_sql::Dialect>::CALL));
    Ok(sqlx::query_as(sql).persistent(false).bind(value).fetch_optional(connection).await?)
}

async fn set_labels(
    connection: &mut PgConnection,
    ordinal: i64,
    received_at_ms: i64,
    labels: &Labels,
) -> Result<(), StoreError> {
    if labels.is_empty() {
        return Ok(());
    }
    let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().unzip();
    query(SET_LABELS).bind(ordinal).bind(names).bind(values).bind(received_at_ms).execute(connection).await?;
    Ok(())
}

#[async_trait]
impl Store for Postgres {
    async fn claim(&self, call: &NewCall) -> Result<Claim, StoreError> {
        bounded(async {
            let (caller, wacid) = (&call.caller, call.wacid.as_str());
            let mut work = self.begin(Purpose::Calls).await?;
            let connection = work.connection();
            query(LOCK_CALL).bind(wacid).execute(&mut *connection).await?;
            let (generation, hung_up, known): (i64, bool, Option<String>) =
                query_as(CLAIMABLE).bind(wacid).fetch_one(&mut *connection).await?;
            self.check(generation)?;
            let claim = match (known, hung_up) {
                (Some(known), _) => Claim::Duplicate(rows::call_id(&known, "calls.call_id")?),
                (None, true) => Claim::Tombstoned,
                (None, false) => Claim::Claimed,
            };
            if claim == Claim::Claimed {
                let ordinal: i64 = query_scalar(INSERT_CALL)
                    .bind(call.call_id.as_str())
                    .bind(wacid)
                    .bind(call.holder.word())
                    .bind(call.phase)
                    .bind(storable(&call.phone_number_id))
                    .bind(caller.phone_number.as_ref().map_or("", PhoneNumber::digits))
                    .bind(caller.user_id.as_ref().map_or("", UserId::as_str))
                    .bind(storable(caller.name.as_deref().unwrap_or_default()))
                    .bind(call.received_at_ms)
                    .bind(call.ring_until_ms)
                    .bind(generation)
                    .bind(text_of(&call.payloads.deeplink))
                    .bind(text_of(&call.payloads.cta))
                    .bind(text_of(&call.payloads.biz_opaque))
                    .fetch_one(&mut *connection)
                    .await?;
                set_labels(connection, ordinal, call.received_at_ms, &call.labels).await?;
            }
            work.commit().await?;
            Ok(claim)
        })
        .await
    }

    async fn record_hang_up(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<HangUpOutcome, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Calls).await?;
            let connection = work.connection();
            query(LOCK_CALL).bind(wacid.as_str()).execute(&mut *connection).await?;
            let (generation, call_id, is_over): (i64, Option<String>, bool) =
                query_as(ENDED).bind(wacid.as_str()).fetch_one(&mut *connection).await?;
            self.check(generation)?;
            query("DELETE FROM tombstones WHERE hung_up_at_ms < $1")
                .bind(tombstone.hung_up_at_ms - TOMBSTONE_RETENTION_MS)
                .execute(&mut *connection)
                .await?;
            query(
                "INSERT INTO tombstones (wacid, hung_up_at_ms, failed, error_code) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (wacid) DO NOTHING",
            )
            .bind(wacid.as_str())
            .bind(tombstone.hung_up_at_ms)
            .bind(tombstone.failed)
            .bind(tombstone.error_code)
            .execute(&mut *connection)
            .await?;
            work.commit().await?;
            rows::hang_up_outcome(call_id.map(|call_id| (call_id, is_over)))
        })
        .await
    }

    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let row: Option<TombstoneColumns> =
                query_as("SELECT hung_up_at_ms, failed, error_code FROM tombstones WHERE wacid = $1")
                    .bind(wacid.as_str())
                    .fetch_optional(work.connection())
                    .await?;
            work.commit().await?;
            Ok(row.map(Tombstone::from))
        })
        .await
    }

    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError> {
        bounded(self.group.write(call_id, write, self.generation())).await
    }

    async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labelled, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Calls).await?;
            let connection = work.connection();
            let generation: i64 = query_scalar("SELECT generation FROM owner").fetch_one(&mut *connection).await?;
            self.check(generation)?;
            // One change after the other: each sees what the one before left. The columns are read after the lock is had.
            let locked = query("SELECT FROM calls WHERE call_id = $1 FOR NO KEY UPDATE").bind(call_id.as_str());
            locked.execute(&mut *connection).await?;
            let row = one(connection, "call_id = $1", call_id.as_str()).await?;
            let changed = row.as_ref().map(|row| row.labels().map(|labels| labels.changed(change))).transpose()?;
            let (Some(row), Some(Some(labels))) = (row, &changed) else {
                // Nothing is changed; the connection goes on.
                work.commit().await?;
                return Ok(if changed.is_some() { Labelled::TooMany } else { Labelled::Unknown });
            };
            let labels = labels.clone();
            query("DELETE FROM labels WHERE ordinal = $1 AND name = ANY ($2)")
                .bind(row.ordinal)
                .bind(change.remove().collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
            set_labels(connection, row.ordinal, row.received_at_ms, change.set()).await?;
            work.commit().await?;
            Ok(Labelled::Changed(labels))
        })
        .await
    }

    async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Calls).await?;
            let connection = work.connection();
            let generation: i64 = query_scalar("SELECT generation FROM owner").fetch_one(&mut *connection).await?;
            self.check(generation)?;
            query(ADD_PAYLOADS)
                .bind(call_id.as_str())
                .bind(text_of(&payloads.deeplink))
                .bind(text_of(&payloads.cta))
                .bind(text_of(&payloads.biz_opaque))
                .execute(&mut *connection)
                .await?;
            work.commit().await
        })
        .await
    }

    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let row = one(work.connection(), "call_id = $1", call_id.as_str()).await?;
            work.commit().await?;
            row.map(CallRow::try_from).transpose()
        })
        .await
    }

    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let row = one(work.connection(), "wacid = $1", wacid.as_str()).await?;
            work.commit().await?;
            row.map(CallRow::try_from).transpose()
        })
        .await
    }

    async fn calls(&self, search: &Search) -> Result<Vec<CallRow>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Search).await?;
            let mut sql = search_sql::page::<sqlx::Postgres>("", search);
            let rows: Vec<CallColumns> = sql.build_query_as().persistent(false).fetch_all(work.connection()).await?;
            work.commit().await?;
            rows::all(rows)
        })
        .await
    }

    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let rows: Vec<EventColumns> = query_as(
                "SELECT sequence, kind, payload FROM events WHERE call_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
            )
            .bind(call_id.as_str())
            .bind(bound(after))
            .bind(i64::from(limit))
            .fetch_all(work.connection())
            .await?;
            work.commit().await?;
            Ok(rows.into_iter().map(StoredEvent::from).collect())
        })
        .await
    }

    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let rows: Vec<EventColumns> = query_as(
                "SELECT sequence, kind, payload FROM events WHERE call_id = $1 AND kind = $2 ORDER BY sequence",
            )
            .bind(call_id.as_str())
            .bind(kind)
            .fetch_all(work.connection())
            .await?;
            work.commit().await?;
            Ok(rows.into_iter().map(StoredEvent::from).collect())
        })
        .await
    }

    async fn history(
        &self,
        call_id: Option<&CallId>,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let mut query = query_as::<HistoryColumns>(if call_id.is_some() { HISTORY_OF_ONE } else { HISTORY_OF_ALL })
                .bind(bound(after))
                .bind(bound(through))
                .bind(i64::from(limit));
            if let Some(call_id) = call_id {
                query = query.bind(call_id.as_str());
            }
            let rows = query.fetch_all(work.connection()).await?;
            work.commit().await?;
            rows::all(rows)
        })
        .await
    }

    async fn last_position(&self) -> Result<u64, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Positions).await?;
            // Also of events that have been deleted since.
            let last: i64 = query_scalar(
                "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM events_position_seq",
            )
            .fetch_one(work.connection())
            .await?;
            work.commit().await?;
            Ok(last as u64)
        })
        .await
    }

    async fn own_key(&self, name: &str, fresh: [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Keys).await?;
            let connection = work.connection();
            query("INSERT INTO own_keys (name, key) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(name)
                .bind(fresh.as_slice())
                .execute(&mut *connection)
                .await?;
            let key: Vec<u8> =
                query_scalar("SELECT key FROM own_keys WHERE name = $1").bind(name).fetch_one(&mut *connection).await?;
            work.commit().await?;
            key.try_into().map_err(|_| StoreError::Corrupt("own_keys.key"))
        })
        .await
    }

    async fn prune(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Calls).await?;
            let connection = work.connection();
            let generation: i64 = query_scalar("SELECT generation FROM owner").fetch_one(&mut *connection).await?;
            self.check(generation)?;
            let old: Vec<String> =
                query_scalar(PRUNE).bind(before_ms).bind(i64::from(limit)).fetch_all(&mut *connection).await?;
            let deleted = old.len() as u64;
            query("DELETE FROM calls WHERE call_id = ANY ($1)").bind(old).execute(&mut *connection).await?;
            work.commit().await?;
            Ok(deleted)
        })
        .await
    }
}
