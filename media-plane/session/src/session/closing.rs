//! The end of a call: at once, or after last words.
//!
//! Last words there are three: the AI hangs up and its farewell is played to the end; the longest duration is reached and
//! the AI says goodbye; the AI is lost and a recorded apology is played. Each is bounded, and the caller who speaks into
//! the AI's farewell keeps the call.
//!
//! A caller whose side closed the transport has hung up, but signalling knows better than media why: for a short while its
//! word is awaited.

use std::time::Duration;

use voicebridge_audio::Time;

use super::Session;
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
/// Silence after the last words, so that the caller's own buffer plays them out before the transport is closed.
const TAIL: Duration = Duration::from_millis(200);
/// Between the caller's side closing the transport and the end: a terminate webhook on its way decides until then.
const HANG_UP_GRACE: Duration = Duration::from_secs(2);

/// Whether the session goes on.
#[derive(Debug)]
pub(super) enum Life {
    /// It goes on.
    Open,
    /// It ends after last words.
    Closing(Closing),
    /// It is over.
    Ended(Termination),
}

/// An end that is being waited for.
#[derive(Debug)]
pub(super) struct Closing {
    termination: Termination,
    /// The tool call of a hang-up, to be answered if the caller keeps the call. Answered already: `None`.
    tool_call: Option<String>,
    /// The caller may keep the call by speaking.
    revocable: bool,
    words: Words,
    pub(super) until: Time,
}

/// How far the last words are.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// The response that called the tool goes on; it may hold the farewell.
    InThisResponse,
    /// A farewell was asked for.
    Asked,
    /// The farewell is being generated.
    Generating { response_id: String },
    /// All of it is there and is being played.
    Playing,
    /// All of it was played; the call ends then.
    Played { end: Time },
    /// Nobody is there to hear any.
    Unheard,
}

