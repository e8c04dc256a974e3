//! An answer the AI owes the caller: how long it has been silent, and what is to be done about it.
//!
//! ```text
//! the caller's turn is over ──1.5 s──▶ cue ──4 s──▶ told, asked for ──5.5 s──▶ cue ──10 s──▶ given up
//! ```
//!
//! Counted from the end of the turn, or of what the AI is still saying. It is over with any audio of the answer, with a tool
//! call, which has its own time, and when the caller speaks again; what he says then is waited for in its turn.
//!
//! Does not watch an AI that owes no answer, nor while a call ends: see `ending`.

use std::time::Duration;

use voicebridge_audio::Time;

use super::{super::Session, closing::Life, cue};
use crate::{
    event::EventKind,
    limits::Limits,
    ports::{Ports, Watch},
    provider::{
        Failure, ProviderCommand, TextMode,
        embedded::clips::{self, ClipName},
    },
    reason,
};

/// Item name of our own greeting in events.
pub(in crate::session) const GREETING_ITEM: &str = "greeting";

/// See the module.
#[derive(Debug)]
pub(in crate::session) struct AnswerWatch {
    waiting: Option<Waiting>,
    /// The caller spoke into a wait: what he says is part of what is to be answered.
    spoken_into: bool,
    steps: [(Duration, Due); 4],
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    what: What,
    since: Time,
    /// Steps taken.
    taken: usize,
    /// What is being generated is an earlier reply.
    after_current: bool,
}

/// What is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum What {
    /// The first words.
    Greeting,
    /// An answer.
    Answer,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Due {
    /// A sound that says that somebody is there.
    Cue,
    /// Tell of the silence, and ask.
    Ask,
    /// Nothing will come.
    GiveUp,
}

impl AnswerWatch {
    pub(in crate::session) const fn new(limits: &Limits) -> Self {
        let (cue, ask) = (Duration::from_millis(limits.answer_cue_ms), Duration::from_millis(limits.answer_ask_ms));
        let second_cue = Duration::from_millis(limits.answer_ask_ms + limits.answer_cue_ms);
        let give_up = Duration::from_millis(limits.answer_ms);
        let steps = [(cue, Due::Cue), (ask, Due::Ask), (second_cue, Due::Cue), (give_up, Due::GiveUp)];
        Self { waiting: None, spoken_into: false, steps }
    }

    /// From now on something is owed; `responding` while the AI is generating something else.
    pub(in crate::session) const fn expect(&mut self, now: Time, what: What, responding: bool) {
        self.spoken_into = false;
        self.waiting = Some(Waiting { what, since: now, taken: 0, after_current: responding });
    }

    /// Nothing is owed any more.
    pub(in crate::session) const fn clear(&mut self) {
        self.spoken_into = false;
        self.waiting = None;
    }

    /// A response began or ended: what comes now is not of an earlier one.
    pub(in crate::session) const fn on_response(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.after_current = false;
        }
    }

    /// Audio of the AI came.
    pub(in crate::session) const fn on_audio(&mut self) {
        if let Some(Waiting { after_current: false, .. }) = self.waiting {
            self.clear();
        }
    }

    /// The caller speaks.
    pub(in crate::session) const fn on_speech_started(&mut self) {
        self.spoken_into |= self.waiting.is_some();
        self.waiting = None;
    }

    /// Whether what the caller just said was said into a wait.
    pub(in crate::session) const fn was_spoken_into(&self) -> bool {
        self.spoken_into
    }

    pub(in crate::session) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What is due by now; `audible` while the AI is heard.
    pub(in crate::session) fn poll(&mut self, now: Time, audible: bool) -> Option<(Due, What)> {
        let waiting = self.waiting.as_mut()?;
        if audible {
            waiting.since = now;
        }
        let &(after, due) = self.steps.get(waiting.taken)?;
        if waiting.since + after > now {
            return None;
        }
        waiting.taken += 1;
        let what = waiting.what;
        if due == Due::GiveUp {
            self.clear();
        }
        Some((due, what))
    }

    pub(in crate::session) fn deadline(&self) -> Option<Time> {
        let waiting = self.waiting?;
        self.steps.get(waiting.taken).map(|(after, _)| waiting.since + *after)
    }
}

