//! Live calls: one task each, found by our id or by Meta's.
//!
//! Everything that can happen to a call goes through here: claims it in the store, hands it to the task that owns it, or
//! answers from the record when it has ended.

mod actor;
mod effects;
mod error;
mod handle;
mod journal;
mod live;
mod place;
mod ports;
mod reconcile;
mod recover;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use voicebridge_core::{
    call_life::{Event, Signalling, SignallingStage, Step, claimed},
    identity::{CallId, CallName, Caller, Wacid},
    termination::{Termination, TerminationResult},
    webhook::{Connect, Terminate},
};
use voicebridge_proto::{media::v1 as media, types::v1 as types};

use effects::LivePorts;
pub(crate) use error::CallError;
use handle::{Handle, Mailbox, Message};
pub(crate) use handle::{OfferAnswer, View};
use live::Live;
use ports::Ports;
pub(crate) use reconcile::reconcile;

use crate::{
    clock::now_ms,
    convert, ids,
    shared::Shared,
    store::{
        CallRow, Change, Claim, HangUpOutcome, Holder, NewCall, SessionPlace, StoreError, Tombstone, Write, Written,
    },
};

/// How long whoever ends a call waits for its record to be closed. Clients wait ten seconds.
const END_ANSWER: Duration = Duration::from_secs(5);

/// What became of one notice of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Claimed,
    Duplicate,
    Stale,
    Terminated,
    Tombstoned,
    Ignored,
}

impl Outcome {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Terminated => "terminated",
            Self::Tombstoned => "tombstoned",
            Self::Ignored => "ignored",
        }
    }
}

/// A notice that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) outcome: Outcome,
    /// Of the call it is about, if there is one.
    pub(crate) call_id: Option<CallId>,
}

/// A call of somebody who holds the signalling.
#[derive(Clone)]
pub(crate) struct SelfHeldStart {
    pub(crate) wacid: Wacid,
    pub(crate) sdp_offer: String,
    pub(crate) caller: Caller,
    pub(crate) agent: Option<types::Agent>,
    pub(crate) holder: Holder,
    /// The business number's id; may be empty.
    pub(crate) phone_number_id: String,
    pub(crate) elapsed: Duration,
}

/// What such a start returns.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) call_id: CallId,
    pub(crate) session_id: String,
    pub(crate) answer: OfferAnswer,
    /// By an earlier request.
    pub(crate) already: bool,
}

/// A call with its offer, about to get a task.
struct TaskStart {
    row: CallRow,
    step: Step,
    offer: Option<place::Offer>,
    /// There is a session to hear of.
    follow: bool,
    /// Fed to the life right after the beginning.
    first: Vec<Event>,
}

/// The calls of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls {
    shared: Arc<Shared>,
    ports: Arc<dyn Ports>,
    live: Arc<Live>,
}

