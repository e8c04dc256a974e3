//! What the caller says while the AI hangs up: whether it keeps the call.
//!
//! The words of a turn decide, within [`Limits::last_turn_text_ms`] of its end: none, a goodbye, or an echo of ours changes
//! nothing; anything else keeps the call. Without words voice does, if there was [`Limits::keep_call_voice_ms`] of it.
//!
//! Several turns can wait for their words; one that keeps the call is enough. One whose end the provider does not report
//! is over when there was no voice for [`UNENDED`].
//!
//! [`Limits::last_turn_text_ms`]: crate::Limits::last_turn_text_ms
//! [`Limits::keep_call_voice_ms`]: crate::Limits::keep_call_voice_ms

use std::time::Duration;

use voicebridge_audio::{
    Time,
    vad::{Vad, VadEvent, VadSettings},
};

use super::farewells;
use crate::{limits::Limits, provider::AudioFormat};

/// Turns that wait for their words. The oldest of more is decided by its voice.
const MAX_TURNS: usize = 4;
/// Without voice for so long a turn is over, whatever the provider says: longer than any of its voice detections waits.
const UNENDED: Duration = Duration::from_secs(10);
/// A pause of this length ends a stretch of voice.
const VOICE_GAP_MS: u64 = 300;

/// See the module.
#[derive(Debug)]
pub(crate) struct LastTurns {
    turns: Vec<LastTurn>,
    voice: Voice,
    patience: Duration,
    least_voice_ms: u64,
}

#[derive(Debug)]
struct LastTurn {
    /// The provider's; empty if it does not say.
    item: String,
    began: Time,
    /// Voice heard before it.
    before_ms: u64,
    /// When it ended, and how much voice it had.
    ended: Option<(Time, u64)>,
}

impl LastTurns {
    pub(crate) fn new(format: AudioFormat, limits: &Limits) -> Self {
        Self {
            turns: Vec::new(),
            voice: Voice::new(format),
            patience: Duration::from_millis(limits.last_turn_text_ms),
            least_voice_ms: limits.keep_call_voice_ms,
        }
    }

    /// The caller's audio, as the provider gets it.
    pub(crate) fn observe(&mut self, now: Time, pcm: &[i16]) {
        self.voice.observe(now, pcm);
    }

    /// Whether it is not clear yet if the call goes on.
    pub(crate) fn are_undecided(&self) -> bool {
        !self.turns.is_empty()
    }

    /// A turn began. True if an older one kept the call.
    pub(crate) fn on_started(&mut self, now: Time, item: String) -> bool {
        self.turns.push(LastTurn { item, began: now, before_ms: self.voice.completed_ms, ended: None });
        self.turns.len() > MAX_TURNS && self.decide_by_voice(0)
    }

    pub(crate) fn on_stopped(&mut self, now: Time) {
        let heard_ms = self.voice.heard_ms();
        if let Some(turn) = self.turns.iter_mut().rev().find(|turn| turn.ended.is_none()) {
            turn.ended = Some((now, heard_ms - turn.before_ms));
        }
    }

    /// The words of an item are known. True if they keep the call.
    pub(crate) fn on_text(&mut self, item: &str, text: &str, language: &str, said: &str) -> bool {
        let of_turn = |turn: &LastTurn| turn.item == item || turn.item.is_empty();
        let Some(index) = self.turns.iter().position(of_turn) else { return false };
        if farewells::is_a_note(text) {
            return false;
        }
        self.turns.remove(index);
        let says_nothing = farewells::words(text).is_empty();
        !(says_nothing || farewells::is_goodbye(language, text) || farewells::is_echo(text, said))
    }

    /// Decides what can be by now; `last_moment` whatever cannot wait. True if a turn keeps the call.
    pub(crate) fn decide(&mut self, now: Time, last_moment: bool) -> bool {
        while let Some(index) = self.turns.iter().position(|turn| last_moment || self.due(turn) <= now) {
            if self.decide_by_voice(index) {
                return true;
            }
        }
        false
    }

    /// When [`Self::decide`] has something to do by time alone.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.turns.iter().map(|turn| self.due(turn)).min()
    }

    fn due(&self, turn: &LastTurn) -> Time {
        match turn.ended {
            Some((at, _)) => at + self.patience,
            None => turn.began.max(self.voice.last) + UNENDED,
        }
    }

    fn decide_by_voice(&mut self, index: usize) -> bool {
        let turn = self.turns.remove(index);
        let voice_ms = turn.ended.map_or(self.voice.heard_ms() - turn.before_ms, |(_, voice_ms)| voice_ms);
        voice_ms >= self.least_voice_ms
    }
}

/// How much voice was heard.
#[derive(Debug)]
struct Voice {
    vad: Vad,
    /// Of stretches that are over.
    completed_ms: u64,
    /// Of the stretch going on.
    current_ms: u64,
    last: Time,
}

impl Voice {
    fn new(format: AudioFormat) -> Self {
        let settings = VadSettings { prefix_ms: 0, silence_ms: VOICE_GAP_MS, ..VadSettings::default() };
        let vad = match format {
            AudioFormat::Pcm => Vad::new(settings),
            AudioFormat::G711(_) => Vad::narrow(settings),
        };
        Self { vad, completed_ms: 0, current_ms: 0, last: Time::ZERO }
    }

    fn observe(&mut self, now: Time, pcm: &[i16]) {
        if let Some(VadEvent::Stopped { .. }) = self.vad.push(pcm) {
            self.completed_ms += std::mem::take(&mut self.current_ms);
        }
        if self.vad.voiced_ms() > self.current_ms {
            self.current_ms = self.vad.voiced_ms();
            self.last = now;
        }
    }

    const fn heard_ms(&self) -> u64 {
        self.completed_ms + self.current_ms
    }
}
