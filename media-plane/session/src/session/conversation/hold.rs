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
    SAMPLE_RATE_HZ, Time,
    vad::{Vad, VadSettings},
};

use super::super::Session;
use crate::{
    agent::{BargeIn, Reversible},
    event::EventKind,
    ports::Ports,
    provider::{AudioFormat, ProviderCommand},
};

/// A pause of this length within the caller's words begins the count of voice anew.
const WORD_GAP_MS: u64 = 300;
/// Words so long before the end of a reply are still answered after it; older ones were a listener's "uh-huh".
const ANSWER_WINDOW: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(in crate::session) struct Hold {
    settings: Reversible,
    vad: Vad,
    state: State,
    /// There is a greeting.
    greets: bool,
    /// The caller's turn interrupted the AI.
    interrupted: bool,
    /// The provider is generating.
    responding: bool,
    /// A turn that was not answered, and whether it had words.
    unanswered: Option<Unanswered>,
    /// A turn came while the AI was hanging up.
    left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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
    pub(in crate::session) fn new(barge_in: BargeIn, greets: bool, format: AudioFormat) -> Option<Self> {
        let BargeIn::Reversible(settings) = barge_in else { return None };
        let vad = VadSettings { prefix_ms: 0, silence_ms: WORD_GAP_MS, ..VadSettings::default() };
        Some(Self {
            settings,
            vad: match format {
                AudioFormat::Pcm => Vad::new(vad),
                AudioFormat::G711(_) => Vad::narrow(vad),
            },
            state: State::Quiet,
            greets,
            interrupted: false,
            responding: false,
            unanswered: None,
            left: false,
        })
    }

    /// The caller's audio, as the provider gets it.
    pub(in crate::session) fn hear(&mut self, pcm: &[i16]) {
        self.vad.push(pcm);
    }

    /// Forgets a pause: it is over, or playout was silenced for another reason.
    pub(in crate::session) fn reset(&mut self) {
        self.state = State::Quiet;
    }

    /// The AI hangs up: it speaks on over what the caller says.
    pub(in crate::session) fn begin_closing(&mut self) {
        self.left = false;
    }

    /// The caller kept the call. Whether his turn is in the conversation already; if not, it is answered once it is.
    pub(in crate::session) fn end_closing(&mut self) -> bool {
        self.interrupted = !self.left;
        self.left
    }

    pub(in crate::session) fn on_responding(&mut self, responding: bool) {
        self.responding = responding;
    }

    /// The words of the caller's turn are known.
    pub(in crate::session) fn on_words(&mut self, text: &str) {
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.words |= text.chars().any(char::is_alphanumeric);
        }
    }

    pub(in crate::session) fn on_speech_stopped(&mut self) {
        if self.state == State::Watching {
            self.state = State::Quiet;
        }
    }

    pub(in crate::session) fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Held { since, .. } => Some(since + self.hold()),
            State::Quiet | State::Watching => None,
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
        self.state = State::Held { since: now, discounted_ms, echo };
    }

    /// Whether the caller has been heard long enough for an interruption.
    fn is_sustained(&self) -> bool {
        let voiced_ms = self.vad.voiced_ms();
        let counted_ms = match self.state {
            State::Quiet => 0,
            // What was discounted belonged to speech that has ended since.
            State::Held { discounted_ms, .. } if voiced_ms < discounted_ms => voiced_ms,
            State::Held { discounted_ms, .. } => voiced_ms - discounted_ms,
            State::Watching => voiced_ms,
        };
        counted_ms >= u64::from(self.settings.sustained_ms)
    }
}

/// What a look at the hold says.
enum Verdict {
    Interrupt,
    GoOn { held: Duration },
}

impl Session {
    /// The caller made a sound that may become an interruption.
    pub(in crate::session) fn hold_back(&mut self, now: Time, ports: &mut dyn Ports) {
        let Some(hold) = &mut self.hold else { return };
        if matches!(hold.state, State::Held { .. }) {
            return;
        }
        hold.interrupted = false;
        if hold.is_protected(now, self.downlink.first_voice()) {
            hold.state = State::Watching;
        } else {
            hold.begin(now, self.downlink.voice_since());
            self.downlink.pause();
        }
        self.judge(now, ports);
    }

    /// Ends the pause as soon as it is clear how.
    pub(in crate::session) fn judge(&mut self, now: Time, ports: &mut dyn Ports) {
        let first_voice = self.downlink.first_voice();
        let Some(hold) = &mut self.hold else { return };
        let verdict = match hold.state {
            State::Quiet => return,
            State::Watching if hold.is_protected(now, first_voice) => return,
            State::Held { .. } | State::Watching if hold.is_sustained() => Verdict::Interrupt,
            State::Held { since, echo, .. } if since + hold.hold() <= now => {
                // An echo comes back with our voice: what is heard from now on proves nothing.
                hold.state = if echo { State::Quiet } else { State::Watching };
                Verdict::GoOn { held: now.since(since) }
            }
            State::Held { .. } | State::Watching => return,
        };
        match verdict {
            Verdict::Interrupt => {
                hold.interrupted = true;
                hold.unanswered = None;
                self.barge_in(now, ports);
            }
            Verdict::GoOn { held } => {
                self.downlink.resume();
                if let Some((item_id, heard)) = self.downlink.playing() {
                    let heard_ms = heard * 1_000 / u64::from(SAMPLE_RATE_HZ);
                    let held_ms = held.as_millis() as u32;
                    self.emit(now, EventKind::BargeInReverted { item_id, heard_ms, held_ms }, ports);
                }
            }
        }
    }

    /// The caller's turn is in the conversation: answered, unless the AI is speaking and was not interrupted.
    pub(in crate::session) fn on_turn_taken(&mut self, now: Time, ports: &mut dyn Ports) {
        let idle = self.downlink.is_idle();
        let open = self.is_open();
        let Some(hold) = &mut self.hold else { return };
        let interrupted = std::mem::take(&mut hold.interrupted);
        if !open {
            hold.left = true;
            return;
        }
        if interrupted || (idle && !hold.responding) {
            hold.unanswered = None;
            self.ask(now, ProviderCommand::Reply, ports);
        } else {
            hold.unanswered = Some(Unanswered { since: now, words: false });
        }
    }

    /// Answers what was said shortly before the AI's own reply ended.
    pub(in crate::session) fn answer_late(&mut self, now: Time, ports: &mut dyn Ports) {
        let (idle, open) = (self.downlink.is_idle(), self.is_open());
        let Some(hold) = &mut self.hold else { return };
        let Some(Unanswered { since, words }) = hold.unanswered else { return };
        if !open || since + ANSWER_WINDOW < now {
            hold.unanswered = None;
        } else if words && idle && !hold.responding {
            hold.unanswered = None;
            self.ask(now, ProviderCommand::Reply, ports);
        }
    }
}
