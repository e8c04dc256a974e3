//! The one ending of a call: a result in one word, a stable reason, a sentence for a person, and the code of whoever
//! caused it. Written once, never changed.

use std::borrow::Cow;

/// Who or what ended a call, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminationResult {
    /// A conversation took place and ended normally.
    Completed,
    /// The caller gave up, or Meta ended the call, before it was answered.
    Abandoned,
    /// We turned the call down before answering it.
    Rejected,
    /// Something broke.
    Failed,
}

impl TerminationResult {
    /// Lower-case word for rows, logs and metric labels.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// The inverse of [`Self::word`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Completed, Self::Abandoned, Self::Rejected, Self::Failed].into_iter().find(|r| r.word() == word)
    }
}

/// The one ending of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// In one word.
    pub result: TerminationResult,
    /// Stable, upper-case; see [`reason`].
    pub reason: Cow<'static, str>,
    /// One sentence for a person. No personal data.
    pub message: String,
    /// Meta's or the provider's own code, or empty.
    pub upstream_code: String,
}

impl Termination {
    /// Without an upstream code.
    #[must_use]
    pub fn new(result: TerminationResult, reason: &'static str, message: impl Into<String>) -> Self {
        Self { result, reason: Cow::Borrowed(reason), message: message.into(), upstream_code: String::new() }
    }

    /// With one.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.upstream_code = code.into();
        self
    }
}

/// Reasons the control plane itself gives. Nodes give their own; all have a page in docs/errors.
pub mod reason {
    /// The caller hung up during the conversation.
    pub const USER_HANGUP: &str = "USER_HANGUP";
    /// The caller hung up, or Meta gave up, before we answered.
    pub const CALLER_ABANDONED: &str = "CALLER_ABANDONED";
    /// An API caller ended it.
    pub const API_HANGUP: &str = "API_HANGUP";
    /// No media node could take the call.
    pub const NO_NODE_AVAILABLE: &str = "NO_NODE_AVAILABLE";
    /// The offer breaks a rule; the message names it.
    pub const SDP_INVALID: &str = "SDP_INVALID";
    /// Graph answered with an error.
    pub const GRAPH_REFUSED: &str = "GRAPH_REFUSED";
    /// Graph did not answer, or with a 5xx without a code.
    pub const GRAPH_UNREACHABLE: &str = "GRAPH_UNREACHABLE";
    /// The call could not be answered within the ring budget.
    pub const RING_TIMEOUT: &str = "RING_TIMEOUT";
    /// The media node of the call is gone.
    pub const NODE_LOST: &str = "NODE_LOST";
    /// The caller's side got no audio from us, or sent none, for too long.
    pub const MEDIA_TIMEOUT: &str = "MEDIA_TIMEOUT";
    /// Meta ended the call with another error of its own.
    pub const META_FAILED: &str = "META_FAILED";
    /// The control plane was restarted while it was setting the call up.
    pub const CONTROL_RESTARTED: &str = "CONTROL_RESTARTED";
}
