//! Whole tables, from a copy elsewhere, in one transaction.

use std::borrow::Cow;

use super::{
    Postgres,
    work::{Purpose, Work, query, query_as, query_scalar},
};
use crate::store::{
    Contents, StoreError,
    rows::{CallColumns, KeyColumns, OwnKey, WholeEvent, WholeTombstone},
    text::storable,
};

const CONTENTS: &str = "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM events),
            (SELECT count(*) FROM labels), (SELECT count(*) FROM tombstones), (SELECT count(*) FROM api_keys), (SELECT count(*) FROM own_keys),
            (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_position_seq),
            (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM calls_ordinal_seq)";
const CALLS: &str =
    "INSERT INTO calls (ordinal, call_id, wacid, signalling, phase, phone_number_id, caller_phone, caller_user_id,
         caller_name, received_at_ms, ring_until_ms, session_id, node_id, node_url, region, accepted_at_ms, ended_at_ms,
         result, reason, message, upstream_code, last_sequence, node_sequence, deeplink_payload, cta_payload,
         biz_opaque_callback_data, generation)
     SELECT *, 0 FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
         $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[],
         $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::text[], $21::text[], $22::bigint[], $23::bigint[],
         $24::text[], $25::text[], $26::text[])";
const LABELS: &str = "INSERT INTO labels (ordinal, name, value, received_at_ms)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])";
const EVENTS: &str = "INSERT INTO events (position, call_id, sequence, kind, occurred_at_ms, node_sequence, payload)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[])";
const TOMBSTONES: &str = "INSERT INTO tombstones (wacid, hung_up_at_ms, failed, error_code)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::bigint[])";
const KEYS: &str =
    "INSERT INTO api_keys (key_id, hash, name, scopes, created_at_ms, expires_at_ms, revoked_at_ms, last_used_at_ms)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const OWN_KEYS: &str = "INSERT INTO own_keys (name, key) SELECT * FROM unnest($1::text[], $2::bytea[])";
/// 0: none was given yet.
const CONTINUE: &str = "SELECT setval('events_position_seq', greatest($1, 1), $1 > 0),
            setval('calls_ordinal_seq', greatest($2, 1), $2 > 0)";

/// A copy under way; nothing of it stays unless it is committed.
pub(in crate::store) struct Import(Work);

fn each<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

fn optional(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(storable)
}

impl Postgres {
    /// Begins one. `None`: somebody has the calls of this database.
    pub(in crate::store) async fn import(&self) -> Result<Option<Import>, StoreError> {
        let mut work = self.begin(Purpose::Import).await?;
        let is_free: bool = query_scalar("SELECT holder = '' FROM owner").fetch_one(work.connection()).await?;
        Ok(is_free.then_some(Import(work)))
    }
}

impl Import {
    pub(in crate::store) async fn contents(&mut self) -> Result<Contents, StoreError> {
        let (calls, events, labels, tombstones, keys, own_keys, last_position, last_ordinal) =
            query_as(CONTENTS).fetch_one(self.0.connection()).await?;
        Ok(Contents { calls, events, labels, tombstones, keys, own_keys, last_position, last_ordinal })
    }

    pub(in crate::store) async fn add_calls(&mut self, calls: &[CallColumns]) -> Result<(), StoreError> {
        query(CALLS)
            .bind(each(calls, |row| row.ordinal))
            .bind(each(calls, |row| &*row.call_id))
            .bind(each(calls, |row| row.wacid.as_deref()))
            .bind(each(calls, |row| &*row.signalling))
            .bind(each(calls, |row| &*row.phase))
            .bind(each(calls, |row| storable(&row.phone_number_id)))
            .bind(each(calls, |row| storable(&row.caller_phone)))
            .bind(each(calls, |row| storable(&row.caller_user_id)))
            .bind(each(calls, |row| storable(&row.caller_name)))
            .bind(each(calls, |row| row.received_at_ms))
            .bind(each(calls, |row| row.ring_until_ms))
            .bind(each(calls, |row| &*row.session_id))
            .bind(each(calls, |row| &*row.node_id))
            .bind(each(calls, |row| &*row.node_url))
            .bind(each(calls, |row| &*row.region))
            .bind(each(calls, |row| row.accepted_at_ms))
            .bind(each(calls, |row| row.ended_at_ms))
            .bind(each(calls, |row| row.result.as_deref()))
            .bind(each(calls, |row| optional(&row.reason)))
            .bind(each(calls, |row| optional(&row.message)))
            .bind(each(calls, |row| optional(&row.upstream_code)))
            .bind(each(calls, |row| row.last_sequence))
            .bind(each(calls, |row| row.node_sequence))
            .bind(each(calls, |row| storable(&row.deeplink_payload)))
            .bind(each(calls, |row| storable(&row.cta_payload)))
            .bind(each(calls, |row| storable(&row.biz_opaque_callback_data)))
            .execute(self.0.connection())
            .await?;
        self.add_labels(calls).await
    }

    async fn add_labels(&mut self, calls: &[CallColumns]) -> Result<(), StoreError> {
        let (mut ordinals, mut names, mut values, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for call in calls {
            for (name, value) in call.labels()?.iter() {
                ordinals.push(call.ordinal);
                names.push(name.to_owned());
                values.push(storable(value).into_owned());
                times.push(call.received_at_ms);
            }
        }
        query(LABELS).bind(ordinals).bind(names).bind(values).bind(times).execute(self.0.connection()).await?;
        Ok(())
    }

    pub(in crate::store) async fn add_events(&mut self, events: &[WholeEvent]) -> Result<(), StoreError> {
        query(EVENTS)
            .bind(each(events, |row| row.position))
            .bind(each(events, |row| &*row.call_id))
            .bind(each(events, |row| row.sequence))
            .bind(each(events, |row| &*row.kind))
            .bind(each(events, |row| row.occurred_at_ms))
            .bind(each(events, |row| row.node_sequence))
            .bind(each(events, |row| &*row.payload))
            .execute(self.0.connection())
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn add_others(
        &mut self,
        tombstones: &[WholeTombstone],
        keys: &[KeyColumns],
        own_keys: &[OwnKey],
    ) -> Result<(), StoreError> {
        query(TOMBSTONES)
            .bind(each(tombstones, |row| &*row.wacid))
            .bind(each(tombstones, |row| row.tombstone.hung_up_at_ms))
            .bind(each(tombstones, |row| row.tombstone.failed))
            .bind(each(tombstones, |row| row.tombstone.error_code))
            .execute(self.0.connection())
            .await?;
        // A few hundred at most.
        for key in keys {
            query(KEYS)
                .bind(&key.key_id)
                .bind(&key.hash)
                .bind(storable(&key.name))
                .bind(&key.scopes)
                .bind(key.created_at_ms)
                .bind(key.expires_at_ms)
                .bind(key.revoked_at_ms)
                .bind(key.last_used_at_ms)
                .execute(self.0.connection())
                .await?;
        }
        query(OWN_KEYS)
            .bind(each(own_keys, |row| &*row.name))
            .bind(each(own_keys, |row| &*row.key))
            .execute(self.0.connection())
            .await?;
        Ok(())
    }

    /// What is stored from now on comes after what was given at the source, deleted rows included.
    pub(in crate::store) async fn continue_after(&mut self, position: i64, ordinal: i64) -> Result<(), StoreError> {
        query(CONTINUE).bind(position).bind(ordinal).execute(self.0.connection()).await?;
        Ok(())
    }

    pub(in crate::store) async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await
    }
}
