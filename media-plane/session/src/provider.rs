//! The AI's side of a call: one trait, normalised events and commands, and the two providers that exist.
//!
//! Flow: the session hands a [`Provider`] what happens (socket open, messages, the caller's audio, commands, time) and an
//! [`Outbox`]; the provider writes its wire messages and [`ProviderEvent`]s into it. A provider translates and keeps the
//! rules of its protocol; what an event means for the call is decided by the session.
//!
//! What this does not do: sockets (the driver's), playout and what was heard (the session's).

pub mod embedded;
pub mod openai;

mod event;

pub use event::{AfterTool, ProviderCommand, ProviderEvent, Purpose, TextMode};

use std::{collections::VecDeque, fmt, time::Duration};

use voicebridge_audio::{SAMPLE_RATE_HZ, Time, g711, g711::Law};

use crate::{
    agent::Agent,
    ports::{AudioDelta, Frame, ProviderClosed},
};

/// What a provider can do, as far as the session behaves differently by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It lives behind a WebSocket that the driver opens. Without one the session opens the provider itself.
    pub needs_socket: bool,
    /// It can say any text it is given.
    pub says_any_text: bool,
    /// It takes and gives G.711 as well as 24 kHz PCM.
    pub speaks_g711: bool,
    /// It owes an answer to every turn of the caller; where it does not, silence is a legal answer.
    pub owes_answer: bool,
    /// How its socket is asked for signs of life; `None`: never, a ping would harm it or there is no socket.
    pub ping: Option<PingPolicy>,
}

/// Where a provider's socket is: address and headers of the upgrade request. Its `Debug` shows no header value.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `wss://`, with its query.
    pub url: String,
    /// Name in lower case, value. Holds the key.
    pub headers: Vec<(&'static str, String)>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        formatter.debug_struct("Endpoint").field("url", &self.url).field("headers", &names).finish()
    }
}

/// How a provider's socket is asked for signs of life (RFC 6455, section 5.5.2). Anything that comes is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingPolicy {
    /// Between two pings.
    pub every: Duration,
    /// Without a sign of life for so long the socket is given up.
    pub dead_after: Duration,
    /// Between two pings while the caller waits for an answer.
    pub waiting_every: Duration,
    /// Without a sign of life for so long, while the caller waits for an answer, the socket is given up.
    pub waiting_dead_after: Duration,
}

/// What a message from a provider's socket is.
#[derive(Debug)]
pub enum Decoded {
    /// A piece of the AI's voice.
    Audio {
        /// The response it belongs to.
        response_id: String,
        /// The item it belongs to.
        item_id: String,
        /// Samples as they came.
        bytes: Vec<u8>,
    },
    /// Anything else: for [`Provider::message`], as it came.
    Other,
}

/// Reads a message as far as telling audio from the rest, and decodes audio. Pure, and run off the media thread: audio is
/// most of what a provider sends.
pub type Decode = fn(Frame<'_>) -> Decoded;

/// How audio goes to a provider and comes from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudioFormat {
    /// 16 bits at 24 kHz.
    #[default]
    Pcm,
    /// A byte for each sample at 8 kHz.
    G711(Law),
}

impl AudioFormat {
    /// Samples a second.
    #[must_use]
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Pcm => SAMPLE_RATE_HZ,
            Self::G711(_) => g711::SAMPLE_RATE_HZ,
        }
    }
}

/// One conversation with an AI.
pub trait Provider: Send {
    /// `openai` or `embedded`.
    fn name(&self) -> &'static str;

    /// Model asked for.
    fn model(&self) -> &str;

    /// The model that writes down what the caller says, where that has a price of its own; else empty.
    fn transcription_model(&self) -> &str {
        ""
    }

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The socket is open; in process: the session begins. Comes first, once. Audio is in `format` both ways, which is
    /// [`AudioFormat::Pcm`] unless [`Capabilities::speaks_g711`].
    fn open(&mut self, now: Time, agent: &Agent, format: AudioFormat, out: &mut Outbox<'_>);

    /// Tells audio from the rest of what its socket brings. In process: nothing comes.
    fn decode(&self) -> Decode {
        |_| Decoded::Other
    }

    /// A message came from the socket that is not audio. In process: none comes.
    fn message(&mut self, _now: Time, _frame: Frame<'_>, _out: &mut Outbox<'_>) {}

    /// A piece of the AI's voice came from the socket. In process: none comes.
    fn audio_delta(&mut self, _now: Time, _delta: AudioDelta<'_>, _out: &mut Outbox<'_>) {}

    /// The next piece of the caller's audio, mono, at the format's rate, at most 20 ms. Only after [`ProviderEvent::Ready`].
    fn audio(&mut self, now: Time, pcm: &[i16], out: &mut Outbox<'_>);

    /// Something to do. Before [`ProviderEvent::Ready`] commands are ignored; the session does not send any.
    fn command(&mut self, now: Time, command: ProviderCommand<'_>, out: &mut Outbox<'_>);

    /// Time passed: called whenever [`Provider::deadline`] is due.
    fn tick(&mut self, now: Time, out: &mut Outbox<'_>);

    /// When it wants to be called even if nothing happens.
    fn deadline(&self) -> Option<Time>;

    /// Why the socket is gone, in the provider's terms.
    fn closed(&self, closed: ProviderClosed<'_>) -> Failure;
}

/// Why a provider is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The provider's own code, e.g. `model_not_found`, `invalid_api_key`, `http_503`, `closed_1001`.
    pub code: String,
    /// What it means and what to do, for a person. Holds no secret.
    pub message: String,
}

/// Where a provider puts what it has to say.
pub struct Outbox<'a> {
    wire: &'a mut dyn Wire,
    events: &'a mut VecDeque<ProviderEvent>,
}

/// A provider's socket, as a provider writes to it.
pub trait Wire {
    /// Sends a message that must arrive, in order with all others.
    fn send_control(&mut self, frame: Frame<'_>);
    /// Sends a piece of the caller's voice, which may be left out if the socket is too slow.
    fn send_audio(&mut self, frame: Frame<'_>);
}

impl<'a> Outbox<'a> {
    /// `wire` takes messages for the socket, `events` what happened.
    pub fn new(wire: &'a mut dyn Wire, events: &'a mut VecDeque<ProviderEvent>) -> Self {
        Self { wire, events }
    }

    /// Sends a text message that must arrive.
    pub fn send(&mut self, message: &str) {
        self.wire.send_control(Frame::Text(message));
    }

    /// Sends a piece of the caller's voice.
    pub fn send_audio(&mut self, frame: Frame<'_>) {
        self.wire.send_audio(frame);
    }

    /// Reports what happened.
    pub fn event(&mut self, event: ProviderEvent) {
        self.events.push_back(event);
    }
}
