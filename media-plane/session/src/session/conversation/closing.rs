//! The end of a call: at once, or after last words.
//!
//! Last words there are three: the AI hangs up and its farewell is played to the end; the longest duration is reached,
//! what is being said is finished, and the AI says goodbye; the AI is lost and a recorded apology is played. Each is
//! bounded (see `ending`), and goes on over what the caller says; by his words the caller can keep the call that the AI
//! hangs up. What the AI answers meanwhile is stopped.
//!
//! A caller whose side closed the transport has hung up, but signalling knows better than media why: for a short while its
//! word is awaited.

use voicebridge_audio::Time;

use super::{
    super::Session,
    answer_watch::{GREETING_ITEM, What},
    cue,
    ending::{Ending, Over, Step},
    hold::Hold,
};
use crate::{
    event::{EventKind, Termination, TerminationResult},
    ports::Ports,
    provider::{
        AfterTool, Failure, ProviderCommand, Purpose, TextMode,
        embedded::clips::{self, ClipName},
    },
    reason,
};

/// Item name of the apology in events.
const APOLOGY_ITEM: &str = "apology";
/// Items of ours, which the AI knows nothing of.
pub(in crate::session) const OUR_ITEMS: [&str; 3] = [APOLOGY_ITEM, GREETING_ITEM, cue::ITEM];

/// Whether the session goes on.
#[derive(Debug)]
pub(in crate::session) enum Life {
    /// It goes on.
    Open,
    /// It ends after last words.
    Closing(Ending),
    /// It is over.
    Ended(Termination),
}

impl Session {
    /// Whether the conversation goes on.
    pub(in crate::session) const fn is_open(&self) -> bool {
        matches!(self.life, Life::Open)
    }

    /// The AI wants to hang up.
    pub(in crate::session) fn hang_up(&mut self, now: Time, call_id: String) {
        match &mut self.life {
            Life::Open => {
                let termination = completed(reason::AGENT_HANGUP, "the AI ended the call");
                let mut ending = Ending::hang_up(now, termination, call_id, &self.limits);
                if self.kept < self.limits.kept_calls {
                    ending = ending.revocable(self.link.format(), &self.limits);
                }
                self.life = Life::Closing(ending);
                self.answer_stopped = false;
                self.hold.iter_mut().for_each(Hold::begin_closing);
            }
            Life::Closing(ending) => ending.on_hang_up(now),
            Life::Ended(_) => {}
        }
    }

    /// The longest duration is reached: what is being said is finished, then the AI says goodbye.
    pub(in crate::session) fn time_up(&mut self, now: Time, ports: &mut dyn Ports) {
        if !self.is_open() {
            return;
        }
        let message = format!("the call reached its longest duration of {} s", self.agent.max_duration_s);
        let termination = completed(reason::MAX_DURATION_REACHED, &message);
        if !self.link.is_ready() {
            return self.end(now, termination, ports);
        }
        self.life = Life::Closing(Ending::after_goodbye(now, termination, &self.limits));
    }

    /// The provider is of no use any more.
    pub(in crate::session) fn on_provider_failed(&mut self, now: Time, failure: Failure, ports: &mut dyn Ports) {
        let was_ready = self.link.is_ready();
        self.link.let_go(ports);
        if let Life::Closing(ending) = &mut self.life {
            // It was about to end anyway: what is there of the last words is still played.
            ending.on_provider_gone(now, self.downlink.queued_ms());
            if let Some(hold) = &mut self.hold {
                hold.reset();
                self.downlink.resume();
            }
            return;
        }
        let reason = if was_ready { reason::PROVIDER_LOST } else { reason::PROVIDER_SESSION_FAILED };
        let Failure { code, message } = failure;
        let termination = failed(reason, &message, &code);
        if self.stages.active_since().is_none() {
            return self.end(now, termination, ports);
        }
        self.incident(now, reason, message, code, ports);
        let cuts = self.silence();
        self.report_cuts(now, &cuts, ports);
        self.apologise(now, termination, ports);
    }

