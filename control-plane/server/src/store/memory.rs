//! A store that forgets everything with its process; for tests, which may have it fail.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use voicebridge_core::{
    identity::{CallId, Wacid},
    labels::LabelChange,
    payloads::Payloads,
};

use super::{
    CallOrder, CallPlace, CallRow, Change, Claim, HangUpOutcome, HistoryRow, KEY_BYTES, LAST_KIND, Labelled, NewCall,
    NewEvent, Search, Store, StoreError, StoredEvent, TOMBSTONE_RETENTION_MS, Tombstone, Write, Written,
};

#[derive(Debug)]
struct Event {
    position: u64,
    call_id: CallId,
    sequence: u64,
    event: NewEvent,
}

impl Event {
    fn stored(&self) -> StoredEvent {
        let is_last = self.event.kind == LAST_KIND;
        StoredEvent { sequence: self.sequence, payload: self.event.payload.clone(), is_last }
    }
}

#[derive(Debug, Default)]
struct Tables {
    calls: Vec<CallRow>,
    ordinals: i64,
    events: Vec<Event>,
    position: u64,
    tombstones: BTreeMap<Wacid, Tombstone>,
    keys: BTreeMap<String, [u8; KEY_BYTES]>,
}

impl Tables {
    fn call(&mut self, call_id: &CallId) -> Option<&mut CallRow> {
        self.calls.iter_mut().find(|row| row.call_id == *call_id)
    }

    fn call_by_wacid(&self, wacid: &Wacid) -> Option<&CallRow> {
        self.calls.iter().find(|row| row.wacid == *wacid)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Tables>);

impl Memory {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn claim(&self, call: &NewCall) -> Result<Claim, StoreError> {
        let mut tables = self.tables();
        if let Some(row) = tables.call_by_wacid(&call.wacid) {
            return Ok(Claim::Duplicate(row.call_id.clone()));
        }
        if tables.tombstones.contains_key(&call.wacid) {
            return Ok(Claim::Tombstoned);
        }
        tables.ordinals += 1;
        let row = CallRow::claimed(call.clone(), tables.ordinals);
        tables.calls.push(row);
        Ok(Claim::Claimed)
    }

