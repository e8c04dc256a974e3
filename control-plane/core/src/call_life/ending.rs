//! How a call ends: who is told, what is waited for, and what the record says.

use super::{
    DeadlineKind, Effect, EndReason, Ending, GraphAction, GraphOutcome, HangUpState, Phase, Signalling, Slot, Step,
};
use crate::termination::{Termination, TerminationResult as Outcome, reason};

/// The phase-independent part of an ending: how Meta is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    /// Meta told us, or whoever holds the signalling did, or is being told by the answer to a request of theirs.
    Known,
    /// Not answered yet: reject.
    Reject,
    /// Answered: terminate (wanted for correct billing even when the media is gone).
    Terminate,
    /// `accept` is out: its answer decides.
    AfterAccept,
}

/// For an end that whoever holds the signalling knows of.
pub(super) const fn known_to_holder(signalling: Signalling, hang_up: HangUp) -> HangUp {
    match signalling {
        Signalling::Managed => hang_up,
        Signalling::SelfHeld => HangUp::Known,
    }
}

/// Enters `Ending`, or `Ended` when nobody needs to be told.
pub(super) fn end(signalling: Signalling, termination: Termination, hang_up: HangUp, slot: Slot) -> Step {
    let mut effects = vec![Effect::ClearDeadline(DeadlineKind::Ring), Effect::ClearDeadline(DeadlineKind::Patience)];
    let hang_up_state = match (signalling, hang_up) {
        (_, HangUp::Known) => HangUpState::Settled,
        (_, HangUp::Reject) => HangUpState::Awaiting(GraphAction::Reject),
        (_, HangUp::Terminate) => HangUpState::Awaiting(GraphAction::Terminate),
        (Signalling::Managed, HangUp::AfterAccept) => HangUpState::AfterAccept,
        // Its accept is not ours to wait for.
        (Signalling::SelfHeld, HangUp::AfterAccept) => HangUpState::Awaiting(GraphAction::Terminate),
    };
    if let HangUpState::Awaiting(action) = hang_up_state {
        effects.push(Effect::Graph { action, answer: None });
    }
    if slot == Slot::Live {
        effects.push(Effect::EndSession(termination.clone()));
    }
    effects.push(Effect::SetDeadline(DeadlineKind::Ending));
    settle(Ending { termination, hang_up_state, slot }, effects)
}

/// Closes the record when nothing is left to wait for.
pub(super) fn settle(ending: Ending, mut effects: Vec<Effect>) -> Step {
    if ending.hang_up_state == HangUpState::Settled && ending.slot == Slot::Free {
        effects.push(Effect::ClearDeadline(DeadlineKind::Ending));
        effects.push(Effect::Close(ending.termination));
        Step { phase: Phase::Ended, effects }
    } else {
        Step { phase: Phase::Ending(ending), effects }
    }
}

/// A Graph answer while ending.
pub(super) fn graph_answered(mut ending: Ending, action: GraphAction, outcome: &GraphOutcome) -> Step {
    let next = match (ending.hang_up_state, action, outcome) {
        // After an accept that may have worked only terminate is right.
        (HangUpState::AfterAccept, GraphAction::Accept, GraphOutcome::Ok | GraphOutcome::Unreachable { .. }) => {
            HangUpState::Awaiting(GraphAction::Terminate)
        }
        (HangUpState::AfterAccept, GraphAction::Accept, GraphOutcome::Refused { .. }) => {
            HangUpState::Awaiting(GraphAction::Reject)
        }
        // Graph will not reject any more: the call counts as answered there.
        (HangUpState::Awaiting(GraphAction::Reject), GraphAction::Reject, GraphOutcome::Refused { .. }) => {
            HangUpState::Awaiting(GraphAction::Terminate)
        }
        (HangUpState::Awaiting(awaited), _, _) if awaited == action => HangUpState::Settled,
        // The answer to a request from before the end.
        (hang_up_state, _, _) => hang_up_state,
    };
    let mut effects = Vec::new();
    if let (true, HangUpState::Awaiting(action)) = (next != ending.hang_up_state, next) {
        effects.push(Effect::Graph { action, answer: None });
    }
    ending.hang_up_state = next;
    settle(ending, effects)
}

