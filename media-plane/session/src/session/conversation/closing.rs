//! The end of a call: at once, or after last words.
//!
//! Last words there are three: the AI hangs up and its farewell is played to the end; the longest duration is reached,
//! what is being said is finished, and the AI says goodbye; the AI is lost and a recorded apology is played. Each is
//! bounded (see `ending`), and goes on over what the caller says; by his words the caller can keep the call that the AI
//! hangs up. What the AI answers meanwhile is stopped.
//!
//! A caller whose side closed the transport has hung up, but signalling knows better than media why: for a short while its
//! word is awaited.

use std::time::Duration;

use voicebridge_audio::Time;

use super::{
    Conversation, Parts,
    answer_watch::Owed,
    answering::GREETING_ITEM,
    cue,
    ending::{Ending, EndingStep, ResponseEnd},
    hold::Hold,
    sound::Sound,
};
use crate::{
    event::{EventKind, ResponseStatus, Termination, TerminationResult, Usage},
    provider::{
        AfterTool, Failure, ProviderCommand, Purpose, TextMode,
        embedded::clips::{self, ClipName},
    },
    reason,
};

/// Item name of the apology in events.
const APOLOGY_ITEM: &str = "apology";
/// Items of ours, which the AI knows nothing of.
pub(super) const OUR_ITEMS: [&str; 3] = [APOLOGY_ITEM, GREETING_ITEM, cue::ITEM];

/// Whether the session goes on.
#[derive(Debug)]
pub(super) enum CallState {
    /// It goes on.
    Open,
    /// It ends after last words.
    Closing(Ending),
    /// It is over.
    Ended(Termination),
}

impl Conversation {
    /// The AI wants to hang up.
    pub(super) fn hang_up(&mut self, call_id: String, on: &mut Parts<'_>) {
        let now = on.now();
        match &mut self.call_state {
            CallState::Open => {
                let termination = Termination::completed(reason::AGENT_HANGUP, "the AI ended the call");
                let mut ending = Ending::hang_up(now, termination, call_id, &self.limits);
                if self.kept < self.limits.kept_calls {
                    ending = ending.revocable(on.connections.format(), &self.limits);
                }
                self.call_state = CallState::Closing(ending);
                self.answer_stopped = false;
                self.hold.iter_mut().for_each(Hold::begin_closing);
            }
            CallState::Closing(ending) => ending.on_hang_up(now),
            CallState::Ended(_) => {}
        }
    }

    /// The longest duration is reached: what is being said is finished, then the AI says goodbye.
    pub(super) fn time_up(&mut self, on: &mut Parts<'_>) {
        let longest = Duration::from_millis(self.agent.max_duration_ms.into());
        let message = format!("the call reached its longest duration of {longest:?}");
        let termination = Termination::completed(reason::MAX_DURATION_REACHED, &message);
        if !on.connections.is_ready() {
            return self.end(termination, on);
        }
        self.call_state = CallState::Closing(Ending::after_goodbye(on.now(), termination, &self.limits));
    }

    /// What the AI was asked to say will not come.
    pub(super) fn on_create_refused(&mut self, purpose: Purpose, on: &mut Parts<'_>) {
        match (purpose, &mut self.call_state) {
            (Purpose::Greeting, CallState::Open) => self.greet_by_clip(on),
            (Purpose::Farewell, CallState::Closing(ending)) => ending.on_provider_gone(on.now(), on.leg.queued_ms()),
            // A reply is missed by the watch on answers; what an operator wanted said is told by the incident.
            _ => {}
        }
    }

    /// The AI is of no use any more.
    pub(super) fn on_failed(&mut self, failure: Failure, on: &mut Parts<'_>) {
        let was_ready = on.connections.have_been_ready();
        on.close_connections();
        if let CallState::Closing(ending) = &mut self.call_state {
            // It was about to end anyway: what is there of the last words is still played, and is all there is.
            on.leg.finish(&self.reply.item);
            ending.forget_turns();
            ending.on_provider_gone(on.now(), on.leg.queued_ms());
            if let Some(hold) = &mut self.hold {
                hold.reset();
                on.leg.resume();
            }
            return;
        }
        let reason = if was_ready { reason::PROVIDER_LOST } else { reason::PROVIDER_SESSION_FAILED };
        let Failure { code, message } = failure;
        let termination = Termination::failed(reason, &message, &code);
        if on.leg.active_since().is_none() {
            return self.end(termination, on);
        }
        on.incident(reason, message, code);
        let cuts = self.silence(on);
        self.report_cuts(&cuts, on);
        self.apologise(termination, on);
    }

