//! The order in which the Graph API lets a business act on a call a user started.
//!
//! `pre_accept` -> `accept`, or `accept` alone; `reject` only before accept; `terminate` only after it. What is not
//! documented is settled so that a client cannot grow to rely on it: repeating `accept` is refused, repeating
//! `pre_accept` with the same SDP is not.

use super::graph_error::GraphError;

/// What a business asks for with `POST /{phone_number_id}/calls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Hand over the SDP while it still rings.
    PreAccept,
    /// Answer the call.
    Accept,
    /// Decline it.
    Reject,
    /// Hang up.
    Terminate,
    /// Call a user; this simulator knows no user who granted permission.
    Connect,
}

impl Action {
    /// The action's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreAccept => "pre_accept",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Terminate => "terminate",
            Self::Connect => "connect",
        }
    }

    /// The action called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::PreAccept, Self::Accept, Self::Reject, Self::Terminate, Self::Connect]
            .into_iter()
            .find(|action| action.name() == name)
    }
}

/// How far a call is, as the Graph API sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Ringing,
    PreAccepted,
    InProgress,
    Ended,
}

/// Whether `action` is allowed in `phase`.
///
/// # Errors
///
/// The refusal, code 100, naming what the call is doing.
pub(crate) fn check(phase: Phase, action: Action) -> Result<(), GraphError> {
    match (phase, action) {
        (Phase::Ringing | Phase::PreAccepted, Action::PreAccept | Action::Accept | Action::Reject)
        | (Phase::InProgress, Action::Terminate) => Ok(()),
        (Phase::Ended, action) => {
            Err(GraphError::invalid(format!("{} is not possible: the call is completed or failed", action.name())))
        }
        (Phase::InProgress, action) => {
            Err(GraphError::invalid(format!("{} is not possible: the call is already in progress", action.name())))
        }
        (_, action) => Err(GraphError::invalid(format!(
            "{} is not possible: the call has not been accepted, use reject",
            action.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_phases_and_actions() {
        use Action::{Accept, PreAccept, Reject, Terminate};
        use Phase::{Ended, InProgress, PreAccepted, Ringing};
        for (phase, allowed) in [
            (Ringing, &[PreAccept, Accept, Reject][..]),
            (PreAccepted, &[PreAccept, Accept, Reject]),
            (InProgress, &[Terminate]),
            (Ended, &[]),
        ] {
            for action in [PreAccept, Accept, Reject, Terminate] {
                let verdict = check(phase, action);
                assert_eq!(verdict.is_ok(), allowed.contains(&action), "{phase:?} {action:?}");
                assert!(verdict.is_ok() || verdict.is_err_and(|error| error.code == 100), "{phase:?} {action:?}");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_wire() {
        for name in ["pre_accept", "accept", "reject", "terminate", "connect"] {
            assert_eq!(Action::parse(name).map(Action::name), Some(name));
        }
        assert_eq!(Action::parse("ACCEPT"), None);
    }
}
