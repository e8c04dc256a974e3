//! The life of one inbound call: `(phase, event) -> (phase, effects)`, exhaustive and without time of its own.
//!
//! ```text
//! Placing -> PreAccepting -> Connecting -> Accepting -> Active -> Ending -> Ended
//!    |            |              |             |                    ^
//!    +------------+--------------+-------------+--------------------+
//! ```
//!
//! Whoever drives it executes the effects in the order given and feeds back what came of them as events. Deadlines are
//! set by kind; their lengths are the driver's. `Ending` waits until Meta and the node have been told, or its deadline
//! fires, then closes the record. Invariants, each of them tested over arbitrary event sequences:
//! one [`Effect::Close`], and it is the last effect; `Accept` only after `pre_accept` returned 200, with the identical
//! SDP; an [`Effect::EndSession`] for every session that did not end by itself; for a call whose signalling somebody else
//! holds no Graph effect but the hang-up, and none when its holder or Meta knows of the end.
//!
//! Does not know of retries, sockets, the store, or who is told.

use std::sync::Arc;

use crate::termination::Termination;

mod ending;
mod step;

pub use step::{claimed, restored, step};

/// Who talks to Meta about this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalling {
    /// We do: webhook in, Graph out.
    Managed,
    /// The API caller does, and reports the stages.
    SelfHeld,
}

/// An SDP answer. Carries ICE credentials: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sdp(Arc<str>);

impl Sdp {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text, byte for byte.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Sdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sdp({} bytes)", self.0.len())
    }
}

/// What `accept` waits for: the transport, and either the AI or the end of the patience with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// ICE and DTLS are up.
    pub transport: bool,
    /// The AI confirmed its session.
    pub provider: bool,
    /// We waited for the AI long enough.
    pub patience_over: bool,
}

impl Readiness {
    /// The call may be answered.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        self.transport && (self.provider || self.patience_over)
    }
}

/// Where a call stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Claimed; looking for a node.
    Placing {
        /// Patience may run out this early.
        readiness: Readiness,
    },
    /// The answer is on its way to the caller.
    PreAccepting {
        /// What was sent.
        answer: Sdp,
        /// So far.
        readiness: Readiness,
    },
    /// The caller has our answer; waiting for transport and AI.
    Connecting {
        /// What `accept` will carry.
        answer: Sdp,
        /// So far.
        readiness: Readiness,
    },
    /// `accept` is out.
    Accepting,
    /// Answered.
    Active,
    /// Telling Meta and the node.
    Ending(Ending),
    /// The record is closed.
    Ended,
}

/// What is still to be done before the record can be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Stands from here on.
    pub termination: Termination,
    /// What Meta has yet to be told.
    pub hang_up_state: HangUpState,
    /// What the node has yet to give back.
    pub slot: Slot,
}

/// What Meta has yet to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpState {
    /// Nothing: it knows, or did not answer.
    Settled,
    /// `accept` is out; its answer decides between terminate and reject.
    AfterAccept,
    /// `reject` or `terminate` is out.
    Awaiting(GraphAction),
}

/// What the node holds for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A placement is out: there may be a session soon.
    Starting,
    /// A session that has not ended.
    Live,
    /// Nothing.
    Free,
}

impl Phase {
    /// Upper-case word for rows, logs and metric labels.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Placing { .. } => "PLACING",
            Self::PreAccepting { .. } => "PRE_ACCEPTING",
            Self::Connecting { .. } => "CONNECTING",
            Self::Accepting => "ACCEPTING",
            Self::Active => "ACTIVE",
            Self::Ending(_) => "ENDING",
            Self::Ended => "ENDED",
        }
    }

    /// The termination, once it stands.
    #[must_use]
    pub const fn termination(&self) -> Option<&Termination> {
        match self {
            Self::Ending(ending) => Some(&ending.termination),
            _ => None,
        }
    }
}

/// A request to Meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphAction {
    /// Hands over our SDP while it still rings.
    PreAccept,
    /// Answers the call.
    Accept,
    /// Turns it down before it was answered.
    Reject,
    /// Ends it afterwards.
    Terminate,
}

