//! OpenAI Realtime, GA protocol, over a WebSocket that the driver owns.
//!
//! Flow: socket open -> `session.update` with the whole configuration -> `session.updated`, checked -> [`Ready`]; then
//! one append per 20 ms of the caller, and the server's events normalised. One response at a time and never over the
//! caller ([`queue`]); what an interrupted response still sends is kept out ([`stale_filter`]).
//!
//! Audio is 24 kHz PCM, or G.711 in one law both ways. A server that confirms another format than was asked for fails the
//! session: the caller would hear noise.
//!
//! What this does not do: reconnect (there is no resume), MCP, text modality, sideband connections.
//!
//! Source: OpenAI's Realtime guides and API reference, as of 2026.
//!
//! [`Ready`]: ProviderEvent::Ready

mod append;
mod audio_items;
mod config;
mod endpoint;
mod error;
mod events;
mod half_samples;
mod lenient;
mod lifetime;
mod queue;
mod request;
mod responses;
mod server;
mod stale_filter;
mod tool_calls;

pub use endpoint::{EndpointRequest, endpoint};

use std::time::Duration;

use voicebridge_audio::{Time, playout::EndedItem};

use super::{
    AfterTool, AudioFormat, Capabilities, Decode, Failure, Outbox, PingPolicy, Provider, ProviderCommand, ProviderEvent,
};
use crate::{
    agent::{Agent, BargeIn},
    ports::{AudioDelta, Frame, ProviderClosed},
};
use append::Append;
use audio_items::AudioItems;
use half_samples::HalfSamples;
use lifetime::Lifetime;
use queue::{Answerer, ResponseQueue};
use request::{Create, Ids};
use responses::{Goodbye, RateLimit};
use stale_filter::StaleFilter;
use tool_calls::ToolCalls;

/// Model when none is configured.
pub const DEFAULT_MODEL: &str = "gpt-realtime-2.1";
/// Transcribes the caller's words.
pub const TRANSCRIPTION_MODEL: &str = "gpt-transcribe";
/// Where the service is.
pub const DEFAULT_URL: &str = "wss://api.openai.com/v1/realtime";
/// Models known to exist, for the message when the one asked for does not.
pub const KNOWN_MODELS: [&str; 4] = ["gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-2", "gpt-realtime-1.5"];

/// The service answers pings (RFC 6455) at once; it closes a socket that does not answer its own.
const PING: PingPolicy = PingPolicy {
    every: Duration::from_secs(8),
    dead_after: Duration::from_secs(18),
    waiting_every: Duration::from_millis(1_500),
    waiting_dead_after: Duration::from_millis(4_500),
};

/// Which models to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiSettings {
    /// The speech-to-speech model.
    pub model: String,
    /// The transcription model.
    pub transcription_model: String,
}

impl Default for OpenAiSettings {
    fn default() -> Self {
        Self { model: DEFAULT_MODEL.to_owned(), transcription_model: TRANSCRIPTION_MODEL.to_owned() }
    }
}

/// One conversation with OpenAI Realtime.
#[derive(Debug)]
pub struct OpenAi {
    settings: OpenAiSettings,
    format: AudioFormat,
    phase: OpenAiPhase,
    /// Session id from `session.created`.
    session_id: String,
    /// What every response's own instructions begin with: they replace the session's.
    instructions: String,
    greeting: String,
    ids: Ids,
    queue: ResponseQueue,
    tool_calls: ToolCalls,
    stale_filter: StaleFilter,
    audio_items: AudioItems,
    half_samples: HalfSamples,
    append: Append,
    /// Replies in a row that failed or never came.
    failures: u32,
    rate_limit: RateLimit,
    goodbye: Goodbye,
    /// The beta protocol was named as what the server speaks.
    told_of_beta: bool,
    lifetime: Lifetime,
}

/// How far the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OpenAiPhase {
    /// No socket yet.
    Unopened,
    /// The configuration was sent under this event id.
    Configuring { event_id: String },
    /// Confirmed.
    Ready,
    /// Failed; nothing is sent or reported any more.
    Dead,
}

impl OpenAi {
    /// A conversation that waits for its socket.
    #[must_use]
    pub fn new(settings: OpenAiSettings) -> Self {
        Self {
            settings,
            format: AudioFormat::default(),
            phase: OpenAiPhase::Unopened,
            session_id: String::new(),
            instructions: String::new(),
            greeting: String::new(),
            ids: Ids::default(),
            queue: ResponseQueue::default(),
            tool_calls: ToolCalls::default(),
            stale_filter: StaleFilter::default(),
            audio_items: AudioItems::default(),
            half_samples: HalfSamples::default(),
            append: Append::default(),
            failures: 0,
            rate_limit: RateLimit::default(),
            goodbye: Goodbye::default(),
            told_of_beta: false,
            lifetime: Lifetime::default(),
        }
    }

    /// What time it is when the conversation is made, in seconds since 1970: so that an end at the session's longest
    /// duration is known for one.
    #[must_use]
    pub const fn made_at_unix_s(mut self, unix_s: u64) -> Self {
        self.lifetime.unix_s = Some(unix_s);
        self
    }

