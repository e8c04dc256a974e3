//! What the simulated server is and which faults it has. Everything is off or as documented by default.

use std::{collections::BTreeMap, time::Duration};

use crate::speech::SAMPLES_PER_MS;

/// The whole server.
#[derive(Clone, Debug)]
pub struct AiSettings {
    /// What it does with audio.
    pub mode: Mode,
    /// The bearer it accepts; `None` accepts any that is not empty.
    pub api_key: Option<String>,
    /// Models that exist.
    pub models: Vec<String>,
    /// How a model that does not exist is refused.
    pub unknown_model: UnknownModel,
    /// From the decision to reply to `response.created`.
    pub response_delay: Duration,
    /// From `response.created` to the first piece of audio.
    pub first_audio_delay: Duration,
    /// Audio is sent this many times faster than it plays. At least 0.1.
    pub speed: f64,
    /// Samples per audio delta, in turn. None is a multiple of a 20 ms frame by default.
    pub chunk_samples: Vec<usize>,
    /// Which recording is said when.
    pub replies: Replies,
    /// The tool called when the caller says goodbye, if the session has it.
    pub end_call_tool: String,
    /// Longest session; 60 minutes as at OpenAI.
    pub max_session: Duration,
    /// Faults of every session.
    pub faults: Faults,
    /// Faults of single sessions instead, by index from 0 in order of connection, refused upgrades included.
    pub faults_of: BTreeMap<usize, Faults>,
}

impl Default for AiSettings {
    fn default() -> Self {
        let models = [
            "gpt-realtime-2.1",
            "gpt-realtime-2.1-mini",
            "gpt-realtime-2",
            "gpt-realtime-1.5",
            "gpt-realtime",
            "gpt-realtime-mini",
        ];
        Self {
            mode: Mode::Converse,
            api_key: None,
            models: models.map(str::to_owned).to_vec(),
            unknown_model: UnknownModel::ErrorEvent,
            response_delay: Duration::ZERO,
            first_audio_delay: Duration::ZERO,
            speed: 8.0,
            chunk_samples: vec![1_237, 4_811, 2_399, 3_607],
            replies: Replies::default(),
            end_call_tool: "end_call".to_owned(),
            max_session: Duration::from_secs(60 * 60),
            faults: Faults::default(),
            faults_of: BTreeMap::new(),
        }
    }
}

impl AiSettings {
    /// An AI that speaks no faster than it is heard, 20 ms a message: nothing but the path to the caller takes time.
    #[must_use]
    pub fn real_time() -> Self {
        Self { speed: 1.0, chunk_samples: vec![20 * SAMPLES_PER_MS], ..Self::default() }
    }
}

/// What the server does with audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Detects speech and replies with speech.
    Converse,
    /// Sends each chunk back at once, as audio of one long response. Nothing is detected.
    Echo,
}

/// How a model that does not exist is refused. Both were seen at OpenAI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownModel {
    /// The socket opens, an `error` event with code `model_not_found` comes, the socket closes.
    ErrorEvent,
    /// HTTP 404 instead of the upgrade.
    Http,
}

/// Which recording is said when, by fixture name.
#[derive(Clone, Debug)]
pub struct Replies {
    /// Said by a response before anybody has spoken; `None` takes the rotation instead.
    pub greeting: Option<String>,
    /// By the fixture the caller was recognised to say. A goodbye without an entry is answered with the farewell of
    /// its language.
    pub answers: BTreeMap<String, String>,
    /// For everything else: the entry at (session index + reply index) modulo its length, so that sessions differ.
    pub rotation: Vec<String>,
}

impl Default for Replies {
    fn default() -> Self {
        let rotation = [
            "open-from-nine",
            "address-changed",
            "five-euros",
            "ten-o-clock",
            "near-the-market",
            "parcel-tomorrow",
            "three-steps",
        ];
        Self {
            greeting: Some("welcome".to_owned()),
            answers: BTreeMap::new(),
            rotation: rotation.map(str::to_owned).to_vec(),
        }
    }
}

impl Replies {
    /// Replies that fit what was asked, for transcripts that read like conversations.
    #[must_use]
    pub fn fitting() -> Self {
        let answers = [
            ("opening-hours", "open-from-nine"),
            ("where-is-my-order", "parcel-tomorrow"),
            ("wait-a-moment", "three-steps"),
            ("delivery-address", "address-changed"),
            ("store-today", "address-changed"),
            ("shipping-cost", "five-euros"),
            ("change-appointment", "five-euros"),
            ("invoice", "ten-o-clock"),
            ("monday-instead", "ten-o-clock"),
            ("payment", "near-the-market"),
            ("shop-location", "near-the-market"),
        ];
        let answers = answers.map(|(heard, said)| (heard.to_owned(), said.to_owned()));
        Self { answers: answers.into(), ..Self::default() }
    }
}

/// What goes wrong in a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// HTTP status instead of the upgrade: 401, 403, 404, 429, 500 or any other from 400 on.
    pub refuse_upgrade: Option<u16>,
    /// What happens to the first `session.update`.
    pub update: UpdateFault,
    /// The socket ends this long after the first `session.updated`.
    pub close_after: Option<(Duration, CloseFault)>,
    /// The server falls silent this long after the first `session.updated`.
    pub stall_after: Option<Duration>,
    /// By the index of the response in its session, from 0.
    pub responses: BTreeMap<usize, ResponseFault>,
    /// So many audio deltas of a cancelled response still come after its `response.done`.
    pub late_deltas: usize,
}

/// What happens to the first `session.update`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateFault {
    /// Answered at once.
    #[default]
    None,
    /// Answered this much later.
    Slow(Duration),
    /// Never answered.
    Never,
    /// Confirmed, and the formats of audio stay what they were: seen at OpenAI with G.711.
    KeepsFormats,
}

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseFault {
    /// A close frame with this code, 1001 or 1011 for instance.
    Code(u16),
    /// Without a close frame: the peer sees 1006.
    Abort,
}

/// What happens to one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFault {
    /// Fails with `server_error` after two pieces of audio.
    ServerError,
    /// Fails with `rate_limit_exceeded` before any.
    RateLimited,
    /// Ends `incomplete` with reason `max_output_tokens` halfway.
    Incomplete,
    /// Begins this much later.
    Slow(Duration),
}

/// A fault at the moment a test asks for it, see [`super::RealtimeServer::disrupt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// The socket ends.
    Close(CloseFault),
    /// No event is sent any more; pings are still answered.
    Silence,
    /// Nothing is read or written any more, pings included; TCP stays up.
    Freeze,
    /// Ends [`Disruption::Silence`] and [`Disruption::Freeze`]; events held back meanwhile are sent.
    Resume,
}
