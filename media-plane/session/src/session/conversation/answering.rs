//! Answers: which turns the AI is asked to answer, and what is done when an answer it owes does not come.

use super::{
    Conversation, Parts,
    answer_watch::{AnswerDue, Owed},
    cue,
};
use crate::{
    ports::Watch,
    provider::{
        Failure, ProviderCommand, TextMode,
        embedded::clips::{self, ClipName},
    },
    reason,
};

/// Item name of our own greeting in events.
pub(super) const GREETING_ITEM: &str = "greeting";

impl Conversation {
    /// Gives the AI something that it owes an answer to.
    pub(super) fn ask(&mut self, command: ProviderCommand<'_>, on: &mut Parts<'_>) {
        on.command(command);
        self.expect(Owed::Answer, on);
    }

    /// Something is owed from now on, by an AI that owes answers, in a call that goes on.
    pub(super) fn expect(&mut self, owed: Owed, on: &Parts<'_>) {
        if self.is_open() && on.connections.capabilities().owes_answer {
            // What is being generated before the first words are the first words.
            let earlier = owed == Owed::Answer && self.is_responding();
            self.answer.expect(on.now(), owed, earlier);
        }
    }

    /// The caller's turn is over, or in the conversation: unless interruption is ours it is answered without being asked for.
    pub(super) fn expect_answer_to_turn(&mut self, on: &Parts<'_>) {
        if self.hold.is_none() || self.answer.was_spoken_into() {
            self.expect(Owed::Answer, on);
        }
    }

    /// The caller's turn is in the conversation: when interruption is ours, so is the answer.
    pub(super) fn on_turn_taken(&mut self, on: &mut Parts<'_>) {
        let speaking = !on.leg.is_silent() || self.is_responding();
        let open = self.is_open();
        let Some(hold) = &mut self.hold else { return };
        if !open {
            hold.leave_turn();
        } else if hold.on_turn_taken(on.now(), speaking) {
            self.ask(ProviderCommand::Reply, on);
        }
    }

    /// Nobody reports the end of the caller's turn: he is answered like after any other, unless he was already.
    pub(super) fn on_turn_lost(&mut self, on: &mut Parts<'_>) {
        if !std::mem::take(&mut self.turn_open) {
            return;
        }
        if self.hold.is_some() {
            self.on_turn_taken(on);
        } else if self.is_open() {
            self.ask(ProviderCommand::Reply, on);
        }
    }

    /// Answers what was said shortly before the AI's own reply ended.
    pub(super) fn answer_late(&mut self, on: &mut Parts<'_>) {
        let speaking = !on.leg.is_silent() || self.is_responding();
        let open = self.is_open();
        let Some(hold) = &mut self.hold else { return };
        if hold.answer_late(on.now(), speaking, open) {
            self.ask(ProviderCommand::Reply, on);
        }
    }

    /// Does what is due about an answer that does not come.
    pub(super) fn watch_answer(&mut self, on: &mut Parts<'_>) {
        if !self.is_open() {
            self.answer.clear();
        }
        // An item that is open and has nothing to play is silence.
        let audible = on.leg.queued_ms() > 0 && !self.cueing;
        while let Some((due, owed)) = self.answer.poll(on.now(), audible) {
            match (due, owed) {
                // A sound of ours before the first words would be taken for them, and spoken into.
                (AnswerDue::Cue, Owed::Greeting) => {}
                (AnswerDue::Cue, Owed::Answer) => self.cue(on),
                (AnswerDue::Ask, _) => self.ask_again(owed, on),
                (AnswerDue::GiveUp, Owed::Greeting) => self.greet_by_clip(on),
                (AnswerDue::GiveUp, Owed::Answer) => {
                    let message = format!("the AI gave no answer within {} ms, asked for again", self.limits.answer_ms);
                    self.on_failed(Failure { code: "no_answer".to_owned(), message }, on);
                }
            }
        }
        on.watch(if self.answer.is_waiting() { Watch::TurnWaiting } else { Watch::Idle });
    }

    /// Tells of the silence, and asks for an answer of which nothing is on its way.
    fn ask_again(&mut self, owed: Owed, on: &mut Parts<'_>) {
        let limit = self.limits.answer_ask_ms;
        let (code, message) = if self.is_responding() {
            ("silent_response", format!("the AI began a reply and is silent after {limit} ms"))
        } else {
            ("no_response", format!("the AI began no reply within {limit} ms"))
        };
        on.incident(reason::PROVIDER_SILENT, message, code.to_owned());
        // First words are asked for until they are said or refused; a second time they would be said twice.
        if owed == Owed::Answer {
            on.command(ProviderCommand::Interrupt(&[]));
            on.command(ProviderCommand::Reply);
        }
    }

    /// A reply broke off: the rest is asked for, unless an answer is waited for anyway, or the caller speaks and gets one.
    pub(super) fn on_broken_off(&mut self, on: &mut Parts<'_>) {
        if self.is_open() && !self.answer.is_waiting() && !self.turn_open {
            self.ask(ProviderCommand::Reply, on);
        }
    }

    fn cue(&mut self, on: &mut Parts<'_>) {
        if on.leg.active_since().is_some() {
            on.leg.play_notice(on.now(), cue::ITEM, &cue::pcm());
            self.cueing = true;
        }
    }

    /// A cue gives way to whoever speaks.
    pub(super) fn stop_cue(&mut self, on: &mut Parts<'_>) {
        if std::mem::take(&mut self.cueing) && on.leg.playing().is_some_and(|(item, _)| item == cue::ITEM) {
            on.leg.flush();
        }
    }

    /// The AI does not say the first words: a clip in the language of the call does, so that the caller is not met by silence.
    /// Once.
    pub(super) fn greet_by_clip(&mut self, on: &mut Parts<'_>) {
        if std::mem::replace(&mut self.greeted, true) {
            return;
        }
        self.answer.on_greeted();
        let clip = clips::clip(&self.agent.primary_language(), ClipName::Greeting);
        self.stop_cue(on);
        on.leg.play_notice(on.now(), GREETING_ITEM, &clip.pcm);
        let said = self.transcripts.add(GREETING_ITEM, clip.text, TextMode::Final);
        self.report_said(said, on);
    }
}
