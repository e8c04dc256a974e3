//! After a restart: calls that had not ended get their tasks back.

use voicebridge_core::call_life::{Event, restored};

use super::{Begun, Calls, signalling};
use crate::store::{CallRow, Page, StoreError};

/// Calls read at a time.
const PAGE: u32 = 500;

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
                // A hang-up whose call was not told before we went away.
                let hangup =
                    self.shared.store.tombstone(&row.call_id).await?.map(|tombstone| Event::WebhookTerminate {
                        failed: tombstone.failed,
                        code: tombstone.error_code,
                    });
                // One that was ending may have nothing left to wait for at its node.
                let is_over = !self.shared.store.events_of_kind(&row.call_id, "session_ended").await?.is_empty();
                let has_session = row.session.is_some() && !is_over;
                self.restore_with(row, hangup, has_session);
            }
        }
    }

    pub(super) fn restore(&self, row: CallRow) {
        let has_session = row.session.is_some();
        self.restore_with(row, None, has_session);
    }

    fn restore_with(&self, row: CallRow, first: Option<Event>, has_session: bool) {
        let Some(mailbox) = self.reserve(&row.call_id) else { return };
        let step = restored(signalling(row.holder), &row.phase, row.termination.clone(), has_session);
        tracing::info!(call_id = %row.call_id, stored = row.phase, phase = step.phase.word(), "call restored");
        self.spawn(Begun { row, step, offer: None, first }, mailbox);
    }
}