impl Calls {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let ports = Arc::new(LivePorts(Arc::clone(&shared)));
        Self::with_ports(shared, ports)
    }

    fn with_ports(shared: Arc<Shared>, ports: Arc<dyn Ports>) -> Self {
        Self { shared, ports, live: Arc::new(Live::new()) }
    }

    /// Calls that have not ended.
    pub(crate) fn count(&self) -> usize {
        self.live.count()
    }

    /// Their states, by call id.
    pub(crate) fn views(&self) -> Vec<(CallId, Wacid, View)> {
        let mut all = self.live.all();
        all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        all.into_iter().map(|(call_id, wacid, handle)| (call_id, wacid, handle.view())).collect()
    }

    /// The call somebody means, live or ended.
    pub(crate) async fn find(&self, name: &CallName) -> Result<CallId, CallError> {
        if let Some((call_id, handle)) = self.live.find(name)
            && handle.wait(|view| view.claimed).await.claimed
        {
            return Ok(call_id);
        }
        if let Some(call_id) = &name.call_id
            && self.shared.store.call(call_id).await?.is_some()
        {
            return Ok(call_id.clone());
        }
        let row = self.shared.store.call_by_wacid(&name.wacid).await?;
        row.map(|row| row.call_id).ok_or(CallError::NotFound)
    }

    /// A user-initiated call from a webhook. When this returns, the claim is committed.
    pub(crate) async fn connect(&self, connect: Connect, agent: Option<types::Agent>) -> Result<Taken, StoreError> {
        let now = now_ms();
        let limits = self.shared.limits();
        let rang_since_ms =
            connect.timestamp_s.map_or(now, |s| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1_000));
        // A timestamp ahead of our clock is a call of now.
        let age_ms = convert::elapsed_ms(rang_since_ms, now);
        if age_ms > convert::duration_ms(limits.stale) {
            return Ok(Taken { outcome: Outcome::Stale, call_id: None });
        }
        let call_id = ids::call_id(now, rand::random());
        let new = NewCall {
            call_id: call_id.clone(),
            wacid: connect.wacid,
            holder: Holder::Managed,
            phase: "PLACING",
            phone_number_id: connect.phone_number_id.unwrap_or_default(),
            caller: connect.caller,
            received_at_ms: now,
            ring_until_ms: now - age_ms as i64 + convert::duration_ms(limits.ring_budget) as i64,
        };
        let offer = place::Offer { sdp: connect.sdp_offer, agent };
        Ok(match self.claim(new, offer).await? {
            Claim::Claimed => Taken { outcome: Outcome::Claimed, call_id: Some(call_id) },
            Claim::Duplicate(known) => Taken { outcome: Outcome::Duplicate, call_id: Some(known) },
            Claim::Tombstoned => Taken { outcome: Outcome::Tombstoned, call_id: None },
        })
    }

    /// Claims a call and gives it a task. The mailbox exists before the claim, so that a hang-up that comes at the same
    /// moment is not lost between the two.
    ///
    /// Whoever comes second is told so once the first claim is committed; if that fails, theirs is as good.
    async fn claim(&self, new: NewCall, offer: place::Offer) -> Result<Claim, StoreError> {
        let call_id = new.call_id.clone();
        let mailbox = loop {
            if let Some(mailbox) = self.live.reserve(&call_id, &new.wacid) {
                break mailbox;
            }
            let Some((known, handle)) = self.live.by_wacid(&new.wacid) else { continue };
            if handle.wait(|view| view.claimed).await.claimed {
                return Ok(Claim::Duplicate(known));
            }
        };
        let claim = self.shared.store.claim(&new).await;
        if !matches!(claim, Ok(Claim::Claimed)) {
            self.live.release(&call_id);
            if let Ok(Claim::Duplicate(known)) = &claim {
                self.adopt(known, &new.wacid, offer).await?;
            }
            return claim;
        }
        mailbox.view.send_modify(|view| view.claimed = true);
        let signalling = signalling(new.holder);
        // Its place among the calls is known to the store alone.
        let row = CallRow::claimed(new, 0);
        self.spawn(
            TaskStart { row, step: claimed(signalling), offer: Some(offer), follow: false, first: Vec::new() },
            mailbox,
        );
        claim
    }

    /// A call that was claimed by a request which never heard so has no task: it gets one, with this delivery's offer.
    async fn adopt(&self, call_id: &CallId, wacid: &Wacid, offer: place::Offer) -> Result<(), StoreError> {
        if self.shared.draining.is_cancelled() {
            return Ok(());
        }
        let Some(mailbox) = self.live.reserve(call_id, wacid) else { return Ok(()) };
        let row = match self.shared.store.call(call_id).await {
            Ok(Some(row)) if is_just_claimed(&row) => row,
            other => {
                self.live.release(call_id);
                return other.map(drop);
            }
        };
        tracing::info!(%call_id, "a call claimed by a request that did not hear so is taken up");
        mailbox.view.send_modify(|view| view.claimed = true);
        let step = claimed(signalling(row.holder));
        self.spawn(TaskStart { row, step, offer: Some(offer), follow: false, first: Vec::new() }, mailbox);
        Ok(())
    }

    /// Runs a call's task. A panic in it ends that call only, with a reason.
    fn spawn(&self, start: TaskStart, mailbox: Mailbox) {
        let calls = self.clone();
        let call_id = start.row.call_id.clone();
        let ports = Arc::clone(&self.ports);
        let actor = actor::Actor::new(Arc::clone(&self.shared), ports, start.row, start.offer, mailbox);
        self.shared.tasks.spawn(async move {
            let ran = AssertUnwindSafe(actor.run(start.step, start.follow, start.first)).catch_unwind().await;
            calls.live.release(&call_id);
            if ran.is_err() {
                tracing::error!(%call_id, "the call's task panicked; the call is ended");
                calls.end_panicked(&call_id).await;
            }
        });
    }

    /// The task is gone but the call is not: tell Meta and the node from the record. A second panic closes it at once.
    async fn end_panicked(&self, call_id: &CallId) {
        const REASON: &str = "INTERNAL";
        let termination = Termination::new(
            TerminationResult::Failed,
            REASON,
            "The control plane ended the call after an internal error; its log says where.",
        );
        let store = &self.shared.store;
        let ending = async {
            let Some(row) = store.call(call_id).await?.filter(|row| row.ended_at_ms.is_none()) else { return Ok(()) };
            let again = row.termination.as_ref().is_some_and(|termination| termination.reason == REASON);
            let mut write = Write { after: row.last_sequence, ..Write::default() };
            let mut change = Change { termination: Some(termination.clone()), ..Change::default() };
            if again {
                let now = now_ms();
                change = Change { phase: Some("ENDED"), ended_at_ms: Some(now), ..change };
                write.add([actor::last_event(&row, &termination, now)], change);
            } else {
                write.add([], change);
            }
            let written = store.write(call_id, &write).await?;
            if let Written::Stored { position: Some(position) } = written {
                self.shared.hub.stored(position);
            }
            if !again {
                self.restore(CallRow { termination: Some(termination), ..row });
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = ending.await {
            tracing::error!(%call_id, error = &error as &dyn std::error::Error, "a panicked call could not be ended");
        }
    }

    /// Meta's word that a call is over. When this returns, it is committed.
    pub(crate) async fn terminate(&self, terminate: Terminate) -> Result<Taken, StoreError> {
        let tombstone =
            Tombstone { hung_up_at_ms: now_ms(), failed: terminate.failed, error_code: terminate.error_code };
        let known = self.shared.store.record_hang_up(&terminate.wacid, &tombstone).await?;
        if let Some((_, handle)) = self.live.by_wacid(&terminate.wacid) {
            let event = Event::WebhookTerminate { failed: terminate.failed, code: terminate.error_code };
            handle.send(Message::Life(event)).await;
            let call_id = match known {
                HangUpOutcome::Live(call_id) | HangUpOutcome::Ended(call_id) => Some(call_id),
                // It is being claimed, which may fail.
                HangUpOutcome::Unknown => None,
            };
            return Ok(Taken { outcome: Outcome::Terminated, call_id });
        }
        Ok(match known {
            HangUpOutcome::Unknown => Taken { outcome: Outcome::Tombstoned, call_id: None },
            HangUpOutcome::Live(call_id) => {
                // Without a task: claimed by a request that did not hear so, or this process is ending; then the next one
                // finds the tombstone.
                if !self.shared.draining.is_cancelled() {
                    self.restore_one(&call_id).await?;
                }
                Taken { outcome: Outcome::Terminated, call_id: Some(call_id) }
            }
            HangUpOutcome::Ended(call_id) => Taken { outcome: Outcome::Duplicate, call_id: Some(call_id) },
        })
    }

    /// A call of somebody who holds the signalling: placed, and the answer returned. The same id again: the same answer.
    pub(crate) async fn start(&self, start: SelfHeldStart) -> Result<Started, CallError> {
        if self.shared.draining.is_cancelled() {
            return Err(CallError::Draining);
        }
        let now = now_ms();
        let received_at_ms = now - convert::duration_ms(start.elapsed.min(self.shared.limits().stale)) as i64;
        let new = NewCall {
            call_id: ids::call_id(now, rand::random()),
            wacid: start.wacid.clone(),
            holder: start.holder,
            phase: "PLACING",
            phone_number_id: start.phone_number_id.clone(),
            caller: start.caller.clone(),
            received_at_ms,
            ring_until_ms: received_at_ms + convert::duration_ms(self.shared.limits().ring_budget) as i64,
        };
        let offer = place::Offer { sdp: start.sdp_offer.clone(), agent: start.agent.clone() };
        // Not to be cut off between claim and task when the caller goes away.
        let (calls, call_id) = (self.clone(), new.call_id.clone());
        let claim = match self.known_by_our_id(&start.wacid).await? {
            Some(known) => Claim::Duplicate(known),
            None => {
                let claim = tokio::spawn(async move { calls.claim(new, offer).await }).await;
                claim.map_err(|_| CallError::Internal)??
            }
        };
        let (call_id, already) = match claim {
            Claim::Tombstoned => {
                return Err(CallError::Ended(Termination::new(
                    TerminationResult::Abandoned,
                    voicebridge_core::termination::reason::CALLER_ABANDONED,
                    "The call's end was reported before its beginning.",
                )));
            }
            // Ours with Meta: its answer is nobody else's business.
            Claim::Duplicate(known) if self.is_managed(&known).await? => return Err(CallError::Managed),
            Claim::Claimed => (call_id, false),
            Claim::Duplicate(known) => (known, true),
        };
        let Some(handle) = self.live.get(&call_id) else { return Err(self.ended(&call_id).await?) };
        let view =
            handle.wait(|view| view.answer.is_some() || view.session.is_some() || view.termination.is_some()).await;
        if let Some(termination) = view.termination {
            return Err(CallError::Ended(termination));
        }
        let session = view.session.ok_or(CallError::Internal)?;
        match view.answer {
            Some(answer) => Ok(Started { call_id, session_id: session.session_id, answer, already }),
            // Placed before a restart of ours: the node has the answer, and gives it for the same session id.
            None => {
                let request = media::StartSessionRequest {
                    session_id: session.session_id.clone(),
                    call_id: call_id.as_str().to_owned(),
                    sdp_offer: start.sdp_offer,
                    elapsed_ms: convert::elapsed_ms(received_at_ms, now),
                    signalling_mode: convert::mode(start.holder).into(),
                    agent: start.agent,
                    caller: Some(convert::caller_to_wire(&start.caller)),
                };
                let answer = effects::start_session(&self.shared, &session.node_url, request).await?;
                Ok(Started { call_id, session_id: session.session_id, answer, already })
            }
        }
    }

    /// Of a caller that repeats its request with the id that the answer to the first one gave.
    async fn known_by_our_id(&self, name: &Wacid) -> Result<Option<CallId>, StoreError> {
        let Ok(call_id) = CallId::parse(name.as_str()) else { return Ok(None) };
        Ok(self.shared.store.call(&call_id).await?.map(|row| row.call_id))
    }

    async fn is_managed(&self, call_id: &CallId) -> Result<bool, StoreError> {
        Ok(self.shared.store.call(call_id).await?.is_some_and(|row| row.holder == Holder::Managed))
    }

    /// Whoever holds the signalling reports a stage. Returns the stage the session is at.
    pub(crate) async fn advance(&self, call_id: &CallId, stage: SignallingStage) -> Result<types::SignallingStage, CallError> {
        let Some(handle) = self.live.get(call_id) else { return Err(self.ended(call_id).await?) };
        let (reply, answer) = oneshot::channel();
        handle.send(Message::Advance { stage, reply }).await;
        match answer.await {
            Ok(answer) => answer,
            // The call ended before it got to it.
            Err(_) => Err(self.ended(call_id).await?),
        }
    }

    /// Ends a call and returns the termination that stands: once the record is closed, or, if Meta, the node or the store
    /// take longer than [`END_ANSWER`], before that.
    pub(crate) async fn end(&self, name: &CallName, reason: String) -> Result<Termination, CallError> {
        if let Some((_, handle)) = self.live.find(name) {
            handle.send(Message::Life(Event::ApiEnd { reason })).await;
            let closed = tokio::time::timeout(END_ANSWER, handle.wait(|view| view.closed)).await;
            let view = closed.unwrap_or_else(|_| handle.view());
            if let Some(termination) = view.termination {
                return Ok(termination);
            }
        }
        let call_id = match self.find(name).await {
            Ok(call_id) => call_id,
            // The end may have overtaken the beginning, as Meta's webhooks do.
            Err(CallError::NotFound) => {
                self.record_hang_up(&name.wacid).await?;
                // Begun between the two.
                if let Some((_, handle)) = self.live.find(name) {
                    handle.send(Message::Life(Event::WebhookTerminate { failed: false, code: None })).await;
                }
                return Err(CallError::NotFound);
            }
            Err(error) => return Err(error),
        };
        let row = self.shared.store.call(&call_id).await?.ok_or(CallError::NotFound)?;
        match row.termination {
            Some(termination) => Ok(termination),
            // Live without a task: this process is ending, and the next finds the tombstone.
            None if self.shared.draining.is_cancelled() => {
                self.record_hang_up(&row.wacid).await?;
                Err(CallError::Draining)
            }
            None => Err(CallError::Internal),
        }
    }

    /// An API caller's word that a call is over, as good as Meta's.
    async fn record_hang_up(&self, wacid: &Wacid) -> Result<(), StoreError> {
        let by_api = Tombstone { hung_up_at_ms: now_ms(), failed: false, error_code: None };
        self.shared.store.record_hang_up(wacid, &by_api).await?;
        Ok(())
    }

    /// Where the session of a live call is.
    pub(crate) async fn session(&self, call_id: &CallId) -> Result<SessionPlace, CallError> {
        match self.live.get(call_id).map(|handle| handle.view()) {
            Some(View { termination: Some(termination), .. }) => Err(CallError::Ended(termination)),
            Some(View { session: Some(session), .. }) => Ok(session),
            Some(_) => Err(CallError::NotPlaced),
            None => Err(self.ended(call_id).await?),
        }
    }

    /// The latest statistics of a live call.
    pub(crate) fn statistics(&self, call_id: &CallId) -> Option<types::MediaStatistics> {
        self.live.get(call_id).and_then(|handle| handle.view().statistics)
    }

    /// Why there is no task: the call has ended, or never was.
    async fn ended(&self, call_id: &CallId) -> Result<CallError, CallError> {
        let row = self.shared.store.call(call_id).await?.ok_or(CallError::NotFound)?;
        Ok(row.termination.map_or(CallError::Internal, CallError::Ended))
    }

    /// Waits until nothing is being set up or ended, then leaves the rest to the nodes. Bounded: set-up has the ring
    /// budget, ending its own deadline; what the store has not taken by then is left to the next process.
    pub(crate) async fn drain(&self) {
        let limits = self.shared.limits();
        if tokio::time::timeout(limits.ring_budget + limits.ending, self.idle()).await.is_err() {
            tracing::warn!(calls = self.count(), "some calls could not be brought to rest; the next process ends them");
        }
        self.shared.detach.cancel();
        self.shared.tasks.close();
        // What waits for the lease may do so for ever.
        if tokio::time::timeout(limits.ending, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.shared.tasks.len(),
                "some requests are not over; the next process makes them again"
            );
        }
    }

    /// Until nothing is being set up or ended.
    async fn idle(&self) {
        loop {
            let busy: Vec<Handle> =
                self.live.all().into_iter().map(|(.., handle)| handle).filter(|handle| handle.view().is_busy).collect();
            let Some(handle) = busy.first() else { break };
            tracing::info!(calls = busy.len(), "waiting for calls that are being set up or ended");
            handle.wait(|view| !view.is_busy).await;
            // A task that is gone is removed by itself in a moment.
            tokio::task::yield_now().await;
        }
    }
}

/// Nothing was done for it, nor is anything known of it but its beginning.
fn is_just_claimed(row: &CallRow) -> bool {
    let is_open = row.ended_at_ms.is_none() && row.termination.is_none();
    is_open && row.phase == "PLACING" && row.session.is_none() && row.last_sequence == 0
}

pub(crate) fn signalling(holder: Holder) -> Signalling {
    match holder {
        Holder::Managed => Signalling::Managed,
        Holder::SelfStaged | Holder::SelfImmediate => Signalling::SelfHeld,
    }
}

#[cfg(test)]
mod tests;
