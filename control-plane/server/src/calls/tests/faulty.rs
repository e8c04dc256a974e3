//! A store that now and then fails, before or after it did what it was asked for.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use voicebridge_core::{
    identity::{CallId, Wacid},
    labels::LabelChange,
    payloads::Payloads,
};

use super::draw;
use crate::store::{
    CallRow, Claim, HangUpOutcome, HistoryRow, KEY_BYTES, Labelled, NewCall, Search, Store, StoreError, StoredEvent,
    Tombstone, Write, Written,
};

/// When a store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    None,
    /// Some requests, and now and then all for a while, as the seed says.
    Some,
    /// So many writes of a claimed call are taken, then none for so long.
    Outage(u64, Duration),
}

#[derive(Debug)]
struct Schedule {
    state: u64,
    /// In a hundred.
    odds: u64,
    down_until: Option<Instant>,
    writes: u64,
}

/// See the module.
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Store>,
    faults: Faults,
    schedule: Mutex<Schedule>,
}

enum Fault {
    None,
    /// Nothing was done.
    Before,
    /// It was done, and the answer got lost.
    After,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Store>, seed: u64, faults: Faults) -> Self {
        let mut state = seed ^ 0xFA17;
        let odds = [5, 20, 50][draw(&mut state, 3) as usize];
        Self { inner, faults, schedule: Mutex::new(Schedule { state, odds, down_until: None, writes: 0 }) }
    }

    fn next(&self, is_write: bool) -> Fault {
        let mut schedule = self.schedule.lock().unwrap();
        let now = Instant::now();
        match self.faults {
            Faults::None => Fault::None,
            Faults::Outage(taken, length) => {
                if is_write && schedule.writes < taken {
                    schedule.writes += 1;
                    return Fault::None;
                }
                if is_write && now < *schedule.down_until.get_or_insert(now + length) {
                    Fault::Before
                } else {
                    Fault::None
                }
            }
            Faults::Some => {
                // Of another life of the process, whose clock was another.
                let is_down =
                    schedule.down_until.is_some_and(|until| now < until && until - now < Duration::from_secs(4));
                let odds = schedule.odds;
                match draw(&mut schedule.state, 100) {
                    _ if is_down => Fault::Before,
                    0 => {
                        let length = Duration::from_millis(draw(&mut schedule.state, 3_000));
                        schedule.down_until = Some(now + length);
                        Fault::Before
                    }
                    chance if chance < odds / 2 => Fault::Before,
                    chance if chance < odds => Fault::After,
                    _ => Fault::None,
                }
            }
        }
    }

    async fn answer<T>(
        &self,
        is_write: bool,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.next(is_write);
        let took = if self.faults == Faults::Some { draw(&mut self.schedule.lock().unwrap().state, 40) } else { 1 };
        tokio::time::sleep(Duration::from_millis(took)).await;
        let failed = || Err(StoreError::Database("down".into()));
        match fault {
            Fault::None => work.await,
            Fault::Before => failed(),
            Fault::After => {
                work.await?;
                tokio::time::sleep(Duration::from_millis(took)).await;
                failed()
            }
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn claim(&self, call: &NewCall) -> Result<Claim, StoreError> {
        self.answer(false, self.inner.claim(call)).await
    }

    async fn record_hang_up(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<HangUpOutcome, StoreError> {
        self.answer(false, self.inner.record_hang_up(wacid, tombstone)).await
    }

    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError> {
        self.answer(false, self.inner.tombstone(wacid)).await
    }

    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError> {
        self.answer(true, self.inner.write(call_id, write)).await
    }

    async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labelled, StoreError> {
        self.answer(false, self.inner.label(call_id, change)).await
    }

    async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError> {
        self.answer(false, self.inner.add_payloads(call_id, payloads)).await
    }

    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError> {
        self.answer(false, self.inner.call(call_id)).await
    }

    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError> {
        self.answer(false, self.inner.call_by_wacid(wacid)).await
    }

    async fn calls(&self, search: &Search) -> Result<Vec<CallRow>, StoreError> {
        self.answer(false, self.inner.calls(search)).await
    }

    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.answer(false, self.inner.events(call_id, after, limit)).await
    }

    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError> {
        self.answer(false, self.inner.events_of_kind(call_id, kind)).await
    }

    async fn history(
        &self,
        call_id: Option<&CallId>,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.answer(false, self.inner.history(call_id, after, through, limit)).await
    }

    async fn last_position(&self) -> Result<u64, StoreError> {
        self.inner.last_position().await
    }

    async fn own_key(&self, name: &str, fresh: [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StoreError> {
        self.inner.own_key(name, fresh).await
    }

    async fn prune(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune(before_ms, limit).await
    }
}