    fn fail(&mut self, failure: Failure, out: &mut Outbox<'_>) {
        if self.phase != OpenAiPhase::Dead {
            self.phase = OpenAiPhase::Dead;
            out.event(ProviderEvent::Failed(failure));
        }
    }

    /// Cuts the server's conversation to what was heard.
    fn cut(&mut self, cut: &EndedItem, response_active: bool, out: &mut Outbox<'_>) {
        self.stale_filter.item(&cut.item);
        let heard_ms =
            cut.heard_samples.min(cut.received_samples) * 1_000 / u64::from(voicebridge_audio::SAMPLE_RATE_HZ);
        if heard_ms == 0 {
            // A truncation to nothing is refused; what was never heard was never said.
            out.send(&request::item_delete(&self.ids.next("delete"), &cut.item));
        } else if cut.heard_samples < cut.received_samples || response_active {
            out.send(&request::item_truncate(&self.ids.next("truncate"), &cut.item, heard_ms));
        }
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn model(&self) -> &str {
        &self.settings.model
    }

    fn transcription_model(&self) -> &str {
        &self.settings.transcription_model
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { needs_socket: true, says_any_text: true, speaks_g711: true, owes_answer: true, ping: Some(PING) }
    }

    fn open(&mut self, now: Time, agent: &Agent, format: AudioFormat, out: &mut Outbox<'_>) {
        if self.phase != OpenAiPhase::Unopened {
            return;
        }
        self.lifetime.open(now);
        self.format = format;
        let answerer = if agent.barge_in == BargeIn::Immediate { Answerer::Server } else { Answerer::Us };
        self.queue = ResponseQueue::new(answerer);
        self.instructions = config::instructions(agent);
        self.greeting.clone_from(&agent.greeting);
        let event_id = self.ids.next("session");
        out.send(&config::session_update(&event_id, agent, format, &self.instructions, &self.settings));
        self.phase = OpenAiPhase::Configuring { event_id };
    }

    fn decode(&self) -> Decode {
        server::decode
    }

    fn message(&mut self, now: Time, frame: Frame<'_>, out: &mut Outbox<'_>) {
        self.lifetime.latest = now;
        match frame {
            Frame::Text(text) if self.phase != OpenAiPhase::Dead => self.on_message(now, text, out),
            // Binary messages are not part of the protocol.
            Frame::Text(_) | Frame::Binary(_) => {}
        }
    }

    fn audio_delta(&mut self, now: Time, delta: AudioDelta<'_>, out: &mut Outbox<'_>) {
        if self.phase != OpenAiPhase::Dead {
            self.on_audio_delta(now, delta, out);
        }
    }

    fn audio(&mut self, now: Time, pcm: &[i16], out: &mut Outbox<'_>) {
        self.lifetime.latest = now;
        if self.phase == OpenAiPhase::Ready && !pcm.is_empty() {
            out.send_audio(Frame::Text(self.append.message(self.format, pcm)));
        }
    }

    fn command(&mut self, now: Time, command: ProviderCommand<'_>, out: &mut Outbox<'_>) {
        if self.phase != OpenAiPhase::Ready {
            return;
        }
        match command {
            ProviderCommand::Greet => {
                if !self.greeting.is_empty() {
                    self.create(now, Create::Greeting(self.greeting.clone()), out);
                }
            }
            ProviderCommand::Say(text) => {
                self.goodbye = Goodbye::None;
                self.create(now, Create::Say(text.to_owned()), out);
            }
            ProviderCommand::Reply => {
                self.goodbye = Goodbye::None;
                self.create(now, Create::Answer, out);
            }
            ProviderCommand::InjectText(text) => {
                self.goodbye = Goodbye::None;
                out.send(&request::user_text(&self.ids.next("item"), text));
                self.create(now, Create::Reply, out);
            }
            ProviderCommand::Interrupt(cuts) => {
                let response_active = self.queue.is_active();
                self.interrupt(now, out);
                for cut in cuts {
                    self.cut(cut, response_active, out);
                }
            }
            ProviderCommand::ToolResult { call_id, output, then } => {
                self.goodbye.on_outcome(call_id);
                out.send(&request::tool_output(&self.ids.next("item"), call_id, output));
                if self.tool_calls.outcome(now, call_id, then == AfterTool::Reply) {
                    self.create(now, Create::AfterTools, out);
                }
            }
            ProviderCommand::Farewell => {
                self.goodbye = Goodbye::Asked;
                self.create(now, Create::Farewell, out);
            }
            ProviderCommand::CallKept => self.goodbye = Goodbye::None,
        }
    }

    fn tick(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.phase == OpenAiPhase::Ready {
            self.on_time(now, out);
        }
    }

    fn deadline(&self) -> Option<Time> {
        if self.phase == OpenAiPhase::Ready {
            [self.queue.deadline(), self.tool_calls.deadline()].into_iter().flatten().min()
        } else {
            None
        }
    }

    fn closed(&self, closed: ProviderClosed<'_>) -> Failure {
        error::of_closed(closed, self.lifetime.is_over(), &self.settings.model)
    }
}

#[cfg(test)]
mod tests;
