//! An answer the AI owes the caller: how long it has been silent, and what is to be done about it.
//!
//! ```text
//! the caller's turn is over ──1.5 s──▶ cue ──4 s──▶ told, asked for ──7 s──▶ cue ──10 s──▶ given up
//! ```
//!
//! Counted from the end of the turn, or of what the AI is still saying. It is over once what came of the answer is a reply
//! (see `sound`), with a tool call, which has its own time, and when the caller speaks again; what he says then is waited
//! for in its turn.
//!
//! Does not watch an AI that owes no answer, nor while a call ends: see `ending`.

use std::time::Duration;

use voicebridge_audio::Time;

use crate::limits::Limits;

/// See the module.
#[derive(Debug)]
pub(crate) struct AnswerWatch {
    waiting: Option<AwaitedAnswer>,
    /// The caller spoke into a wait: what he says is part of what is to be answered.
    spoken_into: bool,
    steps: [(Duration, AnswerDue); 4],
}

#[derive(Clone, Copy, Debug)]
struct AwaitedAnswer {
    owed: Owed,
    since: Time,
    /// Steps taken.
    taken: usize,
    /// What is being generated is an earlier reply.
    after_current: bool,
}

/// What is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// The first words.
    Greeting,
    /// An answer.
    Answer,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerDue {
    /// A sound that says that somebody is there.
    Cue,
    /// Tell of the silence, and ask.
    Ask,
    /// Nothing will come.
    GiveUp,
}

impl AnswerWatch {
    pub(crate) const fn new(limits: &Limits) -> Self {
        let (cue, ask) = (Duration::from_millis(limits.answer_cue_ms), Duration::from_millis(limits.answer_ask_ms));
        // Half-way, so that no wait between two sounds is long.
        let second_cue = Duration::from_millis((limits.answer_ask_ms + limits.answer_ms) / 2);
        let give_up = Duration::from_millis(limits.answer_ms);
        let steps =
            [(cue, AnswerDue::Cue), (ask, AnswerDue::Ask), (second_cue, AnswerDue::Cue), (give_up, AnswerDue::GiveUp)];
        Self { waiting: None, spoken_into: false, steps }
    }

    /// From now on something is owed; `after_current` while the AI is generating something else.
    pub(crate) const fn expect(&mut self, now: Time, owed: Owed, after_current: bool) {
        self.spoken_into = false;
        self.waiting = Some(AwaitedAnswer { owed, since: now, taken: 0, after_current });
    }

    /// Nothing is owed any more.
    pub(crate) const fn clear(&mut self) {
        self.spoken_into = false;
        self.waiting = None;
    }

    /// The first words were said, though not by the AI.
    pub(crate) fn on_greeted(&mut self) {
        self.waiting.take_if(|waiting| waiting.owed == Owed::Greeting);
    }

    /// A response began or ended: what comes now is not of an earlier one.
    pub(crate) const fn on_response(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.after_current = false;
        }
    }

    /// So much came of the AI that it is a reply.
    pub(crate) const fn on_reply(&mut self) {
        if let Some(AwaitedAnswer { after_current: false, .. }) = self.waiting {
            self.clear();
        }
    }

    /// The caller speaks.
    pub(crate) const fn on_speech_started(&mut self) {
        self.spoken_into |= self.waiting.is_some();
        self.waiting = None;
    }

    /// Whether what the caller just said was said into a wait.
    pub(crate) const fn was_spoken_into(&self) -> bool {
        self.spoken_into
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What is due by now; `audible` while the AI is heard.
    pub(crate) fn poll(&mut self, now: Time, audible: bool) -> Option<(AnswerDue, Owed)> {
        let waiting = self.waiting.as_mut()?;
        if audible {
            waiting.since = now;
        }
        let &(after, due) = self.steps.get(waiting.taken)?;
        if waiting.since + after > now {
            return None;
        }
        waiting.taken += 1;
        let owed = waiting.owed;
        if due == AnswerDue::GiveUp {
            self.clear();
        }
        Some((due, owed))
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let waiting = self.waiting?;
        self.steps.get(waiting.taken).map(|(after, _)| waiting.since + *after)
    }
}
