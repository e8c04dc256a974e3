//! Gives calls their tasks, one each: to one that was claimed, to one that is in the store and has none, to one whose task
//! panicked, and to one whose record went back in time.
//!
//! Whoever asks has reserved the call's place among the live ones, or lets it be done here; it is released when the task is
//! gone. Does not say which calls there are.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use voicebridge_core::{
    call_life::{Event, claimed, restored},
    identity::CallId,
    termination::{Termination, TerminationResult},
};

use super::{
    actor::{self, Beginning, Ended},
    environment::Environment,
    handle::Mailbox,
    live::Live,
    offer::Offer,
    unhandled,
};
use crate::{
    clock::now_ms,
    convert,
    store::{CallRow, Change, StoreError, Write, Written},
};

/// Before a call whose record turned out to be another is read, and between two tries.
const RESTORE_PAUSE: Duration = Duration::from_secs(1);
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

    /// To a live call in the store, unless it has one. False: its place is taken by a claim of its Meta's id under way, which
    /// will find it stored.
    pub(super) async fn restore(&self, row: CallRow) -> Result<bool, StoreError> {
        let events = unhandled::events(&*self.environment.store, &row).await?;
        let call_id = row.call_id.clone();
        self.restore_with(row, events);
        Ok(self.live.get(&call_id).is_some())
    }

    /// As [`Tasks::restore`], to the call of this id; true also when it needs none.
    pub(super) async fn restore_by_id(&self, call_id: &CallId) -> Result<bool, StoreError> {
        match self.environment.store.call(call_id).await? {
            Some(row) if row.ended_at_ms.is_none() => self.restore(row).await,
            _ => Ok(true),
        }
    }

    fn restore_with(&self, row: CallRow, events: Vec<Event>) {
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
            match ran {
                Ok(Ended::InTime) => {}
                Ok(Ended::RecordDiffers) => tasks.restore_again(&call_id).await,
                Err(_) => {
                    tracing::error!(%call_id, "the call's task panicked; the call is ended");
                    if let Err(error) = tasks.end_panicked(&call_id).await {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(%call_id, error, "a panicked call could not be ended");
                    }
                }
            }
        });
    }

    /// A live call whose record is not what its task wrote: the database went back in time, as after a failover to a replica
    /// that had not heard of the last writes. It goes on from what is stored; its node tells again what was lost.
    async fn restore_again(&self, call_id: &CallId) {
        let restoring = async {
            loop {
                tokio::time::sleep(RESTORE_PAUSE).await;
                // Who has lost the calls waits here until the process ends.
                self.environment.ports.may_act().await;
                match self.restore_by_id(call_id).await {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(%call_id, error, "the call's record cannot be read: it is tried again");
                    }
                }
            }
        };
        tokio::select! {
            () = restoring => {}
            () = self.environment.lifetime.detached() => {}
        }
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
            self.restore_with(CallRow { termination: Some(termination), ..row }, Vec::new());
        }
        Ok(())
    }
}
