//! Gives calls their tasks, one each: to one that was claimed, to one that is in the store and has none, and to one whose
//! task panicked.
//!
//! Whoever asks has reserved the call's place among the live ones, or lets it be done here; it is released when the task is
//! gone. Does not say which calls there are.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use voicebridge_core::{
    call_life::{Event, claimed, restored},
    identity::CallId,
    termination::{Termination, TerminationResult},
};

use super::{
    actor::{self, Beginning},
    environment::Environment,
    handle::Mailbox,
    live::Live,
    offer::Offer,
};
use crate::{
    clock::now_ms,
    convert,
    store::{CallRow, Change, StoreError, Write, Written},
};

/// Of a call whose task panicked.
const PANICKED: &str = "INTERNAL";

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tasks {
    environment: Environment,
    live: Arc<Live>,
}

impl Tasks {
    pub(super) const fn new(environment: Environment, live: Arc<Live>) -> Self {
        Self { environment, live }
    }

    /// To a call that is claimed and for which nothing was done yet.
    pub(super) fn begin(&self, row: CallRow, offer: Offer, mailbox: Mailbox) {
        mailbox.set_claimed();
        let step = claimed(row.holder.signalling());
        self.spawn(Beginning { row, step, offer: Some(offer), events: Vec::new() }, mailbox);
    }

    /// To a call in the store, unless it has one. `events`: what is stored and may not have had its consequences.
    pub(super) fn restore(&self, row: CallRow, events: Vec<Event>) {
        let Some(mailbox) = self.live.reserve(&row.call_id, &row.wacid, None) else { return };
        let is_over = events.iter().any(|event| matches!(event, Event::SessionEnded(_)));
        let has_session = row.session.is_some() && !is_over;
        let step = restored(row.holder.signalling(), &row.phase, row.termination.clone(), has_session);
        tracing::info!(call_id = %row.call_id, stored = row.phase, phase = step.phase.word(), "call restored");
        self.spawn(Beginning { row, step, offer: None, events }, mailbox);
    }

    /// A panic in the task ends that call only, with a reason.
    fn spawn(&self, beginning: Beginning, mailbox: Mailbox) {
        let (tasks, call_id) = (self.clone(), beginning.row.call_id.clone());
        let run = actor::run(self.environment.clone(), beginning, mailbox);
        self.environment.lifetime.spawn(async move {
            let ran = AssertUnwindSafe(run).catch_unwind().await;
            tasks.live.release(&call_id);
            if ran.is_err() {
                tracing::error!(%call_id, "the call's task panicked; the call is ended");
                if let Err(error) = tasks.end_panicked(&call_id).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%call_id, error, "a panicked call could not be ended");
                }
            }
        });
    }

    /// The task is gone but the call is not: Meta and the node are told from the record. A second panic closes it at once.
    async fn end_panicked(&self, call_id: &CallId) -> Result<(), StoreError> {
        let termination = Termination::new(
            TerminationResult::Failed,
            PANICKED,
            "The control plane ended the call after an internal error; its log says where.",
        );
        let Environment { store, hub, .. } = &self.environment;
        let Some(row) = store.call(call_id).await?.filter(|row| row.ended_at_ms.is_none()) else { return Ok(()) };
        let again = row.termination.as_ref().is_some_and(|termination| termination.reason == PANICKED);
        let mut write = Write { after: row.last_sequence, ..Write::default() };
        let mut change = Change { termination: Some(termination.clone()), ..Change::default() };
        if again {
            let now = now_ms();
            change = Change { phase: Some("ENDED"), ended_at_ms: Some(now), ..change };
            let last = actor::call_ended(&row, &termination, now);
            write.add([convert::own_event_to_row(&row, now, last)], change);
        } else {
            write.add([], change);
        }
        if let Written::Stored { position: Some(position) } = store.write(call_id, &write).await? {
            hub.stored(position);
        }
        if !again {
            self.restore(CallRow { termination: Some(termination), ..row }, Vec::new());
        }
        Ok(())
    }
}