    fn apologise(&mut self, now: Time, termination: Termination, ports: &mut dyn Ports) {
        let apology = clips::clip(&self.agent.primary_language(), ClipName::Apology);
        self.downlink.push_notice(now, APOLOGY_ITEM, &apology.pcm);
        let said = self.transcripts.add(APOLOGY_ITEM, apology.text, TextMode::Final);
        self.report_said(now, said, ports);
        self.life = Life::Closing(Ending::after_notice(now, termination, &self.limits));
    }

    /// The caller speaks while last words are waited for: they go on. False if they do not, or there are none.
    pub(in crate::session) fn speak_on(&mut self, now: Time, item: &str, ports: &mut dyn Ports) -> bool {
        let Life::Closing(ending) = &mut self.life else { return false };
        if !ending.speaks_on() {
            return false;
        }
        if ending.on_speech_started(now, item.to_owned()) {
            self.keep_talking(now, ports);
        }
        true
    }

    /// The words of the caller's turn are known: they may keep the call.
    pub(in crate::session) fn on_last_words(&mut self, now: Time, item: &str, text: &str, ports: &mut dyn Ports) {
        let Life::Closing(ending) = &mut self.life else { return };
        if ending.on_user_text(item, text, &self.agent.primary_language(), &self.transcripts.said_lately()) {
            self.keep_talking(now, ports);
        }
    }