impl GraphAction {
    /// Meta's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PreAccept => "pre_accept",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Terminate => "terminate",
        }
    }
}

/// How far somebody's signalling has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignallingStage {
    /// The far side has our answer.
    AnswerDelivered,
    /// The call is answered.
    Accepted,
}

/// What Graph made of a request, retries included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphOutcome {
    /// 200.
    Ok,
    /// Meta said no. Its words may hold a number and stay with the request's own record.
    Refused {
        /// Meta's error code, or the HTTP status when there was none.
        code: String,
    },
    /// No usable answer.
    Unreachable {
        /// `timeout`, `connection`, or the HTTP status.
        code: String,
    },
}

/// What can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadlineKind {
    /// The time Meta lets it ring, from the webhook's timestamp.
    Ring,
    /// The time we wait for the AI before answering without it, from the webhook's arrival.
    Patience,
    /// The time we give Graph and the node to hear of the end.
    Ending,
}

/// What can happen to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node took the call and answered its offer.
    Placed {
        /// The answer.
        answer: Sdp,
    },
    /// No node took it.
    PlacementFailed,
    /// A node refused the offer itself: no other will do.
    OfferRejected {
        /// Name of the lint rule, e.g. `no-audio`.
        rule: String,
        /// For a person.
        message: String,
    },
    /// A Graph request came to its end.
    GraphAnswered {
        /// Which.
        action: GraphAction,
        /// How.
        outcome: GraphOutcome,
    },
    /// ICE and DTLS are up.
    TransportConnected,
    /// The AI confirmed its session.
    ProviderReady,
    /// RTP flows both ways. Answers a self-held call nobody advances.
    BridgeActive,
    /// The session is over, with the node's reason: AI refusal, agent's hang-up, transport, a limit.
    SessionEnded(Termination),
    /// Meta says the call is over.
    WebhookTerminate {
        /// `FAILED`.
        failed: bool,
        /// Meta's error code.
        code: Option<i64>,
    },
    /// An API caller ends it; the reason is recorded.
    ApiEnd {
        /// Which.
        reason: EndReason,
    },
    /// Who holds the signalling reports how far it has come.
    Advance(SignallingStage),
    /// Time is up.
    Deadline(DeadlineKind),
    /// The node is gone, or knows nothing of the session.
    NodeLost,
}

/// Why an API caller ends a call. Who holds the signalling may speak for Meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The business wants it over.
    ApiHangup,
    /// The caller hung up, as Meta says.
    UserHangup,
    /// Meta ended it with an error.
    MetaFailed,
    /// Meta ended it because audio did not arrive.
    MediaTimeout,
    /// Graph refused what answering needs.
    GraphRefused,
    /// Graph did not answer.
    GraphUnreachable,
    /// It could not be answered while it rang.
    RingTimeout,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Find a node and start a session; ends in `Placed`, `PlacementFailed` or `OfferRejected`.
    Place,
    /// Ask Graph; ends in `GraphAnswered`. Requests of one call go out one after another. Of a self-held call only
    /// `reject` and `terminate`, and its holder may be told instead.
    Graph {
        /// Which.
        action: GraphAction,
        /// For `pre_accept` and `accept`.
        answer: Option<Sdp>,
    },
    /// Tell the node how far signalling has come.
    AdvanceSession(SignallingStage),
    /// Have the node end the session, whichever node has it by now; ends in `SessionEnded` or `NodeLost`.
    EndSession(Termination),
    /// Start a deadline.
    SetDeadline(DeadlineKind),
    /// Stop it.
    ClearDeadline(DeadlineKind),
    /// A stage operators know was reached.
    Reached(Stage),
    /// Close the record. Always the last.
    Close(Termination),
}

/// Stages the control plane itself reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `WA_CALL_CONNECT`
    Connect,
    /// `WA_CALL_PRE_ACCEPTED`
    PreAccepted,
    /// `WA_CALL_ACCEPTED`
    Accepted,
}

/// Where a step leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// From now on.
    pub phase: Phase,
    /// To be executed.
    pub effects: Vec<Effect>,
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
