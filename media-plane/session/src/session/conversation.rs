//! What the provider's events and the operator's commands mean for the call.

use voicebridge_audio::Time;

pub(super) mod answer_watch;
pub(super) mod barge_in;
pub(super) mod closing;
pub(super) mod cue;
pub(super) mod ending;
pub(super) mod farewells;
pub(super) mod hold;
pub(super) mod keypad;
pub(super) mod last_turn;
pub(super) mod transcripts;

use transcripts::Said;

use super::Session;
use crate::{
    agent::END_CALL_TOOL,
    event::{EventKind, Milestone, Speaker, Usage},
    ports::{Command, Ports},
    provider::{AfterTool, ProviderCommand, ProviderEvent, TextMode},
    reason,
};

impl Session {
    pub(super) fn on_provider_event(&mut self, now: Time, event: ProviderEvent, ports: &mut dyn Ports) {
        match event {
            ProviderEvent::Ready { session_id, model } => self.on_ready(now, session_id, model, ports),
            // Of a response that nobody is to hear.
            ProviderEvent::AudioOut { .. }
            | ProviderEvent::AudioDone { .. }
            | ProviderEvent::AgentText { .. }
            | ProviderEvent::ToolCall { .. }
                if self.stopped => {}
            ProviderEvent::AudioOut { item, pcm } => self.on_audio_out(now, &item, &pcm, ports),
            ProviderEvent::AudioDone { item } => self.downlink.finish(&item),
            ProviderEvent::SpeechStarted { item, audio_ms } => {
                self.emit(now, EventKind::CallerSpeechStarted { audio_ms }, ports);
                self.meter.on_asking();
                self.answer.on_speech_started();
                self.stop_cue();
                if self.speak_on(now, &item, ports) {
                    return;
                }
                if self.hold.is_some() {
                    return self.hold_back(now, ports);
                }
                self.barge_in(now, ports);
            }
            ProviderEvent::SpeechStopped { audio_ms } => {
                self.emit(now, EventKind::CallerSpeechStopped { audio_ms }, ports);
                self.meter.on_asked(now);
                self.on_last_turn_ended(now);
                if let Some(hold) = &mut self.hold {
                    hold.on_speech_stopped();
                }
                self.expect_answer_to_turn(now);
            }
            ProviderEvent::TurnTaken => {
                self.expect_answer_to_turn(now);
                self.on_turn_taken(now, ports);
            }
            ProviderEvent::UserText { item, text, mode } => self.on_user_text(now, item, text, mode, ports),
            ProviderEvent::AgentText { item, text, mode } => self.on_agent_text(now, item, &text, mode, ports),
            ProviderEvent::ResponseStarted { response_id, purpose } => {
                self.hold.iter_mut().for_each(|hold| hold.on_responding(true));
                let started = EventKind::ResponseStarted { response_id: response_id.clone() };
                self.emit(now, started, ports);
                self.on_response_started(now, &response_id, purpose, ports);
                self.answer.on_response();
            }
            ProviderEvent::ResponseFinished { response_id, status, status_reason, usage } => {
                self.usage += usage;
                self.hold.iter_mut().for_each(|hold| hold.on_responding(false));
                let finished = EventKind::ResponseFinished {
                    response_id: response_id.clone(),
                    status: status.clone(),
                    status_reason,
                    usage,
                };
                self.emit(now, finished, ports);
                let downlink = &self.downlink;
                let said = self.transcripts.response_finished(|item| downlink.knows(item));
                self.report_said(now, said, ports);
                self.on_response_finished(now, &response_id, &status, ports);
                self.answer.on_response();
            }
            ProviderEvent::ToolCall { call_id, name, arguments } => {
                self.on_tool_call(now, call_id, name, arguments, ports);
            }
            ProviderEvent::Usage(usage) => self.usage += usage,
            ProviderEvent::Error { code, message } => {
                self.incident(now, reason::PROVIDER_ERROR, message, code, ports);
            }
            ProviderEvent::Failed(failure) => self.on_provider_failed(now, failure, ports),
        }
    }

    fn on_ready(&mut self, now: Time, session_id: String, model: String, ports: &mut dyn Ports) {
        let ready = EventKind::ProviderReady {
            provider: self.link.provider.name(),
            model,
            provider_session_id: session_id,
            duration_ms: now.since(self.started).as_millis() as u32,
        };
        self.emit(now, ready, ports);
        self.emit(now, EventKind::Milestone(Milestone::ProviderSessionCreated), ports);
        // Prepared now, played once the call is answered.
        self.link.command(now, ProviderCommand::Greet, ports);
    }

