//! Calls, their events and tombstones in SQLite.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use voicebridge_core::{
    identity::{CallId, PhoneNumber, UserId, Wacid},
    labels::{LabelChange, Labels},
    payloads::Payloads,
};

use super::Sqlite;
use crate::store::{
    CallRow, Change, Claim, HangUpOutcome, HistoryRow, KEY_BYTES, Labelled, NewCall, Search, Store, StoreError,
    StoredEvent, TOMBSTONE_RETENTION_MS, Tombstone, Write, Written,
    rows::{self, CallColumns, EventColumns, HistoryColumns, TombstoneColumns},
    search_sql,
    text::storable,
};

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
const ADD_PAYLOADS: &str = "UPDATE calls SET
         deeplink_payload = CASE WHEN deeplink_payload = '' THEN ?2 ELSE deeplink_payload END,
         cta_payload = CASE WHEN cta_payload = '' THEN ?3 ELSE cta_payload END,
         biz_opaque_callback_data = CASE WHEN biz_opaque_callback_data = '' THEN ?4 ELSE biz_opaque_callback_data END
     WHERE call_id = ?1";
const HISTORY_COLUMNS: &str = "SELECT position, events.call_id, sequence, kind, payload, phone_number_id, caller_phone
     FROM events JOIN calls USING (call_id)";

fn text_of(payload: &Option<String>) -> &str {
    payload.as_deref().unwrap_or_default()
}

/// One call by this column.
fn by(column: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {} FROM calls WHERE {column} = ?1", <sqlx::Sqlite as search_sql::Dialect>::CALL))
}

