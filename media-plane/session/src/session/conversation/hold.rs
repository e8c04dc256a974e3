//! The reversible interruption: when the caller makes a sound the reply pauses, and is over only once our own voice
//! detection has heard the caller speak on; else it goes on from the very next sample.
//!
//! ```text
//! Quiet --speech started--> Held --voice sustained--> interrupted, Quiet
//!                             |---- hold over ------> goes on: Watching --voice sustained--> interrupted, Quiet
//!                                                              |-------- speech stopped ---> Quiet
//! ```
//!
//! Guards: a start of speech right after our own voice began may be its echo, so only voice within the pause, when the
//! echo is gone, counts then, and what is heard after it does not; the beginning of the greeting can be protected.
//!
//! The provider neither interrupts nor answers by itself meanwhile. Answered is what interrupted, and what was said into
//! silence; words said shortly before the AI's own reply ended are answered after it.
//!
//! Does not tell the caller's voice from another one.

use std::time::Duration;

use voicebridge_audio::{
    Time,
    vad::{Vad, VadSettings},
};

use crate::{
    agent::{BargeIn, Reversible},
    provider::AudioFormat,
};

/// A pause of this length within the caller's words begins the count of voice anew.
const WORD_GAP_MS: u64 = 300;
/// Words so long before the end of a reply are still answered after it; older ones were a listener's "uh-huh".
const ANSWER_WINDOW: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Hold {
    settings: Reversible,
    vad: Vad,
    state: HoldState,
    /// There is a greeting.
    greets: bool,
    /// The caller's turn interrupted the AI.
    interrupted: bool,
    /// A turn that was not answered, and whether it had words.
    unanswered: Option<Unanswered>,
    /// A turn came while the AI was hanging up.
    left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoldState {
    Quiet,
    Held {
        since: Time,
        /// Voice heard before, which does not count.
        discounted_ms: u64,
        echo: bool,
    },
    Watching,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unanswered {
    since: Time,
    words: bool,
}

impl Hold {
    /// Hears the caller in the provider's format. `None` when interruption is the provider's.
    pub(crate) fn new(barge_in: BargeIn, greets: bool, format: AudioFormat) -> Option<Self> {
        let BargeIn::Reversible(settings) = barge_in else { return None };
        let vad = VadSettings { prefix_ms: 0, silence_ms: WORD_GAP_MS, ..VadSettings::default() };
        Some(Self {
            settings,
            vad: match format {
                AudioFormat::Pcm => Vad::new(vad),
                AudioFormat::G711(_) => Vad::narrow(vad),
            },
            state: HoldState::Quiet,
            greets,
            interrupted: false,
            unanswered: None,
            left: false,
        })
    }

    /// The caller's audio, as the provider gets it.
    pub(crate) fn observe(&mut self, pcm: &[i16]) {
        self.vad.push(pcm);
    }

    /// Forgets a pause: it is over, or playout was silenced for another reason.
    pub(crate) fn reset(&mut self) {
        self.state = HoldState::Quiet;
    }

    /// The AI hangs up: it speaks on over what the caller says.
    pub(crate) fn begin_closing(&mut self) {
        self.left = false;
    }

    /// The caller kept the call. Whether his turn is in the conversation already; if not, it is answered once it is.
    pub(crate) fn end_closing(&mut self) -> bool {
        self.interrupted = !self.left;
        self.left
    }

    /// The words of the caller's turn are known.
    pub(crate) fn on_words(&mut self, text: &str) {
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.words |= text.chars().any(char::is_alphanumeric);
        }
    }

    /// The caller made a sound that may become an interruption; when the AI's voice first was heard, and since when it is.
    /// True if the reply is to pause.
    pub(crate) fn on_speech_started(
        &mut self,
        now: Time,
        first_voice: Option<Time>,
        voice_since: Option<Time>,
    ) -> bool {
        if matches!(self.state, HoldState::Held { .. }) {
            return false;
        }
        self.interrupted = false;
        let pauses = !self.is_protected(now, first_voice);
        if pauses {
            self.begin(now, voice_since);
        } else {
            self.state = HoldState::Watching;
        }
        pauses
    }

    /// How the pause ends, as soon as that is clear.
    pub(crate) fn judge(&mut self, now: Time, first_voice: Option<Time>) -> Option<HoldOutcome> {
        match self.state {
            HoldState::Quiet => None,
            HoldState::Watching if self.is_protected(now, first_voice) => None,
            HoldState::Held { .. } | HoldState::Watching if self.is_sustained() => {
                self.interrupted = true;
                self.unanswered = None;
                Some(HoldOutcome::Interrupt)
            }
            HoldState::Held { since, echo, .. } if since + self.hold() <= now => {
                // An echo comes back with our voice: what is heard from now on proves nothing.
                self.state = if echo { HoldState::Quiet } else { HoldState::Watching };
                Some(HoldOutcome::GoOn { held: now.since(since) })
            }
            HoldState::Held { .. } | HoldState::Watching => None,
        }
    }

    pub(crate) fn on_speech_stopped(&mut self) {
        if self.state == HoldState::Watching {
            self.state = HoldState::Quiet;
        }
    }

    /// The caller's turn is in the conversation. Whether it is answered: not if the AI is `speaking` and was not interrupted.
    pub(crate) fn on_turn_taken(&mut self, now: Time, speaking: bool) -> bool {
        let answered = std::mem::take(&mut self.interrupted) || !speaking;
        self.unanswered = if answered { None } else { Some(Unanswered { since: now, words: false }) };
        answered
    }

    /// The same, while the AI hangs up.
    pub(crate) fn leave_turn(&mut self) {
        self.interrupted = false;
        self.left = true;
    }

    /// Whether what was said shortly before the AI's reply ended is to be answered now.
    pub(crate) fn answer_late(&mut self, now: Time, speaking: bool, open: bool) -> bool {
        let Some(Unanswered { since, words }) = self.unanswered else { return false };
        if !open || since + ANSWER_WINDOW < now {
            self.unanswered = None;
        }
        let answered = self.unanswered.is_some() && words && !speaking;
        if answered {
            self.unanswered = None;
        }
        answered
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.state {
            HoldState::Held { since, .. } => Some(since + self.hold()),
            HoldState::Quiet | HoldState::Watching => None,
        }
    }

    fn hold(&self) -> Duration {
        Duration::from_millis(self.settings.hold_ms.into())
    }

    fn is_protected(&self, now: Time, first_voice: Option<Time>) -> bool {
        let length = Duration::from_millis(self.settings.protect_greeting_ms.into());
        self.greets && !length.is_zero() && first_voice.is_none_or(|first| now < first + length)
    }

    fn begin(&mut self, now: Time, voice_since: Option<Time>) {
        let guard = Duration::from_millis(self.settings.echo_guard_ms.into());
        let echo = voice_since.is_some_and(|since| now < since + guard);
        let discounted_ms = if echo { self.vad.voiced_ms() } else { 0 };
        self.state = HoldState::Held { since: now, discounted_ms, echo };
    }

    /// Whether the caller has been heard long enough for an interruption.
    fn is_sustained(&self) -> bool {
        let voiced_ms = self.vad.voiced_ms();
        let counted_ms = match self.state {
            HoldState::Quiet => 0,
            // What was discounted belonged to speech that has ended since.
            HoldState::Held { discounted_ms, .. } if voiced_ms < discounted_ms => voiced_ms,
            HoldState::Held { discounted_ms, .. } => voiced_ms - discounted_ms,
            HoldState::Watching => voiced_ms,
        };
        counted_ms >= u64::from(self.settings.sustained_ms)
    }
}

/// How a pause ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// The caller interrupts.
    Interrupt,
    /// It was no interruption.
    GoOn {
        /// Length of the pause.
        held: Duration,
    },
}
