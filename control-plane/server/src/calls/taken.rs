//! What became of one notice of a delivery.

use voicebridge_core::identity::CallId;

/// See the module.
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
