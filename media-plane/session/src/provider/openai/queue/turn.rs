//! The caller's turn, as far as it holds our own responses back.

use std::time::Duration;

use voicebridge_audio::Time;

/// A caller whose end of speech was never reported is taken to have stopped after so long.
pub(super) const LONGEST_SPEECH: Duration = Duration::from_secs(60);
/// From the end of the caller's speech to the server's answer; then the turn holds nothing back any more.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Who answers what the caller said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in super::super) enum Answerer {
    /// The server creates a response by itself.
    #[default]
    Server,
    /// Nothing is answered before we ask for it.
    Us,
}

/// Whether the caller has the floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    /// Nothing was said, or it was answered.
    #[default]
    Over,
    /// The caller speaks.
    Speaking { until: Time },
    /// The caller has spoken, and the answer is not ours to give.
    Unanswered { until: Time },
}

impl Turn {
    pub(super) fn speech_started(&mut self, now: Time) {
        *self = Self::Speaking { until: now + LONGEST_SPEECH };
    }

    pub(super) fn speech_stopped(&mut self, now: Time) {
        *self = Self::Unanswered { until: now + ANSWER_TIMEOUT };
    }

    /// The server answers. While the caller speaks that was an answer to something earlier.
    pub(super) fn answered(&mut self) {
        if matches!(self, Self::Unanswered { .. }) {
            *self = Self::Over;
        }
    }

    pub(super) const fn until(&self) -> Option<Time> {
        match self {
            Self::Over => None,
            Self::Speaking { until } | Self::Unanswered { until } => Some(*until),
        }
    }

    /// Gives up what did not happen in time, and says what that was.
    pub(super) fn expire(&mut self, now: Time) -> Option<Self> {
        self.until().is_some_and(|until| until <= now).then(|| std::mem::take(self))
    }
}