    fn apologise(&mut self, termination: Termination, on: &mut Parts<'_>) {
        let apology = clips::clip(&self.agent.primary_language(), ClipName::Apology);
        on.leg.play_notice(on.now(), APOLOGY_ITEM, &apology.pcm);
        let said = self.transcripts.add(APOLOGY_ITEM, apology.text, TextMode::Final);
        self.report_said(said, on);
        self.call_state = CallState::Closing(Ending::after_notice(on.now(), termination, &self.limits));
    }

    /// The caller speaks while last words are waited for: they go on. False if they do not, or there are none.
    pub(super) fn speak_on(&mut self, item: String, on: &mut Parts<'_>) -> bool {
        let CallState::Closing(ending) = &mut self.call_state else { return false };
        if !ending.speaks_on() {
            return false;
        }
        if ending.on_speech_started(on.now(), item) {
            self.keep_talking(on);
        }
        true
    }

    /// The caller stopped speaking.
    pub(super) fn on_last_turn_ended(&mut self, now: Time) {
        if let CallState::Closing(ending) = &mut self.call_state {
            ending.on_speech_stopped(now);
        }
    }

    /// The words of the caller's turn are known: they may keep the call.
    pub(super) fn on_last_words(&mut self, item: &str, text: &str, on: &mut Parts<'_>) {
        let CallState::Closing(ending) = &mut self.call_state else { return };
        if ending.on_user_text(item, text, &self.agent.primary_language(), &self.transcripts.said_lately()) {
            self.keep_talking(on);
        }
    }

