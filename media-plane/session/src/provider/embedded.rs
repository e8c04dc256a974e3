//! The AI in this process: no account, no network, no model. It hears when the caller speaks and answers with spoken
//! clips, so that a whole call works on a laptop and in tests, in virtual time.
//!
//! Flow: the caller's audio goes through voice activity detection; a finished utterance is reported as
//! `[speech 2.4 s]` and answered [`REPLY_DELAY`] later by the next of three replies. Clips are handed out faster than
//! real time, with their words, as a service over the network does it.
//!
//! What this does not do: understand, or say anything that is not a clip.

pub mod clips;

use std::time::Duration;

use voicebridge_audio::{
    SAMPLE_RATE_HZ, Time,
    vad::{Vad, VadEvent, VadSettings},
};

use super::{
    AfterTool, AudioFormat, Capabilities, Failure, Outbox, Provider, ProviderCommand, ProviderEvent, Purpose, TextMode,
};
use crate::{
    agent::{Agent, BargeIn, END_CALL_TOOL, TurnDetection},
    event::{ResponseStatus, Usage},
    ports::ProviderClosed,
};
use clips::{Clip, ClipName, REPLIES};

/// Between the end of the caller's turn and the reply: what people leave in conversation.
pub const REPLY_DELAY: Duration = Duration::from_millis(200);
/// Audio handed out at a time.
const CHUNK_MS: usize = 200;
const CHUNK_SAMPLES: usize = CHUNK_MS * SAMPLE_RATE_HZ as usize / 1_000;
/// Between two chunks: five times faster than real time.
const CHUNK_PACE: Duration = Duration::from_millis(40);
/// A text given to it that holds one of these asks it to hang up.
const HANG_UP_WORDS: [&str; 7] = ["goodbye", "good bye", "hang up", "end the call", "end_call", "tchau", "adiós"];

/// See the module.
#[derive(Debug)]
pub struct Embedded {
    open: bool,
    language: String,
    greets: bool,
    may_hang_up: bool,
    /// Answers what the caller said without being asked to.
    answers: bool,
    vad: Vad,
    vad_settings: VadSettings,
    /// Start of the utterance being spoken, of the audio given.
    speech_start_ms: u64,
    next_reply: u8,
    /// Counts utterances, responses and tool calls: their ids.
    count: u64,
    pending: Option<Pending>,
    speaking: Option<Speaking>,
}

/// A reply to come.
#[derive(Debug)]
struct Pending {
    at: Time,
    clip: ClipName,
    purpose: Purpose,
    /// It is the last one: the hang-up tool is called with it.
    hangs_up: bool,
}

/// A clip being handed out.
#[derive(Debug)]
struct Speaking {
    response_id: String,
    item: String,
    clip: Clip,
    /// Samples handed out.
    given: usize,
    /// Bytes of the text handed out.
    told: usize,
    hangs_up: bool,
    next: Time,
}

impl Embedded {
    /// An AI that waits for its call.
    #[must_use]
    pub fn new() -> Self {
        let vad_settings = VadSettings::default();
        Self {
            open: false,
            language: String::new(),
            greets: false,
            may_hang_up: false,
            answers: true,
            vad: Vad::new(vad_settings),
            vad_settings,
            speech_start_ms: 0,
            next_reply: 0,
            count: 0,
            pending: None,
            speaking: None,
        }
    }

