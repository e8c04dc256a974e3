//! Calls in the store that have not ended and have no task get one: after a restart all of them, later the one that is asked
//! for.

use std::sync::Arc;

use voicebridge_core::{call_life::Event, identity::CallId};

use super::tasks::Tasks;
use crate::{
    convert,
    store::{CallRow, Page, Store, StoreError},
};

/// Calls read at a time.
const PAGE: u32 = 500;
/// Kind of the node's last event.
const SESSION_ENDED: &str = "session_ended";

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recovery {
    store: Arc<dyn Store>,
    tasks: Tasks,
}

impl Recovery {
    pub(super) fn new(store: Arc<dyn Store>, tasks: Tasks) -> Self {
        Self { store, tasks }
    }

    /// To be done before anything is served. Returns how many calls are known again.
    pub(super) async fn all(&self) -> Result<usize, StoreError> {
        let (mut before, mut count) = (None, 0);
        loop {
            let page = self.store.calls(Page { before, size: PAGE, live_only: true }).await?;
            let Some(last) = page.last() else { return Ok(count) };
            before = Some(last.ordinal);
            count += page.len();
            for row in page {
                self.restore(row).await?;
            }
        }
    }

    /// A live call without a task gets one.
    pub(super) async fn one(&self, call_id: &CallId) -> Result<(), StoreError> {
        match self.store.call(call_id).await? {
            Some(row) if row.ended_at_ms.is_none() => self.restore(row).await,
            _ => Ok(()),
        }
    }

    async fn restore(&self, row: CallRow) -> Result<(), StoreError> {
        let events = self.without_consequences(&row).await?;
        self.tasks.restore(row, events);
        Ok(())
    }

    /// What is stored and may not have had its consequences before the process went away: the end of the session, which its
    /// node tells once only, and Meta's word, of which the sender believes that it was taken.
    async fn without_consequences(&self, row: &CallRow) -> Result<Vec<Event>, StoreError> {
        let mut found = Vec::new();
        for event in self.store.events_of_kind(&row.call_id, SESSION_ENDED).await? {
            let event =
                convert::event_from_row(&row.call_id, &event).map_err(|_| StoreError::Corrupt("events.payload"))?;
            // One of a session before: the call went on at another node.
            let ours = row.session.as_ref().is_some_and(|session| session.session_id == event.session_id);
            found.extend(event.kind.as_ref().filter(|_| ours).and_then(convert::life_event));
        }
        let hang_up = self.store.tombstone(&row.wacid).await?;
        found.extend(
            hang_up.map(|hang_up| Event::WebhookTerminate { failed: hang_up.failed, code: hang_up.error_code }),
        );
        Ok(found)
    }
}
