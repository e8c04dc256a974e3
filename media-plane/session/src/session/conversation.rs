//! The conversation: whose turn it is, who interrupts whom, what was said, which answers are owed, and how it ends.
//!
//! Flow: what the AI reports ([`Conversation::on_reported`]), what the caller's voice and keys are, what an operator wants,
//! and time; each acts on [`Parts`]: audio to the leg, commands to the AI, events to the log.
//!
//! Knows an AI by its normalised events and commands only, and a caller by the leg's methods: no packet, no socket.

mod answer_watch;
mod answering;
mod closing;
mod commands;
mod cue;
mod ending;
mod farewells;
mod hold;
mod interrupting;
mod keypad;
mod last_turn;
mod parts;
mod pieces;
mod reporting;
mod sound;
mod taken_commands;
mod transcripts;
mod turns;

pub(crate) use parts::Parts;

use std::time::Duration;

use voicebridge_audio::Time;

use crate::{
    agent::{Agent, END_CALL_TOOL},
    event::{EventKind, Models, Termination, Usage},
    limits::Limits,
    provider::{AfterTool, AudioFormat, ProviderCommand, ProviderEvent},
    reason,
};
use answer_watch::{AnswerWatch, Owed};
use closing::CallState;
use hold::Hold;
use keypad::Keypad;
use pieces::Pieces;
use sound::Sound;
use taken_commands::TakenCommands;
use transcripts::Transcripts;
use turns::Turns;

/// See the module.
#[derive(Debug)]
pub(crate) struct Conversation {
    started: Time,
    agent: Agent,
    limits: Limits,
    call_state: CallState,
    /// Only when interruption is ours.
    hold: Option<Hold>,
    transcripts: Transcripts,
    turns: Turns,
    /// Of texts in the making, both sides'.
    pieces: Pieces,
    answer: AnswerWatch,
    keypad: Keypad,
    commands: TakenCommands,
    reply: Reply,
    usage: Usage,
    models: Models,
    /// A cue is queued or being played.
    cueing: bool,
    /// The greeting was said by a clip.
    greeted: bool,
    /// The caller began to speak, and since then neither was his turn taken nor did a reply come.
    turn_open: bool,
    /// Times the caller kept the call that the AI was hanging up.
    kept: u32,
    /// An answer to what the caller said over the last words was stopped.
    answer_stopped: bool,
}

/// The response at hand.
#[derive(Debug, Default)]
struct Reply {
    /// While it is being generated.
    response_id: Option<String>,
    /// What has come of it.
    sound: Sound,
    /// It is not to be heard.
    stopped: bool,
    /// The item that audio came of last.
    item: String,
    /// That item's audio no longer fits, which was reported.
    overflowing: bool,
}

impl Conversation {
    pub(crate) fn new(now: Time, agent: Agent, limits: Limits, format: AudioFormat) -> Self {
        Self {
            started: now,
            call_state: CallState::Open,
            hold: Hold::new(agent.barge_in, !agent.greeting.is_empty(), format),
            transcripts: Transcripts::new(&limits),
            turns: Turns::default(),
            pieces: Pieces::new(limits.pending_transcripts),
            answer: AnswerWatch::new(&limits),
            keypad: Keypad::new(limits.keypad_ms),
            commands: TakenCommands::new(limits.commands),
            reply: Reply::default(),
            usage: Usage::default(),
            models: Models::default(),
            cueing: false,
            greeted: false,
            turn_open: false,
            kept: 0,
            answer_stopped: false,
            agent,
            limits,
        }
    }

