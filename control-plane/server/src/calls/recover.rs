//! After a restart: calls that had not ended get their tasks back.

use voicebridge_core::{
    call_life::{Event, restored},
    identity::CallId,
};

use super::{Calls, TaskStart, signalling};
use crate::{
    convert,
    store::{CallRow, Page, StoreError},
};

/// Calls read at a time.
const PAGE: u32 = 500;
/// Kind of the node's last event.
const SESSION_ENDED: &str = "session_ended";

impl Calls {
    /// To be done before anything is served. Returns how many calls are known again.
    pub(crate) async fn recover(&self) -> Result<usize, StoreError> {
        let (mut before, mut count) = (None, 0);
        loop {
            let page = self.shared.store.calls(Page { before, size: PAGE, live_only: true }).await?;
            let Some(last) = page.last() else { return Ok(count) };
            before = Some(last.ordinal);
            count += page.len();
            for row in page {
                let first = self.untold(&row).await?;
                let is_over = first.iter().any(|event| matches!(event, Event::SessionEnded(_)));
                self.restore_with(row, first, is_over);
            }
        }
    }

    /// What is stored and may not have had its consequences before the process went away: the end of the session, which its
    /// node tells once only, and Meta's word, of which the sender believes that it was taken.
    async fn untold(&self, row: &CallRow) -> Result<Vec<Event>, StoreError> {
        let mut untold = Vec::new();
        for event in self.shared.store.events_of_kind(&row.call_id, SESSION_ENDED).await? {
            let event =
                convert::event_from_row(&row.call_id, &event).map_err(|_| StoreError::Corrupt("events.payload"))?;
            // One of a session before: the call went on at another node.
            let ours = row.session.as_ref().is_some_and(|session| session.session_id == event.session_id);
            untold.extend(event.kind.as_ref().filter(|_| ours).and_then(convert::life_event));
        }
        let hangup = self.shared.store.tombstone(&row.wacid).await?;
        untold.extend(hangup.map(|hangup| Event::WebhookTerminate { failed: hangup.failed, code: hangup.error_code }));
        Ok(untold)
    }

    /// A live call without a task gets one.
    pub(super) async fn restore_one(&self, call_id: &CallId) -> Result<(), StoreError> {
        let Some(row) = self.shared.store.call(call_id).await?.filter(|row| row.ended_at_ms.is_none()) else {
            return Ok(());
        };
        let first = self.untold(&row).await?;
        let is_over = first.iter().any(|event| matches!(event, Event::SessionEnded(_)));
        self.restore_with(row, first, is_over);
        Ok(())
    }

    pub(super) fn restore(&self, row: CallRow) {
        self.restore_with(row, Vec::new(), false);
    }

    fn restore_with(&self, row: CallRow, first: Vec<Event>, is_over: bool) {
        let Some(mailbox) = self.live.reserve(&row.call_id, &row.wacid) else { return };
        let follow = row.session.is_some() && !is_over;
        let step = restored(signalling(row.holder), &row.phase, row.termination.clone(), follow);
        tracing::info!(call_id = %row.call_id, stored = row.phase, phase = step.phase.word(), "call restored");
        self.spawn(TaskStart { row, step, offer: None, follow, first }, mailbox);
    }
}
