//! How others end a call: Meta, by its webhook, and API callers. Live or not, and also before it has begun.

use std::{sync::Arc, time::Duration};

use voicebridge_core::{
    call_life::{EndReason, Event},
    identity::{CallName, Wacid},
    termination::Termination,
    webhook::Terminate,
};

use super::{
    CallError,
    handle::Message,
    live::Live,
    lookup::Lookup,
    recovery::Recovery,
    taken::{Outcome, Taken},
};
use crate::{
    clock::now_ms,
    lifetime::Lifetime,
    store::{HangUpOutcome, Store, StoreError, Tombstone},
};

/// How long whoever ends a call waits for its record to be closed. Clients wait ten seconds.
const END_ANSWER: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct HangUps {
    store: Arc<dyn Store>,
    live: Arc<Live>,
    recovery: Recovery,
    lookup: Lookup,
    lifetime: Lifetime,
}

impl HangUps {
    pub(super) fn new(
        store: Arc<dyn Store>,
        live: Arc<Live>,
        recovery: Recovery,
        lookup: Lookup,
        lifetime: Lifetime,
    ) -> Self {
        Self { store, live, recovery, lookup, lifetime }
    }

    /// Meta's word that a call is over. When this returns, it is committed.
    pub(super) async fn by_meta(&self, terminate: Terminate) -> Result<Taken, StoreError> {
        let tombstone =
            Tombstone { hung_up_at_ms: now_ms(), failed: terminate.failed, error_code: terminate.error_code };
        let known = self.store.record_hang_up(&terminate.wacid, &tombstone).await?;
        if let Some((live_id, handle)) = self.live.by_wacid(&terminate.wacid) {
            let event = Event::WebhookTerminate { failed: terminate.failed, code: terminate.error_code };
            handle.send(Message::Life(event)).await;
            let call_id = match known {
                HangUpOutcome::Live(call_id) | HangUpOutcome::Ended(call_id) => Some(call_id),
                // It is being claimed, which may fail.
                HangUpOutcome::Unknown => handle.wait(|view| view.claimed).await.claimed.then_some(live_id),
            };
            return Ok(Taken { outcome: Outcome::Terminated, call_id });
        }
        Ok(match known {
            HangUpOutcome::Unknown => Taken { outcome: Outcome::Tombstoned, call_id: None },
            HangUpOutcome::Live(call_id) => {
                // Without a task: claimed by a request that did not hear so, or this process is ending; then the next one
                // finds the tombstone.
                if !self.lifetime.is_draining() {
                    self.recovery.one(&call_id).await?;
                }
                Taken { outcome: Outcome::Terminated, call_id: Some(call_id) }
            }
            HangUpOutcome::Ended(call_id) => Taken { outcome: Outcome::Duplicate, call_id: Some(call_id) },
        })
    }

    /// Ends a call for an API caller. Returns the termination that stands: once the record is closed or, if Meta, the node
    /// or the store take longer than [`END_ANSWER`], before that.
    pub(super) async fn by_api(&self, name: &CallName, reason: EndReason) -> Result<Termination, CallError> {
        if let Some(termination) = self.end_live(name, reason).await {
            return Ok(termination);
        }
        let call_id = match self.lookup.find(name).await {
            Ok(call_id) => call_id,
            // The end may have overtaken the beginning, as Meta's webhooks do.
            Err(CallError::NotFound) => {
                self.record(&name.wacid).await?;
                // Begun between the two.
                if let Some((_, handle)) = self.live.find(name) {
                    handle.send(Message::Life(Event::WebhookTerminate { failed: false, code: None })).await;
                }
                return Err(CallError::NotFound);
            }
            Err(error) => return Err(error),
        };
        let row = self.store.call(&call_id).await?.ok_or(CallError::NotFound)?;
        match row.termination {
            Some(termination) => Ok(termination),
            // Live without a task: this process is ending, and the next finds the tombstone.
            None if self.lifetime.is_draining() => {
                self.record(&row.wacid).await?;
                Err(CallError::Draining)
            }
            // Between two tasks: it gets the next one now.
            None => {
                self.recovery.one(&call_id).await?;
                self.end_live(name, reason).await.ok_or(CallError::Held)
            }
        }
    }

    /// The termination that stands, if it has a task.
    async fn end_live(&self, name: &CallName, reason: EndReason) -> Option<Termination> {
        let (_, handle) = self.live.find(name)?;
        handle.send(Message::Life(Event::ApiEnd { reason })).await;
        let closed = tokio::time::timeout(END_ANSWER, handle.wait(|view| view.closed)).await;
        closed.unwrap_or_else(|_| handle.view()).termination
    }

    /// An API caller's word that a call is over, as good as Meta's.
    async fn record(&self, wacid: &Wacid) -> Result<(), StoreError> {
        let by_api = Tombstone { hung_up_at_ms: now_ms(), failed: false, error_code: None };
        self.store.record_hang_up(wacid, &by_api).await?;
        Ok(())
    }
}