    pub(crate) const fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) const fn usage(&self) -> Usage {
        self.usage
    }

    /// How it ended.
    pub(crate) const fn termination(&self) -> Option<&Termination> {
        match &self.call_state {
            CallState::Ended(termination) => Some(termination),
            CallState::Open | CallState::Closing(_) => None,
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.call_state, CallState::Ended(_))
    }

    /// Whether it goes on.
    const fn is_open(&self) -> bool {
        matches!(self.call_state, CallState::Open)
    }

    const fn is_responding(&self) -> bool {
        self.reply.response_id.is_some()
    }

    /// Audio flows from now on.
    pub(crate) fn on_active(&mut self, on: &mut Parts<'_>) {
        let greets = self.reply.sound.is_reply() || u128::from(on.leg.queued_ms()) >= sound::LEAST.as_millis();
        if !self.agent.greeting.is_empty() && !self.greeted && !greets {
            self.expect(Owed::Greeting, on);
        }
    }

    /// The caller's voice, as the AI gets it.
    pub(crate) fn observe(&mut self, now: Time, pcm: &[i16]) {
        if let Some(hold) = &mut self.hold {
            hold.observe(pcm);
        }
        if let CallState::Closing(ending) = &mut self.call_state {
            ending.observe(now, pcm);
        }
    }

    /// The AI that speaks reported something.
    pub(crate) fn on_reported(&mut self, event: ProviderEvent, on: &mut Parts<'_>) {
        match event {
            ProviderEvent::Ready { session_id, model } => self.on_ready(session_id, model, on),
            // Of a response that nobody is to hear.
            ProviderEvent::AudioOut { .. }
            | ProviderEvent::AudioDone { .. }
            | ProviderEvent::AgentText { .. }
            | ProviderEvent::ToolCall { .. }
                if self.reply.stopped => {}
            ProviderEvent::AudioOut { item, pcm } => self.on_audio_out(item, &pcm, on),
            ProviderEvent::AudioDone { item } => on.leg.finish(&item),
            ProviderEvent::SpeechStarted { item, audio_ms } => self.on_speech_started(item, audio_ms, on),
            ProviderEvent::SpeechStopped { audio_ms } => self.on_speech_stopped(audio_ms, on),
            ProviderEvent::TurnLost => self.on_turn_lost(on),
            ProviderEvent::TurnTaken => {
                self.turn_open = false;
                self.expect_answer_to_turn(on);
                self.on_turn_taken(on);
            }
            ProviderEvent::UserText { item, text, mode, language } => self.on_user_text(item, text, mode, language, on),
            ProviderEvent::AgentText { item, text, mode } => self.on_agent_text(item, &text, mode, on),
            ProviderEvent::ResponseStarted { response_id, purpose } => {
                on.emit(EventKind::ResponseStarted { response_id: response_id.clone() });
                self.on_response_started(response_id, purpose, on);
            }
            ProviderEvent::ResponseFinished { response_id, status, status_reason, usage } => {
                self.usage += usage;
                self.on_response_finished(response_id, status, status_reason, usage, on);
            }
            ProviderEvent::ToolCall { call_id, name, arguments } => self.on_tool_call(call_id, name, arguments, on),
            // Reported by the error that came before.
            ProviderEvent::CreateRefused { purpose } => self.on_create_refused(purpose, on),
            ProviderEvent::BrokenOff => self.on_broken_off(on),
            ProviderEvent::Usage(usage) => self.usage += usage,
            ProviderEvent::Error { code, message } => on.incident(reason::PROVIDER_ERROR, message, code),
            ProviderEvent::Failed(failure) => self.on_failed(failure, on),
        }
    }

    fn on_audio_out(&mut self, item: String, pcm: &[i16], on: &mut Parts<'_>) {
        if pcm.is_empty() {
            return;
        }
        let now = on.now();
        if self.reply.item != item {
            // Of a response that nobody announced.
            if !self.is_responding() {
                self.reply.sound = Sound::default();
            }
            self.reply.item = item;
            self.reply.overflowing = false;
        }
        self.reply.sound.on_audio(pcm, on.connections.format());
        self.on_sound();
        self.stop_cue(on);
        self.on_farewell_progress(now);
        on.leg.on_answered(now);
        if on.play(&self.reply.item, pcm) || self.reply.overflowing {
            return;
        }
        self.reply.overflowing = true;
        let message = "the AI's audio does not fit into the playout queue; the rest of the reply is dropped".to_owned();
        on.incident(reason::PLAYOUT_FULL, message, String::new());
    }

    /// More has come of a reply.
    fn on_sound(&mut self) {
        if self.reply.sound.is_reply() {
            self.answer.on_reply();
            self.turn_open = false;
        }
    }

    fn on_speech_started(&mut self, item: String, audio_ms: u64, on: &mut Parts<'_>) {
        on.emit(EventKind::CallerSpeechStarted { audio_ms });
        self.turns.started(&item, on.connections.given_at(audio_ms));
        on.leg.on_asking();
        self.turn_open = true;
        self.answer.on_speech_started();
        self.stop_cue(on);
        if self.speak_on(item, on) {
            return;
        }
        if self.hold.is_some() { self.hold_back(on) } else { self.interrupt(on) }
    }

    fn on_speech_stopped(&mut self, audio_ms: u64, on: &mut Parts<'_>) {
        on.emit(EventKind::CallerSpeechStopped { audio_ms });
        self.turns.stopped(on.connections.given_at(audio_ms));
        on.leg.on_asked(on.now());
        self.on_last_turn_ended(on.now());
        if let Some(hold) = &mut self.hold {
            hold.on_speech_stopped();
        }
        self.expect_answer_to_turn(on);
    }

    fn on_tool_call(&mut self, call_id: String, name: String, arguments: String, on: &mut Parts<'_>) {
        let called = EventKind::ToolCalled { tool_call_id: call_id.clone(), name: name.clone(), arguments };
        on.emit(called);
        self.answer.clear();
        if name == END_CALL_TOOL && self.agent.end_call.enabled {
            return self.hang_up(call_id, on);
        }
        // Nobody offered this tool: say so, else the model waits for it for ever.
        let output = r#"{"error":"there is no such tool"}"#;
        self.ask(ProviderCommand::ToolResult { call_id: &call_id, output, then: AfterTool::Reply }, on);
    }

    /// Does what is due before the next packet leaves.
    pub(crate) fn step(&mut self, on: &mut Parts<'_>) {
        self.judge(on);
        self.take_keys(on);
        if self.duration_deadline(on.leg.active_since()).is_some_and(|due| due <= on.now()) {
            self.time_up(on);
        }
    }

    /// Does what is due once packets have left.
    pub(crate) fn after_sending(&mut self, on: &mut Parts<'_>) {
        self.on_played(on);
        self.answer_late(on);
        self.watch_answer(on);
        self.close_if_said(on);
    }

    /// When it has something to do by time alone, audio flowing since `active`.
    pub(crate) fn deadline(&self, active: Option<Time>) -> Option<Time> {
        let hold = self.hold.as_ref().and_then(Hold::deadline);
        let parts = [self.keypad.deadline(), hold, self.answer.deadline(), self.closing_deadline()];
        parts.into_iter().chain([self.duration_deadline(active)]).flatten().min()
    }

    fn duration_deadline(&self, active: Option<Time>) -> Option<Time> {
        let length = Duration::from_millis(self.agent.max_duration_ms.into());
        active.filter(|_| self.is_open()).map(|active| active + length)
    }
}