    async fn record_hang_up(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<HangUpOutcome, StoreError> {
        let mut tables = self.tables();
        let before_ms = tombstone.hung_up_at_ms - TOMBSTONE_RETENTION_MS;
        tables.tombstones.retain(|_, tombstone| tombstone.hung_up_at_ms >= before_ms);
        tables.tombstones.entry(wacid.clone()).or_insert(*tombstone);
        Ok(match tables.call_by_wacid(wacid) {
            None => HangUpOutcome::Unknown,
            Some(row) if row.ended_at_ms.is_none() => HangUpOutcome::Live(row.call_id.clone()),
            Some(row) => HangUpOutcome::Ended(row.call_id.clone()),
        })
    }

    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError> {
        Ok(self.tables().tombstones.get(wacid).copied())
    }

    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError> {
        let mut tables = self.tables();
        let last = write.last();
        let Some(row) = tables.call(call_id) else { return Ok(Written::Refused) };
        let (stored, is_closed) = (row.last_sequence, row.ended_at_ms.is_some());
        if stored == last && last > write.after && is_closed == write.change.ended_at_ms.is_some() {
            let event = tables.events.iter().find(|event| event.call_id == *call_id && event.sequence == last);
            return Ok(Written::Stored { position: event.map(|event| event.position) });
        }
        if is_closed || stored != write.after {
            return Ok(Written::Refused);
        }
        row.last_sequence = last;
        let Change { phase, session, accepted_at_ms, termination, ended_at_ms } = write.change.clone();
        if let Some(session) = session {
            if row.session.as_ref().is_none_or(|before| before.session_id != session.session_id) {
                row.node_sequence = 0;
            }
            row.session = Some(session);
        }
        row.node_sequence = write.node_sequence().unwrap_or(row.node_sequence);
        row.phase = phase.map_or_else(|| row.phase.clone(), str::to_owned);
        row.accepted_at_ms = row.accepted_at_ms.or(accepted_at_ms);
        row.termination = row.termination.take().or(termination);
        row.ended_at_ms = ended_at_ms;
        let mut position = None;
        for (event, sequence) in write.events.iter().zip(stored + 1..) {
            tables.position += 1;
            position = Some(tables.position);
            let event = Event { position: tables.position, call_id: call_id.clone(), sequence, event: event.clone() };
            tables.events.push(event);
        }
        Ok(Written::Stored { position })
    }

    async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labelled, StoreError> {
        let mut tables = self.tables();
        let Some(row) = tables.call(call_id) else { return Ok(Labelled::Unknown) };
        let Some(labels) = row.labels.clone().changed(change) else { return Ok(Labelled::TooMany) };
        row.labels = labels.clone();
        Ok(Labelled::Changed(labels))
    }

    async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError> {
        if let Some(row) = self.tables().call(call_id) {
            let known = std::mem::take(&mut row.payloads);
            let Payloads { deeplink, cta, biz_opaque } = payloads.clone();
            row.payloads = Payloads {
                deeplink: known.deeplink.or(deeplink),
                cta: known.cta.or(cta),
                biz_opaque: known.biz_opaque.or(biz_opaque),
            };
        }
        Ok(())
    }

    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError> {
        Ok(self.tables().call(call_id).cloned())
    }

    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError> {
        Ok(self.tables().call_by_wacid(wacid).cloned())
    }

    async fn calls(&self, search: &Search) -> Result<Vec<CallRow>, StoreError> {
        let tables = self.tables();
        let mut wanted: Vec<&CallRow> = tables.calls.iter().filter(|row| search.wants(row)).collect();
        wanted.sort_by_key(|row| CallPlace::of(row));
        if search.order == CallOrder::NewestFirst {
            wanted.reverse();
        }
        Ok(wanted.into_iter().take(search.size as usize).cloned().collect())
    }

    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.tables();
        let events = tables.events.iter().filter(|event| event.call_id == *call_id && event.sequence > after);
        Ok(events.take(limit as usize).map(Event::stored).collect())
    }

    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.tables();
        let events = tables.events.iter().filter(|event| event.call_id == *call_id && event.event.kind == kind);
        Ok(events.map(Event::stored).collect())
    }

    async fn history(
        &self,
        call_id: Option<&CallId>,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        let mut tables = self.tables();
        let Tables { calls, events, .. } = &mut *tables;
        let wanted = events.iter().filter(|event| {
            event.position > after
                && event.position <= through
                && call_id.is_none_or(|call_id| event.call_id == *call_id)
        });
        let rows = wanted.take(limit as usize).filter_map(|event| {
            let row = calls.iter().find(|row| row.call_id == event.call_id)?;
            let phone = row.caller.phone_number.as_ref();
            Some(HistoryRow {
                position: event.position,
                call_id: event.call_id.clone(),
                phone_number_id: row.phone_number_id.clone(),
                caller_phone: phone.map_or_else(String::new, |phone| phone.digits().to_owned()),
                event: event.stored(),
            })
        });
        Ok(rows.collect())
    }

    async fn last_position(&self) -> Result<u64, StoreError> {
        Ok(self.tables().position)
    }

    async fn own_key(&self, name: &str, fresh: [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StoreError> {
        Ok(*self.tables().keys.entry(name.to_owned()).or_insert(fresh))
    }

    async fn prune(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let mut ended: Vec<(i64, CallId)> = tables
            .calls
            .iter()
            .filter_map(|row| row.ended_at_ms.filter(|at| *at < before_ms).map(|at| (at, row.call_id.clone())))
            .collect();
        ended.sort_by_key(|(at, _)| *at);
        ended.truncate(limit as usize);
        let is_ended = |call_id: &CallId| ended.iter().any(|(_, ended)| ended == call_id);
        tables.events.retain(|event| !is_ended(&event.call_id));
        tables.calls.retain(|row| !is_ended(&row.call_id));
        Ok(ended.len() as u64)
    }
}
