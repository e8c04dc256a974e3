//! OpenAI Realtime, GA protocol, over a WebSocket that the driver owns.
//!
//! Flow: socket open -> `session.update` with the whole configuration -> `session.updated`, checked -> [`Ready`]; then
//! one append per 20 ms of the caller, and the server's events normalised. One response at a time ([`slot`]); what an
//! interrupted response still sends is kept out ([`fence`]).
//!
//! Audio is 24 kHz PCM, or G.711 in one law both ways. A server that confirms another format than was asked for fails the
//! session: it would be static in the caller's ear.
//!
//! What this does not do: reconnect (there is no resume), MCP, text modality, sideband connections.
//!
//! Source: OpenAI's Realtime guides and API reference, as of 2026.
//!
//! [`Ready`]: ProviderEvent::Ready

mod append;
mod config;
mod endpoint;
mod error;
mod events;
mod fence;
mod half_samples;
mod lenient;
mod request;
mod server;
mod slot;
mod sounding;
mod surrogates;

pub use endpoint::{Connection, Endpoint, endpoint};

use std::time::Duration;

use voicebridge_audio::{Time, playout::Cut};

use super::{
    AfterTool, AudioFormat, Capabilities, Decode, Failure, Outbox, PingPolicy, Provider, ProviderCommand, ProviderEvent,
};
use crate::{
    agent::Agent,
    ports::{AudioDelta, Frame, ProviderClosed},
};
use append::Append;
use fence::Fence;
use half_samples::HalfSamples;
use request::{Create, Ids};
use slot::Slot;
use sounding::Sounding;

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
    phase: Phase,
    /// Session id from `session.created`.
    session_id: String,
    /// What every response's own instructions begin with: they replace the session's.
    instructions: String,
    greeting: String,
    ids: Ids,
    slot: Slot,
    fence: Fence,
    sounding: Sounding,
    half_samples: HalfSamples,
    append: Append,
    /// Replies in a row that failed or never came.
    failures: u32,
    /// From the last report of the rate limits.
    rate_limit_reset: Duration,
    /// The beta protocol was named as what the server speaks.
    told_of_beta: bool,
}

/// How far the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
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
            phase: Phase::Unopened,
            session_id: String::new(),
            instructions: String::new(),
            greeting: String::new(),
            ids: Ids::default(),
            slot: Slot::default(),
            fence: Fence::default(),
            sounding: Sounding::default(),
            half_samples: HalfSamples::default(),
            append: Append::default(),
            failures: 0,
            rate_limit_reset: Duration::ZERO,
            told_of_beta: false,
        }
    }

    fn fail(&mut self, failure: Failure, out: &mut Outbox<'_>) {
        if self.phase != Phase::Dead {
            self.phase = Phase::Dead;
            out.event(ProviderEvent::Failed(failure));
        }
    }

    /// Asks for a reply, now or when the slot is free.
    fn create(&mut self, now: Time, create: Create, out: &mut Outbox<'_>) {
        if self.slot.enqueue(create) {
            self.release(now, out);
        } else {
            out.event(ProviderEvent::Error {
                code: "response_queue_full".to_owned(),
                message: "too many replies are waiting to be spoken; this one was dropped".to_owned(),
            });
        }
    }

    /// Sends the next waiting `response.create` if the slot is free.
    fn release(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.phase != Phase::Ready {
            return;
        }
        if let Some((event_id, create)) = self.slot.take_due(now, &mut self.ids) {
            let message = request::response_create(event_id, create, &self.instructions);
            out.send(&message);
        }
    }

    /// Stops the response being generated, if there is one. Unless interruption is ours alone, the server cancels by
    /// itself when its voice detection fired; a second cancel is answered with an error that is ignored.
    fn cancel_active(&mut self, now: Time, out: &mut Outbox<'_>) {
        if let Some(response_id) = self.slot.cancel(now) {
            self.fence.response(&response_id);
            out.send(&request::response_cancel(&self.ids.next("cancel"), &response_id));
        }
    }

    /// Cuts the server's conversation to what was heard.
    fn cut(&mut self, cut: &Cut, response_active: bool, out: &mut Outbox<'_>) {
        self.fence.item(&cut.item);
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

    fn capabilities(&self) -> Capabilities {
        Capabilities { needs_socket: true, says_any_text: true, speaks_g711: true, owes_answer: true, ping: Some(PING) }
    }

    fn open(&mut self, _now: Time, agent: &Agent, format: AudioFormat, out: &mut Outbox<'_>) {
        if self.phase != Phase::Unopened {
            return;
        }
        self.format = format;
        self.instructions = config::instructions(agent);
        self.greeting.clone_from(&agent.greeting);
        let event_id = self.ids.next("session");
        out.send(&config::session_update(&event_id, agent, format, &self.instructions, &self.settings));
        self.phase = Phase::Configuring { event_id };
    }

    fn decode(&self) -> Decode {
        server::decode
    }

    fn message(&mut self, now: Time, frame: Frame<'_>, out: &mut Outbox<'_>) {
        match frame {
            Frame::Text(text) if self.phase != Phase::Dead => self.on_message(now, text, out),
            // Binary messages are not part of the protocol.
            Frame::Text(_) | Frame::Binary(_) => {}
        }
    }

    fn audio_delta(&mut self, now: Time, delta: AudioDelta<'_>, out: &mut Outbox<'_>) {
        if self.phase != Phase::Dead {
            self.on_audio_delta(now, delta, out);
        }
    }

    fn audio(&mut self, _now: Time, pcm: &[i16], out: &mut Outbox<'_>) {
        if self.phase == Phase::Ready && !pcm.is_empty() {
            out.send_audio(Frame::Text(self.append.message(self.format, pcm)));
        }
    }

    fn command(&mut self, now: Time, command: ProviderCommand<'_>, out: &mut Outbox<'_>) {
        if self.phase != Phase::Ready {
            return;
        }
        match command {
            ProviderCommand::Greet => {
                if !self.greeting.is_empty() {
                    self.create(now, Create::Greeting(self.greeting.clone()), out);
                }
            }
            ProviderCommand::Say(text) => self.create(now, Create::Say(text.to_owned()), out),
            ProviderCommand::Reply => self.create(now, Create::Reply, out),
            ProviderCommand::InjectText(text) => {
                out.send(&request::user_text(&self.ids.next("item"), text));
                self.create(now, Create::Reply, out);
            }
            ProviderCommand::Interrupt(cuts) => {
                let response_active = self.slot.is_active();
                self.half_samples.clear();
                self.cancel_active(now, out);
                for cut in cuts {
                    self.cut(cut, response_active, out);
                }
            }
            ProviderCommand::ToolResult { call_id, output, then } => {
                out.send(&request::tool_output(&self.ids.next("item"), call_id, output));
                if then == AfterTool::Reply {
                    self.create(now, Create::Reply, out);
                }
            }
            ProviderCommand::Farewell => self.create(now, Create::Farewell, out),
        }
    }

    fn tick(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.phase != Phase::Ready {
            return;
        }
        if let Some(stuck) = self.slot.expire(now) {
            self.on_stuck(stuck, out);
        }
        self.release(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        if self.phase == Phase::Ready { self.slot.deadline() } else { None }
    }

    fn closed(&self, closed: ProviderClosed<'_>) -> Failure {
        error::of_closed(closed, &self.settings.model)
    }
}

#[cfg(test)]
mod tests;