impl Session {
    /// Gives the provider something that it owes an answer to.
    pub(in crate::session) fn ask(&mut self, now: Time, command: ProviderCommand<'_>, ports: &mut dyn Ports) {
        self.link.command(now, command, ports);
        self.expect(now, What::Answer);
    }

    /// Something is owed from now on, by an AI that owes answers, in a call that goes on.
    pub(in crate::session) fn expect(&mut self, now: Time, what: What) {
        if self.is_open() && self.link.owes_answer() {
            self.answer.expect(now, what, self.responding);
        }
    }

    /// The caller's turn is over, or in the conversation: unless interruption is ours it is answered without being asked for.
    pub(in crate::session) fn expect_answer_to_turn(&mut self, now: Time) {
        if self.hold.is_none() || self.answer.was_spoken_into() {
            self.expect(now, What::Answer);
        }
    }

    /// Does what is due about an answer that does not come.
    pub(in crate::session) fn watch_answer(&mut self, now: Time, ports: &mut dyn Ports) {
        if !matches!(self.life, Life::Open) {
            self.answer.clear();
        }
        let audible = !self.downlink.is_idle() && !self.cueing;
        while let Some((due, what)) = self.answer.poll(now, audible) {
            match (due, what) {
                (Due::Cue, _) => self.cue(now),
                (Due::Ask, _) => self.ask_again(now, what, ports),
                (Due::GiveUp, What::Greeting) => self.greet_by_clip(now, ports),
                (Due::GiveUp, What::Answer) => {
                    let message = format!("the AI gave no answer within {} ms, asked for again", self.limits.answer_ms);
                    self.on_provider_failed(now, Failure { code: "no_answer".to_owned(), message }, ports);
                }
            }
        }
        let watch = if self.answer.is_waiting() { Watch::TurnWaiting } else { Watch::Idle };
        self.link.watch(watch, ports);
    }

    /// Tells of the silence, and asks for an answer of which nothing is on its way.
    fn ask_again(&mut self, now: Time, what: What, ports: &mut dyn Ports) {
        let limit = self.limits.answer_ask_ms;
        let (code, message) = if self.responding {
            ("silent_response", format!("the AI began a reply and is silent after {limit} ms"))
        } else {
            ("no_response", format!("the AI began no reply within {limit} ms"))
        };
        let incident = EventKind::Incident { reason: reason::PROVIDER_SILENT, message, upstream_code: code.to_owned() };
        self.emit(now, incident, ports);
        // First words are asked for until they are said or refused; a second time they would be said twice.
        if what == What::Answer {
            self.link.command(now, ProviderCommand::Interrupt(&[]), ports);
            self.link.command(now, ProviderCommand::Reply, ports);
        }
    }

    fn cue(&mut self, now: Time) {
        if self.stages.active_since().is_some() {
            self.downlink.push_notice(now, cue::ITEM, &cue::pcm());
            self.cueing = true;
        }
    }

    /// A cue gives way to whoever speaks.
    pub(in crate::session) fn stop_cue(&mut self) {
        if std::mem::take(&mut self.cueing) && self.downlink.playing().is_some_and(|(item, _)| item == cue::ITEM) {
            self.downlink.flush();
        }
    }

    /// The AI does not say the first words: a clip in the language of the call does, so that the caller is not met by silence.
    pub(in crate::session) fn greet_by_clip(&mut self, now: Time, ports: &mut dyn Ports) {
        let clip = clips::clip(&self.agent.primary_language(), ClipName::Greeting);
        self.stop_cue();
        self.greeted = true;
        self.downlink.push_notice(now, GREETING_ITEM, &clip.pcm);
        let said = self.transcripts.add(GREETING_ITEM, clip.text, TextMode::Final);
        self.report_said(now, said, ports);
    }
}
