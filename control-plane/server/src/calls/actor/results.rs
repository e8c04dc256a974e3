//! What answers of nodes mean for the call's life, and what API callers are told by it.

use tonic::{Code, Status};
use voicebridge_core::{
    call_life::{Event, Signalling},
    termination::{Termination, TerminationResult},
};

use super::{life::Life, work::Work};
use crate::{calls::CallError, nodes::Following, store::CallRow};

/// The node was told that the session is over, or not.
pub(super) fn session_told(told: Result<(), Status>, work: &Work) -> Option<Event> {
    match told {
        // The end itself, with statistics and usage, is on its way.
        Ok(()) if work.is_following() => return None,
        Ok(()) => {}
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => tracing::warn!(code = ?status.code(), "the node could not be told that the session is over"),
    }
    Some(Event::NodeLost)
}

/// There are no more events of the node.
pub(super) fn followed(following: Following, call: &CallRow) -> Option<Event> {
    match following {
        // Its end was passed on as an event.
        Following::Ended => None,
        Following::SessionUnknown => {
            let message = "The media node no longer knows the session.";
            let termination = Termination::new(TerminationResult::Failed, "SESSION_NOT_FOUND", message);
            Some(Event::SessionEnded(termination))
        }
        Following::NodeLost => {
            tracing::warn!(node = call.session.as_ref().map(|session| session.node_id.as_str()), "node lost");
            Some(Event::NodeLost)
        }
    }
}

/// The node was not told of a stage. Nobody waits for an answer.
pub(super) fn not_advanced(status: &Status) -> Option<Event> {
    tracing::warn!(code = ?status.code(), error = status.message(), "the node could not be told of a stage");
    // An ended session reports its end by itself, and who follows hears that there is none.
    (!matches!(status.code(), Code::FailedPrecondition | Code::NotFound)).then_some(Event::NodeLost)
}

/// Why a stage that an API caller reports is not passed on to the life.
pub(super) fn refused(life: &Life, call: &CallRow) -> Option<CallError> {
    match &call.termination {
        _ if life.signalling() == Signalling::Managed => Some(CallError::Managed),
        _ if life.is_placing() => Some(CallError::NotPlaced),
        Some(termination) => Some(CallError::Ended(termination.clone())),
        None => None,
    }
}
