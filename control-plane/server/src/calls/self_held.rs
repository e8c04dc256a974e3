//! Calls of somebody who holds the signalling: started, and told how far it has come.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;
use tonic::Status;
use voicebridge_core::{
    call_life::SignallingStage,
    identity::{CallId, Caller, Wacid},
    labels::Labels,
    payloads::Payloads,
    termination::{Termination, TerminationResult, reason},
};
use voicebridge_proto::types::v1 as types;
use voicebridge_telemetry::status;

use super::{
    CallError,
    admission::Admission,
    environment::Environment,
    handle::Message,
    live::Live,
    lookup::Lookup,
    offer::{Offer, OfferAnswer},
    start_arguments::{self, StartArguments},
};
use crate::{
    clock::now_ms,
    convert, ids,
    store::{CallRow, Claim, Holder, NewCall, StoreError},
};

/// A call to be started.
#[derive(Clone)]
pub(crate) struct SelfHeldStart {
    pub(crate) wacid: Wacid,
    pub(crate) sdp_offer: String,
    pub(crate) caller: Caller,
    pub(crate) agent: Option<types::Agent>,
    pub(crate) labels: Labels,
    pub(crate) payloads: Payloads,
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

/// A node's reason when a session was started with other arguments.
const ARGUMENTS_DIFFER: &str = "START_ARGUMENTS_DIFFER";

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct SelfHeld {
    environment: Environment,
    live: Arc<Live>,
    admission: Admission,
    lookup: Lookup,
}

impl SelfHeld {
    pub(super) const fn new(environment: Environment, live: Arc<Live>, admission: Admission, lookup: Lookup) -> Self {
        Self { environment, live, admission, lookup }
    }

    /// Placed, and the answer returned. The same id again: the same answer.
    pub(super) async fn start(&self, start: SelfHeldStart) -> Result<Started, CallError> {
        if self.environment.lifetime.is_draining() {
            return Err(CallError::Draining);
        }
        let arguments = Arc::new(StartArguments::of(&start));
        let limits = &self.environment.limits;
        let now = now_ms();
        let received_at_ms = now - convert::duration_ms(start.elapsed.min(limits.stale)) as i64;
        let new = NewCall {
            call_id: ids::call_id(now, rand::random()),
            wacid: start.wacid,
            holder: start.holder,
            phase: "PLACING",
            phone_number_id: start.phone_number_id,
            caller: start.caller,
            labels: start.labels,
            payloads: start.payloads,
            received_at_ms,
            ring_until_ms: received_at_ms + convert::duration_ms(limits.ring_budget) as i64,
        };
        let offer = Offer { sdp: start.sdp_offer, agent: start.agent };
        let (call_id, already) = match self.claim(new.clone(), offer.clone(), Arc::clone(&arguments)).await? {
            Claim::Tombstoned => {
                return Err(CallError::Ended(Termination::new(
                    TerminationResult::Abandoned,
                    reason::CALLER_ABANDONED,
                    "The call's end was reported before its beginning.",
                )));
            }
            Claim::Claimed => (new.call_id.clone(), false),
            Claim::Duplicate(known) => {
                self.is_the_same(&known, &new, &arguments).await?;
                (known, true)
            }
        };
        let Some(handle) = self.live.get(&call_id) else { return Err(self.lookup.ended(&call_id).await?) };
        let view =
            handle.wait(|view| view.answer.is_some() || view.session.is_some() || view.termination.is_some()).await;
        if let Some(termination) = view.termination {
            return Err(CallError::Ended(termination));
        }
        let session = view.session.ok_or(CallError::Internal)?;
        let answer = match view.answer {
            Some(answer) => answer,
            // Placed before a restart of ours: the node has the answer, and gives it for the same session id.
            None => {
                let call = CallRow::claimed(NewCall { call_id: call_id.clone(), ..new }, 0);
                let request = offer.request(&call, &session.session_id);
                self.environment.ports.given_answer(&session, request).await.map_err(node_refusal)?
            }
        };
        Ok(Started { call_id, session_id: session.session_id, answer, already })
    }

    async fn claim(&self, new: NewCall, offer: Offer, arguments: Arc<StartArguments>) -> Result<Claim, CallError> {
        if let Some(known) = self.known_by_our_id(&new.wacid).await? {
            return Ok(Claim::Duplicate(known));
        }
        // Not to be cut off between claim and task when the caller goes away.
        let admission = self.admission.clone();
        let claim = tokio::spawn(async move { admission.claim(new, offer, Some(arguments)).await }).await;
        Ok(claim.map_err(|_| CallError::Internal)??)
    }

    /// Of a caller that repeats its request with the id that the answer to the first one gave.
    async fn known_by_our_id(&self, name: &Wacid) -> Result<Option<CallId>, StoreError> {
        let Ok(call_id) = CallId::parse(name.as_str()) else { return Ok(None) };
        Ok(self.environment.store.call(&call_id).await?.map(|row| row.call_id))
    }

    /// Whether a call that was begun before is the one that is asked for. After a restart of ours the row says the most of it,
    /// and the node the rest when it is asked for its answer.
    async fn is_the_same(&self, known: &CallId, new: &NewCall, arguments: &StartArguments) -> Result<(), CallError> {
        let Some(row) = self.environment.store.call(known).await? else { return Ok(()) };
        // Ours with Meta: its answer is nobody else's business.
        if row.holder == Holder::Managed {
            return Err(CallError::Managed);
        }
        // What ended says how, to whoever asks.
        let Some(handle) = self.live.get(known) else { return Ok(()) };
        let difference = match handle.arguments() {
            Some(first) => first.difference(arguments),
            None => start_arguments::differs_from_row(new, &row),
        };
        difference.map_or(Ok(()), |field| Err(CallError::ArgumentsDiffer(field.to_owned())))
    }

    /// Its holder reports a stage. Returns the stage the session is at.
    pub(super) async fn advance(
        &self,
        call_id: &CallId,
        stage: SignallingStage,
    ) -> Result<types::SignallingStage, CallError> {
        let Some(handle) = self.live.get(call_id) else { return Err(self.lookup.ended(call_id).await?) };
        let (reply, answer) = oneshot::channel();
        handle.send(Message::Advance { stage, reply }).await;
        match answer.await {
            Ok(answer) => answer,
            // The call ended before it got to it.
            Err(_) => Err(self.lookup.ended(call_id).await?),
        }
    }
}

/// Of a node that is asked again for the answer it gave.
fn node_refusal(refusal: Status) -> CallError {
    match status::reason(&refusal).as_deref() {
        Some(ARGUMENTS_DIFFER) => CallError::ArgumentsDiffer(status::metadata(&refusal, "field").unwrap_or_default()),
        _ => CallError::Node(refusal),
    }
}