    /// The caller keeps the call that the AI was hanging up, and is answered.
    fn keep_talking(&mut self, on: &mut Parts<'_>) {
        let CallState::Closing(mut ending) = std::mem::replace(&mut self.call_state, CallState::Open) else { return };
        self.kept += 1;
        on.command(ProviderCommand::CallKept);
        if let Some(call_id) = ending.take_tool_call() {
            let output = r#"{"status":"not ended","reason":"the caller went on speaking"}"#;
            on.command(ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Wait });
        }
        self.interrupt(on);
        let unanswered = self.hold.as_mut().is_some_and(Hold::end_closing);
        if std::mem::take(&mut self.answer_stopped) || unanswered {
            on.command(ProviderCommand::Reply);
        }
        self.expect(Owed::Answer, on);
    }

    pub(super) fn on_response_started(&mut self, response_id: String, purpose: Purpose, on: &mut Parts<'_>) {
        let speaks_on = match &mut self.call_state {
            CallState::Closing(ending) => {
                ending.on_response_started(on.now(), &response_id, purpose);
                ending.speaks_on()
            }
            CallState::Open | CallState::Ended(_) => false,
        };
        // An answer to what the caller said over the last words would be heard after them.
        self.answer_stopped |= purpose == Purpose::Reply && speaks_on;
        self.reply.stopped = match purpose {
            Purpose::Reply => speaks_on,
            Purpose::Greeting => self.greeted,
            Purpose::Say | Purpose::Farewell => false,
        };
        if self.reply.stopped {
            on.command(ProviderCommand::Interrupt(&[]));
        }
        self.reply.sound = Sound::default();
        self.reply.response_id = Some(response_id);
        self.answer.on_response();
    }

    pub(super) fn on_response_finished(
        &mut self,
        response_id: String,
        status: ResponseStatus,
        status_reason: String,
        usage: Usage,
        on: &mut Parts<'_>,
    ) {
        let end = match (self.reply.sound.is_reply(), status) {
            (true, _) => ResponseEnd::Spoken,
            (false, ResponseStatus::Cancelled) => ResponseEnd::Stopped,
            (false, _) => ResponseEnd::Wordless,
        };
        let (response_id_told, models) = (response_id.clone(), self.models.clone());
        let finished =
            EventKind::ResponseFinished { response_id: response_id_told, status, status_reason, usage, models };
        on.emit(finished);
        let said = self.transcripts.response_finished(|item| on.leg.knows(item));
        self.report_said(said, on);
        self.reply.response_id = None;
        self.reply.stopped = false;
        self.answer.on_response();
        self.on_farewell_finished(&response_id, end, on);
    }

    fn on_farewell_finished(&mut self, response_id: &str, end: ResponseEnd, on: &mut Parts<'_>) {
        let CallState::Closing(ending) = &mut self.call_state else { return };
        if !ending.on_response_finished(on.now(), response_id, end, on.leg.queued_ms()) {
            return;
        }
        // It hung up without a word: have it say goodbye, without tools, or it may call again instead.
        if let Some(call_id) = ending.take_tool_call() {
            let output = r#"{"status":"ending"}"#;
            on.command(ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Wait });
        }
        on.command(ProviderCommand::Farewell);
    }

    /// A sign of the AI's last words.
    pub(super) fn on_farewell_progress(&mut self, now: Time) {
        if let CallState::Closing(ending) = &mut self.call_state {
            ending.on_progress(now);
        }
    }

    /// Ends the call once the last words were played, or their time is over.
    pub(super) fn close_if_said(&mut self, on: &mut Parts<'_>) {
        let responding = self.is_responding();
        let CallState::Closing(ending) = &mut self.call_state else { return };
        match ending.step(on.now(), on.leg.is_silent(), responding, on.leg.queued_ms()) {
            EndingStep::Wait => {}
            EndingStep::AskFarewell => on.command(ProviderCommand::Farewell),
            EndingStep::CutAndAskFarewell => {
                self.interrupt(on);
                on.command(ProviderCommand::Farewell);
            }
            EndingStep::KeepTalking => self.keep_talking(on),
            EndingStep::End => {
                let CallState::Closing(ending) = std::mem::replace(&mut self.call_state, CallState::Open) else {
                    return;
                };
                self.end(ending.into_termination(), on);
            }
        }
    }

    /// When [`Self::close_if_said`] has something to do by time alone.
    pub(super) fn closing_deadline(&self) -> Option<Time> {
        match &self.call_state {
            CallState::Closing(ending) => Some(ending.deadline()),
            CallState::Open | CallState::Ended(_) => None,
        }
    }

    /// Ends the session: the first termination stands, and is the last event.
    pub(crate) fn end(&mut self, termination: Termination, on: &mut Parts<'_>) {
        if self.is_over() {
            return;
        }
        self.on_played(on);
        let cuts = on.leg.flush();
        self.report_cuts(&cuts, on);
        on.close_connections();
        let duration = on.leg.active_since().map(|active| on.now().since(active));
        let ended = EventKind::Ended {
            termination: termination.clone(),
            statistics: on.leg.statistics(),
            usage: self.usage,
            models: self.models.clone(),
            quality: on.leg.call_quality(on.now()).map(Box::new),
            duration_ms: duration.unwrap_or_default().as_millis() as u64,
        };
        self.call_state = CallState::Ended(termination);
        on.emit(ended);
    }

    /// The caller's side closed the transport. An end that was already decided keeps its reason.
    pub(crate) fn on_transport_closed(&mut self, on: &mut Parts<'_>) {
        match &mut self.call_state {
            CallState::Open => {
                let termination = if on.leg.active_since().is_some() { hung_up() } else { abandoned() };
                self.call_state = CallState::Closing(Ending::unheard(on.now(), termination, &self.limits));
            }
            CallState::Closing(ending) => {
                if !ending.become_unheard(on.now()) {
                    return;
                }
            }
            CallState::Ended(_) => return,
        }
        let cuts = self.silence(on);
        self.report_cuts(&cuts, on);
        on.close_connections();
    }
}

fn hung_up() -> Termination {
    Termination::completed(reason::USER_HANGUP, "the caller hung up: its side closed the media connection")
}

fn abandoned() -> Termination {
    let message = "the caller's side closed the media connection before the call was answered";
    Termination { result: TerminationResult::Abandoned, ..Termination::completed(reason::CALLER_ABANDONED, message) }
}