/// What the record says when Meta ends a call.
pub(super) fn by_webhook(answered: bool, failed: bool, code: Option<i64>) -> Termination {
    match code {
        // Client received, or sent, no media for too long, or ended without any media.
        Some(code @ 138_021..=138_023) => Termination::new(
            Outcome::Failed,
            reason::MEDIA_TIMEOUT,
            "The caller's app ended the call because audio did not arrive; check the media node's UDP reachability.",
        )
        .with_code(code.to_string()),
        Some(code) => Termination::new(Outcome::Failed, reason::META_FAILED, "Meta ended the call with an error.")
            .with_code(code.to_string()),
        None if !answered => Termination::new(
            Outcome::Abandoned,
            reason::CALLER_ABANDONED,
            "The caller hung up, or Meta gave up, before the call was answered.",
        ),
        None if failed => Termination::new(
            Outcome::Failed,
            reason::META_FAILED,
            "Meta ended the call as failed without giving a code.",
        ),
        None => Termination::new(Outcome::Completed, reason::USER_HANGUP, "The caller hung up."),
    }
}

/// What the record says when somebody ends a call through the API.
pub(super) fn by_api(answered: bool, given: EndReason) -> Termination {
    let at_graph = |reason| {
        Termination::new(
            Outcome::Failed,
            reason,
            "Graph would not do what answering the call needs; whoever holds the signalling has its words.",
        )
    };
    match given {
        EndReason::ApiHangup => {
            let result = if answered { Outcome::Completed } else { Outcome::Rejected };
            Termination::new(result, reason::API_HANGUP, "The call was ended through the API.")
        }
        EndReason::UserHangup => by_webhook(answered, false, None),
        EndReason::MetaFailed => {
            Termination::new(Outcome::Failed, reason::META_FAILED, "Meta ended the call with an error.")
        }
        EndReason::MediaTimeout => Termination::new(
            Outcome::Failed,
            reason::MEDIA_TIMEOUT,
            "The caller's app ended the call because audio did not arrive; check the media node's UDP reachability.",
        ),
        EndReason::GraphRefused => at_graph(reason::GRAPH_REFUSED),
        EndReason::GraphUnreachable => at_graph(reason::GRAPH_UNREACHABLE),
        EndReason::RingTimeout => rang_too_long(),
    }
}

pub(super) fn by_graph(action: GraphAction, outcome: &GraphOutcome) -> Option<Termination> {
    let word = action.word();
    match outcome {
        GraphOutcome::Ok => None,
        GraphOutcome::Refused { code } => Some(
            Termination::new(
                Outcome::Failed,
                reason::GRAPH_REFUSED,
                format!("Graph refused {word} with {code}; the event GraphAnswered has its words."),
            )
            .with_code(code.clone()),
        ),
        GraphOutcome::Unreachable { code } => Some(
            Termination::new(
                Outcome::Failed,
                reason::GRAPH_UNREACHABLE,
                format!("Graph gave no usable answer to {word} ({code}), also when asked again."),
            )
            .with_code(code.clone()),
        ),
    }
}

pub(super) fn no_node() -> Termination {
    Termination::new(
        Outcome::Rejected,
        reason::NO_NODE_AVAILABLE,
        "No media node could take the call: none is registered, or all are full, draining or unreachable.",
    )
}

pub(super) fn bad_offer(rule: &str, message: &str) -> Termination {
    // The node's message begins with the rule; once is enough.
    let message = message.strip_prefix(rule).map_or(message, |rest| rest.trim_start_matches([':', ' ']));
    Termination::new(Outcome::Rejected, reason::SDP_INVALID, format!("The offer breaks the rule {rule}: {message}"))
        .with_code(rule)
}

pub(super) fn rang_too_long() -> Termination {
    Termination::new(
        Outcome::Failed,
        reason::RING_TIMEOUT,
        "The call could not be answered within the time Meta lets it ring.",
    )
}

pub(super) fn node_lost() -> Termination {
    Termination::new(
        Outcome::Failed,
        reason::NODE_LOST,
        "The media node of the call stopped reporting, or no longer knows the session.",
    )
}

pub(super) fn restarted() -> Termination {
    Termination::new(
        Outcome::Failed,
        reason::CONTROL_RESTARTED,
        "The control plane was restarted while it was setting the call up.",
    )
}