    /// The caller keeps the call that the AI was hanging up, and is answered.
    fn keep_talking(&mut self, now: Time, ports: &mut dyn Ports) {
        let Life::Closing(mut ending) = std::mem::replace(&mut self.life, Life::Open) else { return };
        self.kept += 1;
        if let Some(call_id) = ending.take_tool_call() {
            let output = r#"{"status":"not ended","reason":"the caller went on speaking"}"#;
            let result = ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Wait };
            self.link.command(now, result, ports);
        }
        self.barge_in(now, ports);
        let unanswered = self.hold.as_mut().is_some_and(Hold::end_closing);
        if std::mem::take(&mut self.answer_stopped) || unanswered {
            self.link.command(now, ProviderCommand::Reply, ports);
        }
        self.expect(now, What::Answer);
    }

    pub(in crate::session) fn on_response_started(
        &mut self,
        now: Time,
        id: &str,
        purpose: Purpose,
        ports: &mut dyn Ports,
    ) {
        self.spoke = false;
        self.responding = true;
        let speaks_on = match &mut self.life {
            Life::Closing(ending) => {
                ending.on_response_started(now, id, purpose);
                ending.speaks_on()
            }
            Life::Open | Life::Ended(_) => false,
        };
        // An answer to what the caller said over the last words would be heard after them.
        self.answer_stopped |= purpose == Purpose::Reply && speaks_on;
        self.stopped = match purpose {
            Purpose::Reply => speaks_on,
            Purpose::Greeting => self.greeted,
            Purpose::Say | Purpose::Farewell => false,
        };
        if self.stopped {
            self.link.command(now, ProviderCommand::Interrupt(&[]), ports);
        }
    }

    pub(in crate::session) fn on_response_finished(
        &mut self,
        now: Time,
        id: &str,
        status: &str,
        ports: &mut dyn Ports,
    ) {
        self.responding = false;
        self.stopped = false;
        let over = match (self.spoke, status) {
            (true, _) => Over::Spoken,
            (false, "cancelled") => Over::Stopped,
            (false, _) => Over::Wordless,
        };
        let Life::Closing(ending) = &mut self.life else { return };
        if !ending.on_response_finished(now, id, over, self.downlink.queued_ms()) {
            return;
        }
        // It hung up without a word: have it say goodbye, without tools, or it may call again instead.
        if let Some(call_id) = ending.take_tool_call() {
            let output = r#"{"status":"ending"}"#;
            let result = ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Wait };
            self.link.command(now, result, ports);
        }
        self.link.command(now, ProviderCommand::Farewell, ports);
    }

    /// A sign of the AI's last words.
    pub(in crate::session) fn on_farewell_progress(&mut self, now: Time) {
        if let Life::Closing(ending) = &mut self.life {
            ending.on_progress(now);
        }
    }

    /// The caller stopped speaking.
    pub(in crate::session) fn on_last_turn_ended(&mut self, now: Time) {
        if let Life::Closing(ending) = &mut self.life {
            ending.on_speech_stopped(now);
        }
    }

    /// Ends the call once the last words were played, or their time is over.
    pub(in crate::session) fn close_if_said(&mut self, now: Time, ports: &mut dyn Ports) {
        let (silent, queued_ms) = (self.downlink.is_idle(), self.downlink.queued_ms());
        let Life::Closing(ending) = &mut self.life else { return };
        match ending.step(now, silent, self.responding, queued_ms) {
            Step::Wait => {}
            Step::AskFarewell => self.link.command(now, ProviderCommand::Farewell, ports),
            Step::CutAndAskFarewell => {
                self.barge_in(now, ports);
                self.link.command(now, ProviderCommand::Farewell, ports);
            }
            Step::KeepTalking => self.keep_talking(now, ports),
            Step::End => {
                let Life::Closing(ending) = std::mem::replace(&mut self.life, Life::Open) else { return };
                self.end(now, ending.into_termination(), ports);
            }
        }
    }

    /// When [`Self::close_if_said`] has something to do by time alone.
    pub(in crate::session) fn closing_due(&self) -> Option<Time> {
        match &self.life {
            Life::Closing(ending) => Some(ending.deadline()),
            Life::Open | Life::Ended(_) => None,
        }
    }

    /// Ends the session: the first termination stands, and is the last event.
    pub(in crate::session) fn end(&mut self, now: Time, termination: Termination, ports: &mut dyn Ports) {
        if self.is_ended() {
            return;
        }
        let completed = self.downlink.take_completed();
        for cut in &completed {
            let said = self.transcripts.heard(&cut.item);
            self.report_said(now, said, ports);
        }
        let cuts = self.downlink.flush();
        self.report_cuts(now, &cuts, ports);
        self.link.let_go(ports);
        let duration_ms = self.stages.active_since().map_or(0, |active| now.since(active).as_millis() as u64);
        let ended = EventKind::Ended {
            termination: termination.clone(),
            statistics: self.statistics(),
            usage: self.usage,
            quality: self.call_quality(now).map(Box::new),
            duration_ms,
        };
        self.life = Life::Ended(termination);
        self.emit(now, ended, ports);
    }

    /// The caller's side closed the transport. An end that was already decided keeps its reason.
    pub(in crate::session) fn on_transport_closed(&mut self, now: Time, ports: &mut dyn Ports) {
        match &mut self.life {
            Life::Open => {
                let active = self.stages.active_since().is_some();
                let termination = if active { hung_up() } else { abandoned() };
                self.life = Life::Closing(Ending::unheard(now, termination, &self.limits));
            }
            Life::Closing(ending) => {
                if !ending.become_unheard(now) {
                    return;
                }
            }
            Life::Ended(_) => return,
        }
        let cuts = self.silence();
        self.report_cuts(now, &cuts, ports);
        self.link.let_go(ports);
    }

    pub(in crate::session) fn on_transport_failed(&mut self, now: Time, why: &str, ports: &mut dyn Ports) {
        let (reason, message) = if self.stages.connected() {
            (reason::MEDIA_TRANSPORT_LOST, format!("the media connection was lost: {why}"))
        } else {
            (reason::MEDIA_CONNECTION_TIMEOUT, format!("the media connection will not come up: {why}"))
        };
        self.end(now, failed(reason, &message, ""), ports);
    }
}

fn hung_up() -> Termination {
    completed(reason::USER_HANGUP, "the caller hung up: its side closed the media connection")
}

fn abandoned() -> Termination {
    Termination {
        result: TerminationResult::Abandoned,
        ..completed(
            reason::CALLER_ABANDONED,
            "the caller's side closed the media connection before the call was answered",
        )
    }
}

fn completed(reason: &str, message: &str) -> Termination {
    Termination {
        result: TerminationResult::Completed,
        reason: reason.to_owned(),
        message: message.to_owned(),
        upstream_code: String::new(),
    }
}

/// Something broke.
pub(in crate::session) fn failed(reason: &str, message: &str, upstream_code: &str) -> Termination {
    Termination {
        result: TerminationResult::Failed,
        reason: reason.to_owned(),
        message: message.to_owned(),
        upstream_code: upstream_code.to_owned(),
    }
}