async fn set_labels(
    transaction: &mut sqlx::SqliteConnection,
    ordinal: i64,
    received_at_ms: i64,
    labels: &Labels,
) -> Result<(), StoreError> {
    for (name, value) in labels.iter() {
        sqlx::query(
            "INSERT INTO labels (ordinal, name, value, received_at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (ordinal, name) DO UPDATE SET value = excluded.value",
        )
        .bind(ordinal)
        .bind(name)
        .bind(value)
        .bind(received_at_ms)
        .execute(&mut *transaction)
        .await?;
    }
    Ok(())
}

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
            return Ok(Claim::Duplicate(rows::call_id(&known, "calls.call_id")?));
        }
        let hung_up: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tombstones WHERE wacid = ?1)")
            .bind(call.wacid.as_str())
            .fetch_one(&mut *transaction)
            .await?;
        if hung_up {
            return Ok(Claim::Tombstoned);
        }
        let inserted = sqlx::query(
            "INSERT INTO calls (call_id, wacid, signalling, phase, phone_number_id, caller_phone, caller_user_id,
                                caller_name, received_at_ms, ring_until_ms, deeplink_payload, cta_payload,
                                biz_opaque_callback_data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .bind(call.call_id.as_str())
        .bind(call.wacid.as_str())
        .bind(call.holder.word())
        .bind(call.phase)
        .bind(storable(&call.phone_number_id))
        .bind(caller.phone_number.as_ref().map_or("", PhoneNumber::digits))
        .bind(caller.user_id.as_ref().map_or("", UserId::as_str))
        .bind(storable(caller.name.as_deref().unwrap_or_default()))
        .bind(call.received_at_ms)
        .bind(call.ring_until_ms)
        .bind(text_of(&call.payloads.deeplink))
        .bind(text_of(&call.payloads.cta))
        .bind(text_of(&call.payloads.biz_opaque))
        .execute(&mut *transaction)
        .await?;
        set_labels(&mut transaction, inserted.last_insert_rowid(), call.received_at_ms, &call.labels).await?;
        transaction.commit().await?;
        Ok(Claim::Claimed)
    }

    async fn record_hang_up(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<HangUpOutcome, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM tombstones WHERE hung_up_at_ms < ?1")
            .bind(tombstone.hung_up_at_ms - TOMBSTONE_RETENTION_MS)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO tombstones (wacid, hung_up_at_ms, failed, error_code) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (wacid) DO NOTHING",
        )
        .bind(wacid.as_str())
        .bind(tombstone.hung_up_at_ms)
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
        rows::hang_up_outcome(known)
    }

    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError> {
        let row: Option<TombstoneColumns> =
            sqlx::query_as("SELECT hung_up_at_ms, failed, error_code FROM tombstones WHERE wacid = ?1")
                .bind(wacid.as_str())
                .fetch_optional(&self.reader)
                .await?;
        Ok(row.map(Tombstone::from))
    }

    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let stored: Option<(i64, bool)> =
            sqlx::query_as("SELECT last_sequence, ended_at_ms IS NOT NULL FROM calls WHERE call_id = ?1")
                .bind(call_id.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
        let Some((stored, is_closed)) = stored else { return Ok(Written::Refused) };
        let (after, last) = (write.after as i64, write.last() as i64);
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
            .bind(session.map(|session| storable(&session.session_id)))
            .bind(session.map(|session| storable(&session.node_id)))
            .bind(session.map(|session| storable(&session.node_url)))
            .bind(session.map(|session| storable(&session.region)))
            .bind(*accepted_at_ms)
            .bind(termination.map(|termination| termination.result.word()))
            .bind(termination.map(|termination| storable(&termination.reason)))
            .bind(termination.map(|termination| storable(&termination.message)))
            .bind(termination.map(|termination| storable(&termination.upstream_code)))
            .bind(*ended_at_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Written::Stored { position })
    }

    async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labelled, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<CallColumns> =
            sqlx::query_as(by("call_id")).bind(call_id.as_str()).fetch_optional(&mut *transaction).await?;
        let Some(row) = row else { return Ok(Labelled::Unknown) };
        let Some(labels) = row.labels()?.changed(change) else { return Ok(Labelled::TooMany) };
        for name in change.remove() {
            sqlx::query("DELETE FROM labels WHERE ordinal = ?1 AND name = ?2")
                .bind(row.ordinal)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
        }
        set_labels(&mut transaction, row.ordinal, row.received_at_ms, change.set()).await?;
        transaction.commit().await?;
        Ok(Labelled::Changed(labels))
    }

    async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError> {
        sqlx::query(ADD_PAYLOADS)
            .bind(call_id.as_str())
            .bind(text_of(&payloads.deeplink))
            .bind(text_of(&payloads.cta))
            .bind(text_of(&payloads.biz_opaque))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError> {
        let row: Option<CallColumns> =
            sqlx::query_as(by("call_id")).bind(call_id.as_str()).fetch_optional(&self.reader).await?;
        row.map(CallRow::try_from).transpose()
    }

    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError> {
        let row: Option<CallColumns> =
            sqlx::query_as(by("wacid")).bind(wacid.as_str()).fetch_optional(&self.reader).await?;
        row.map(CallRow::try_from).transpose()
    }

    async fn calls(&self, search: &Search) -> Result<Vec<CallRow>, StoreError> {
        let mut sql = search_sql::page::<sqlx::Sqlite>("", search);
        // As many statements as there are kinds of searches: none is kept.
        let rows: Vec<CallColumns> = sql.build_query_as().persistent(false).fetch_all(&self.reader).await?;
        rows::all(rows)
    }

    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventColumns> = sqlx::query_as(
            "SELECT sequence, kind, payload FROM events WHERE call_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
        )
        .bind(call_id.as_str())
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(StoredEvent::from).collect())
    }

    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventColumns> = sqlx::query_as(
            "SELECT sequence, kind, payload FROM events WHERE call_id = ?1 AND kind = ?2 ORDER BY sequence",
        )
        .bind(call_id.as_str())
        .bind(kind)
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(StoredEvent::from).collect())
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
        let sql = AssertSqlSafe(format!("{HISTORY_COLUMNS} {order}"));
        let bound = |position| i64::try_from(position).unwrap_or(i64::MAX);
        let mut query =
            sqlx::query_as::<_, HistoryColumns>(sql).bind(bound(after)).bind(bound(through)).bind(i64::from(limit));
        if let Some(call_id) = call_id {
            query = query.bind(call_id.as_str());
        }
        rows::all(query.fetch_all(&self.reader).await?)
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