impl Session {
    /// Whether the conversation goes on.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.life, Life::Open)
    }

    /// The AI wants to hang up.
    pub(super) fn hang_up(&mut self, now: Time, call_id: String) {
        if !self.is_open() {
            return;
        }
        self.life = Life::Closing(Closing {
            termination: completed(reason::AGENT_HANGUP, "the AI ended the call"),
            tool_call: Some(call_id),
            revocable: true,
            words: Words::InThisResponse,
            until: now + Duration::from_millis(self.limits.farewell_ms),
        });
    }

    /// The longest duration is reached.
    pub(super) fn time_up(&mut self, now: Time, ports: &mut dyn Ports) {
        if !self.is_open() {
            return;
        }
        let message = format!("the call reached its longest duration of {} s", self.agent.max_duration_s);
        let termination = completed(reason::MAX_DURATION_REACHED, &message);
        if !self.link.is_ready() {
            return self.end(now, termination, ports);
        }
        self.life = Life::Closing(Closing {
            termination,
            tool_call: None,
            revocable: false,
            words: Words::Asked,
            until: now + Duration::from_millis(self.limits.farewell_ms),
        });
        self.link.command(now, ProviderCommand::Farewell, ports);
    }

    /// The provider is of no use any more.
    pub(super) fn on_provider_failed(&mut self, now: Time, failure: Failure, ports: &mut dyn Ports) {
        let was_ready = self.link.is_ready();
        self.link.let_go(ports);
        if let Life::Closing(closing) = &mut self.life {
            // It was about to end anyway: what is there of the last words is still played.
            if closing.words != Words::Unheard {
                closing.words = Words::Playing;
            }
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
        self.life = Life::Closing(Closing {
            termination,
            tool_call: None,
            revocable: false,
            words: Words::Playing,
            until: now + Duration::from_millis(self.limits.apology_ms),
        });
    }

    /// The caller speaks: a hang-up of the AI is off.
    pub(super) fn keep_talking(&mut self, now: Time, ports: &mut dyn Ports) {
        if !matches!(&self.life, Life::Closing(closing) if closing.revocable) {
            return;
        }
        let Life::Closing(closing) = std::mem::replace(&mut self.life, Life::Open) else { return };
        if let Some(call_id) = closing.tool_call {
            let output = r#"{"status":"not ended","reason":"the caller went on speaking"}"#;
            let result = ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Wait };
            self.link.command(now, result, ports);
        }
    }

    pub(super) fn on_response_started(&mut self, id: &str, purpose: Purpose) {
        self.spoke = false;
        if let Life::Closing(closing) = &mut self.life
            && closing.words == Words::Asked
            && purpose == Purpose::Farewell
        {
            closing.words = Words::Generating { response_id: id.to_owned() };
        }
    }

    pub(super) fn on_response_finished(&mut self, now: Time, id: &str, ports: &mut dyn Ports) {
        let spoke = self.spoke;
        let Life::Closing(closing) = &mut self.life else { return };
        match &closing.words {
            Words::InThisResponse if spoke => closing.words = Words::Playing,
            Words::InThisResponse => {
                // It hung up without a word: have it say goodbye, without tools, or it may call again instead.
                closing.words = Words::Asked;
                if let Some(call_id) = closing.tool_call.take() {
                    let output = r#"{"status":"ending"}"#;
                    let result = ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Wait };
                    self.link.command(now, result, ports);
                }
                self.link.command(now, ProviderCommand::Farewell, ports);
            }
            Words::Generating { response_id } if response_id == id => closing.words = Words::Playing,
            Words::Asked | Words::Generating { .. } | Words::Playing | Words::Played { .. } | Words::Unheard => {}
        }
    }

    /// Ends the call once the last words were played, or their time is over.
    pub(super) fn close_if_said(&mut self, now: Time, ports: &mut dyn Ports) {
        let idle = self.downlink.is_idle();
        let Life::Closing(closing) = &mut self.life else { return };
        if closing.words == Words::Playing && idle {
            closing.words = Words::Played { end: now + TAIL };
        }
        let over = matches!(closing.words, Words::Played { end } if end <= now) || closing.until <= now;
        if over {
            let termination = closing.termination.clone();
            self.end(now, termination, ports);
        }
    }

    /// When [`Self::close_if_said`] has something to do by time alone.
    pub(super) fn closing_due(&self) -> Option<Time> {
        match &self.life {
            Life::Closing(Closing { words: Words::Played { end }, until, .. }) => Some(*end.min(until)),
            Life::Closing(closing) => Some(closing.until),
            Life::Open | Life::Ended(_) => None,
        }
    }

    /// Ends the session: the first termination stands, and is the last event.
    pub(super) fn end(&mut self, now: Time, termination: Termination, ports: &mut dyn Ports) {
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
    pub(super) fn on_transport_closed(&mut self, now: Time, ports: &mut dyn Ports) {
        let until = now + HANG_UP_GRACE;
        match &mut self.life {
            Life::Open => {
                let active = self.stages.active_since().is_some();
                let termination = if active { hung_up() } else { abandoned() };
                let words = Words::Unheard;
                self.life = Life::Closing(Closing { termination, tool_call: None, revocable: false, words, until });
            }
            Life::Closing(closing) if closing.words == Words::Unheard => return,
            Life::Closing(closing) => {
                closing.revocable = false;
                closing.words = Words::Unheard;
                closing.until = until;
            }
            Life::Ended(_) => return,
        }
        let cuts = self.silence();
        self.report_cuts(now, &cuts, ports);
        self.link.let_go(ports);
    }

    pub(super) fn on_transport_failed(&mut self, now: Time, why: &str, ports: &mut dyn Ports) {
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
pub(super) fn failed(reason: &str, message: &str, upstream_code: &str) -> Termination {
    Termination {
        result: TerminationResult::Failed,
        reason: reason.to_owned(),
        message: message.to_owned(),
        upstream_code: upstream_code.to_owned(),
    }
}