    fn on_audio_out(&mut self, now: Time, item: &str, pcm: &[i16], ports: &mut dyn Ports) {
        self.spoke = true;
        self.answer.on_audio();
        self.stop_cue();
        self.on_farewell_progress(now);
        self.meter.on_answered(now);
        if self.downlink.push(now, item, pcm) || self.overflowing.as_deref() == Some(item) {
            return;
        }
        self.overflowing = Some(item.to_owned());
        let message = "the AI's audio does not fit into the playout queue; the rest of the reply is dropped".to_owned();
        self.incident(now, reason::PLAYOUT_FULL, message, String::new(), ports);
    }

    fn on_user_text(&mut self, now: Time, item_id: String, text: String, mode: TextMode, ports: &mut dyn Ports) {
        if let (Some(hold), TextMode::Final) = (&mut self.hold, mode) {
            hold.on_words(&text);
        }
        let speaker = Speaker::Caller;
        match mode {
            TextMode::Append if text.is_empty() => {}
            TextMode::Append => {
                self.emit(now, EventKind::PartialTranscript { speaker, item_id, delta: text }, ports);
            }
            TextMode::Final => {
                if !text.is_empty() {
                    let (item_id, text) = (item_id.clone(), text.clone());
                    self.emit(now, EventKind::Transcript { speaker, item_id, text, interrupted: false }, ports);
                }
                self.on_last_words(now, &item_id, &text, ports);
            }
        }
    }

    fn on_agent_text(&mut self, now: Time, item_id: String, text: &str, mode: TextMode, ports: &mut dyn Ports) {
        let said = self.transcripts.add(&item_id, text, mode);
        if mode == TextMode::Append && !text.is_empty() {
            let delta = text.to_owned();
            self.emit(now, EventKind::PartialTranscript { speaker: Speaker::Agent, item_id, delta }, ports);
        }
        self.report_said(now, said, ports);
    }

    /// Reports what the agent said.
    pub(super) fn report_said(&mut self, now: Time, said: impl IntoIterator<Item = Said>, ports: &mut dyn Ports) {
        for Said { item, text, interrupted } in said {
            self.transcripts.remember(&text);
            let kind = EventKind::Transcript { speaker: Speaker::Agent, item_id: item, text, interrupted };
            self.emit(now, kind, ports);
        }
    }

    fn on_tool_call(&mut self, now: Time, call_id: String, name: String, arguments: String, ports: &mut dyn Ports) {
        let called = EventKind::ToolCalled { tool_call_id: call_id.clone(), name: name.clone(), arguments };
        self.emit(now, called, ports);
        self.answer.clear();
        if name == END_CALL_TOOL && self.agent.end_call.enabled {
            return self.hang_up(now, call_id);
        }
        // Nobody offered this tool: say so, else the model waits for it for ever.
        let output = r#"{"error":"there is no such tool"}"#;
        self.ask(now, ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Reply }, ports);
    }

    pub(super) fn on_command(&mut self, now: Time, command: Command, ports: &mut dyn Ports) {
        if command == Command::Interrupt {
            return self.barge_in(now, ports);
        }
        if let Command::SendDtmf(digits) = &command {
            return self.send_dtmf(now, digits, ports);
        }
        let refused = if !self.link.is_ready() {
            Some("the AI is not ready")
        } else if !self.is_open() {
            Some("the call is ending")
        } else {
            None
        };
        if let Some(why) = refused {
            let message = format!("the command was not carried out: {why}");
            return self.incident(now, reason::COMMAND_REFUSED, message, String::new(), ports);
        }
        match &command {
            Command::Say(text) => self.link.command(now, ProviderCommand::Say(text), ports),
            Command::InjectText(text) => self.ask(now, ProviderCommand::InjectText(text), ports),
            Command::Interrupt | Command::SendDtmf(_) => {}
        }
    }

    pub(super) fn incident(
        &mut self,
        now: Time,
        reason: &'static str,
        message: String,
        upstream_code: String,
        ports: &mut dyn Ports,
    ) {
        self.emit(now, EventKind::Incident { reason, message, upstream_code }, ports);
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let Self {
            input_text_tokens,
            input_audio_tokens,
            cached_tokens,
            output_text_tokens,
            output_audio_tokens,
            transcription_tokens,
            transcription_ms,
        } = other;
        // Counts of the far side: saturating, so that no number of theirs can stop a call.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.input_text_tokens, input_text_tokens);
        add(&mut self.input_audio_tokens, input_audio_tokens);
        add(&mut self.cached_tokens, cached_tokens);
        add(&mut self.output_text_tokens, output_text_tokens);
        add(&mut self.output_audio_tokens, output_audio_tokens);
        add(&mut self.transcription_tokens, transcription_tokens);
        add(&mut self.transcription_ms, transcription_ms);
    }
}