    fn id(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}_{}", self.count)
    }

    fn plan(&mut self, at: Time, clip: ClipName, purpose: Purpose, hangs_up: bool) {
        self.pending = Some(Pending { at, clip, purpose, hangs_up });
    }

    fn reply(&mut self, at: Time) {
        if self.farewell_is_due() {
            return;
        }
        let clip = ClipName::Reply(self.next_reply);
        self.next_reply = (self.next_reply + 1) % REPLIES;
        self.plan(at, clip, Purpose::Reply, false);
    }

    /// The last words are said whatever the caller does.
    fn farewell_is_due(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.purpose == Purpose::Farewell)
    }

    fn drop_pending(&mut self) {
        if !self.farewell_is_due() {
            self.pending = None;
        }
    }

    fn on_voice(&mut self, now: Time, event: VadEvent, out: &mut Outbox<'_>) {
        match event {
            VadEvent::Started { at_ms } => {
                self.speech_start_ms = at_ms + self.vad_settings.prefix_ms;
                // The caller goes on: what was to be the answer to the first half is not said.
                if self.answers {
                    self.drop_pending();
                }
                out.event(ProviderEvent::SpeechStarted { item: String::new(), audio_ms: at_ms });
            }
            VadEvent::Stopped { at_ms } => {
                let end_ms = at_ms.saturating_sub(self.vad_settings.silence_ms);
                let seconds = end_ms.saturating_sub(self.speech_start_ms) as f64 / 1_000.0;
                let item = self.id("utterance");
                out.event(ProviderEvent::SpeechStopped { audio_ms: at_ms });
                out.event(ProviderEvent::UserText {
                    item,
                    text: format!("[speech {seconds:.1} s]"),
                    mode: TextMode::Final,
                    language: String::new(),
                });
                out.event(ProviderEvent::TurnTaken);
                if self.answers {
                    self.reply(now + REPLY_DELAY);
                }
            }
        }
    }

    fn begin(&mut self, now: Time, pending: Pending, out: &mut Outbox<'_>) {
        let (response_id, item) = (self.id("response"), self.id("item"));
        out.event(ProviderEvent::ResponseStarted { response_id: response_id.clone(), purpose: pending.purpose });
        let clip = clips::clip(&self.language, pending.clip);
        self.speaking =
            Some(Speaking { response_id, item, clip, given: 0, told: 0, hangs_up: pending.hangs_up, next: now });
    }

    /// Hands out the next chunk, and the words that belong to it.
    fn speak(&mut self, now: Time, out: &mut Outbox<'_>) {
        let Some(speaking) = &mut self.speaking else { return };
        let end = (speaking.given + CHUNK_SAMPLES).min(speaking.clip.pcm.len());
        let words = words_until(speaking.clip.text, speaking.told, end, speaking.clip.pcm.len());
        if !words.is_empty() {
            out.event(ProviderEvent::AgentText {
                item: speaking.item.clone(),
                text: words.to_owned(),
                mode: TextMode::Append,
            });
        }
        speaking.told += words.len();
        out.event(ProviderEvent::AudioOut {
            item: speaking.item.clone(),
            pcm: speaking.clip.pcm[speaking.given..end].to_vec(),
        });
        speaking.given = end;
        speaking.next = now + CHUNK_PACE;
        if end == speaking.clip.pcm.len() {
            self.complete(out);
        }
    }

    fn complete(&mut self, out: &mut Outbox<'_>) {
        let Some(spoken) = self.speaking.take() else { return };
        let text = spoken.clip.text.to_owned();
        out.event(ProviderEvent::AudioDone { item: spoken.item.clone() });
        out.event(ProviderEvent::AgentText { item: spoken.item, text, mode: TextMode::Final });
        if spoken.hangs_up {
            let call_id = self.id("tool");
            out.event(ProviderEvent::ToolCall { call_id, name: END_CALL_TOOL.to_owned(), arguments: "{}".to_owned() });
        }
        out.event(finished(spoken.response_id, ResponseStatus::Completed, ""));
    }

    fn inject(&mut self, now: Time, text: &str) {
        let text = text.to_lowercase();
        if self.may_hang_up && HANG_UP_WORDS.iter().any(|words| text.contains(words)) {
            self.plan(now + REPLY_DELAY, ClipName::Goodbye, Purpose::Reply, true);
        } else {
            self.reply(now + REPLY_DELAY);
        }
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new()
    }
}

fn finished(response_id: String, status: ResponseStatus, reason: &str) -> ProviderEvent {
    ProviderEvent::ResponseFinished { response_id, status, status_reason: reason.to_owned(), usage: Usage::default() }
}

