//! A real store under a clock that is not: whatever is asked of it is done in a runtime of its own, whose time is that of the
//! world, while the authentication's stands still.
//!
//! tokio lets paused time run on when nothing is to be done; a blocking task is something to be done.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};
use voicebridge_core::{
    identity::{CallId, Wacid},
    labels::LabelChange,
    payloads::Payloads,
};

use crate::store::{
    CallRow, Claim, Database, HangUpOutcome, HistoryRow, KEY_BYTES, Labelled, NewCall, Owner, Search, Store,
    StoreError, StoredEvent, Tombstone, Write, Written,
};

/// See the module.
pub(super) struct Elsewhere {
    store: Arc<dyn Store>,
    database: Database,
    runtime: Arc<Runtime>,
    _owner: Owner,
}

impl Elsewhere {
    pub(super) fn open(url: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (database, owner) = runtime.block_on(async {
            let database = Database::open(url).await.unwrap();
            let owner = database.own_calls(Duration::ZERO).await.unwrap();
            (database, owner)
        });
        Self { store: database.calls(), database, runtime: Arc::new(runtime), _owner: owner }
    }

    /// As it was when it was new.
    pub(super) fn clear(&self) {
        self.runtime.block_on(self.database.clear());
    }

    async fn there<T, F>(&self, work: impl FnOnce(Arc<dyn Store>) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (store, runtime) = (Arc::clone(&self.store), Arc::clone(&self.runtime));
        tokio::task::spawn_blocking(move || runtime.block_on(work(store))).await.unwrap()
    }
}

#[async_trait]
impl Store for Elsewhere {
    async fn claim(&self, call: &NewCall) -> Result<Claim, StoreError> {
        let call = call.clone();
        self.there(move |store| async move { store.claim(&call).await }).await
    }

    async fn record_hang_up(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<HangUpOutcome, StoreError> {
        let (wacid, tombstone) = (wacid.clone(), *tombstone);
        self.there(move |store| async move { store.record_hang_up(&wacid, &tombstone).await }).await
    }

    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError> {
        let wacid = wacid.clone();
        self.there(move |store| async move { store.tombstone(&wacid).await }).await
    }

    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError> {
        let (call_id, write) = (call_id.clone(), write.clone());
        self.there(move |store| async move { store.write(&call_id, &write).await }).await
    }

    async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labelled, StoreError> {
        let (call_id, change) = (call_id.clone(), change.clone());
        self.there(move |store| async move { store.label(&call_id, &change).await }).await
    }

    async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError> {
        let (call_id, payloads) = (call_id.clone(), payloads.clone());
        self.there(move |store| async move { store.add_payloads(&call_id, &payloads).await }).await
    }

    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError> {
        let call_id = call_id.clone();
        self.there(move |store| async move { store.call(&call_id).await }).await
    }

    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError> {
        let wacid = wacid.clone();
        self.there(move |store| async move { store.call_by_wacid(&wacid).await }).await
    }

    async fn calls(&self, search: &Search) -> Result<Vec<CallRow>, StoreError> {
        let search = search.clone();
        self.there(move |store| async move { store.calls(&search).await }).await
    }

    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let call_id = call_id.clone();
        self.there(move |store| async move { store.events(&call_id, after, limit).await }).await
    }

    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError> {
        let (call_id, kind) = (call_id.clone(), kind.to_owned());
        self.there(move |store| async move { store.events_of_kind(&call_id, &kind).await }).await
    }

    async fn history(
        &self,
        call_id: Option<&CallId>,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        let call_id = call_id.cloned();
        self.there(move |store| async move { store.history(call_id.as_ref(), after, through, limit).await }).await
    }

    async fn last_position(&self) -> Result<u64, StoreError> {
        self.there(move |store| async move { store.last_position().await }).await
    }

    async fn own_key(&self, name: &str, fresh: [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StoreError> {
        let name = name.to_owned();
        self.there(move |store| async move { store.own_key(&name, fresh).await }).await
    }

    async fn prune(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.there(move |store| async move { store.prune(before_ms, limit).await }).await
    }
}