/// The whole words between `told` and where `given` of `total` samples reach; all that is left at the end.
fn words_until(text: &str, told: usize, given: usize, total: usize) -> &str {
    let rest = &text[told..];
    if given >= total {
        return rest;
    }
    let reach = (text.len() * given / total).saturating_sub(told);
    let end = rest.char_indices().rfind(|(index, letter)| *index <= reach && letter.is_whitespace());
    &rest[..end.map_or(0, |(index, _)| index)]
}

impl Provider for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn model(&self) -> &str {
        "clips"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { needs_socket: false, says_any_text: false, speaks_g711: false, owes_answer: true, ping: None }
    }

    fn open(&mut self, _now: Time, agent: &Agent, format: AudioFormat, out: &mut Outbox<'_>) {
        debug_assert_eq!(format, AudioFormat::Pcm, "its clips are");
        if self.open {
            return;
        }
        self.open = true;
        self.language = agent.primary_language();
        self.greets = !agent.greeting.is_empty();
        self.may_hang_up = agent.end_call.enabled;
        self.answers = agent.barge_in == BargeIn::Immediate;
        if let TurnDetection::ServerVad { prefix_padding_ms, silence_duration_ms, .. } = agent.turn_detection {
            self.vad_settings.prefix_ms = prefix_padding_ms.into();
            self.vad_settings.silence_ms = silence_duration_ms.into();
        }
        self.vad = Vad::new(self.vad_settings);
        out.event(ProviderEvent::Ready { session_id: String::new(), model: self.model().to_owned() });
    }

    fn audio(&mut self, now: Time, pcm: &[i16], out: &mut Outbox<'_>) {
        if let Some(event) = self.vad.push(pcm) {
            self.on_voice(now, event, out);
        }
    }

    fn command(&mut self, now: Time, command: ProviderCommand<'_>, out: &mut Outbox<'_>) {
        match command {
            ProviderCommand::Greet if self.greets => self.plan(now, ClipName::Greeting, Purpose::Greeting, false),
            ProviderCommand::Greet => {}
            ProviderCommand::Say(_) => out.event(ProviderEvent::Error {
                code: "unsupported_command".to_owned(),
                message: "the embedded AI has its clips only and cannot say a text".to_owned(),
            }),
            ProviderCommand::Reply => self.reply(now + REPLY_DELAY),
            ProviderCommand::InjectText(text) => self.inject(now, text),
            ProviderCommand::Interrupt(_) => {
                self.drop_pending();
                if let Some(spoken) = self.speaking.take() {
                    out.event(finished(spoken.response_id, ResponseStatus::Cancelled, "turn_detected"));
                }
            }
            ProviderCommand::ToolResult { then: AfterTool::Reply, .. } => self.reply(now + REPLY_DELAY),
            ProviderCommand::ToolResult { then: AfterTool::Wait, .. } | ProviderCommand::CallKept => {}
            ProviderCommand::Farewell => self.plan(now, ClipName::Goodbye, Purpose::Farewell, false),
        }
        self.tick(now, out);
    }

    fn tick(&mut self, now: Time, out: &mut Outbox<'_>) {
        loop {
            if self.speaking.as_ref().is_some_and(|speaking| speaking.next <= now) {
                self.speak(now, out);
            } else if self.speaking.is_none() && self.pending.as_ref().is_some_and(|pending| pending.at <= now) {
                let pending = self.pending.take().expect("checked in the line above");
                self.begin(now, pending, out);
            } else {
                return;
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        match &self.speaking {
            Some(speaking) => Some(speaking.next),
            None => self.pending.as_ref().map(|pending| pending.at),
        }
    }

    fn closed(&self, _closed: ProviderClosed<'_>) -> Failure {
        Failure { code: "no_socket".to_owned(), message: "the embedded AI has no socket that could close".to_owned() }
    }
}

#[cfg(test)]
mod tests;
