//! Server events, read. The type is read first and only then the fields of the types we act on, so that an unknown event
//! of any shape is ignored instead of refused.

use std::borrow::Cow;

use base64_simd::STANDARD;
use serde::Deserialize;

use super::{config::Effective, request::METADATA_KEY};
use crate::{event::Usage, ports::Frame, provider::Decoded};

/// The events we act on.
#[derive(Debug)]
pub(super) enum ServerEvent<'a> {
    SessionCreated(Effective),
    SessionUpdated(Effective),
    SpeechStarted {
        item_id: String,
        audio_ms: u64,
    },
    SpeechStopped {
        audio_ms: u64,
    },
    /// What the caller said is an item of the conversation now; voice detection commits by itself.
    Committed,
    UserDelta(Piece<'a>),
    UserCompleted {
        item_id: Cow<'a, str>,
        transcript: Cow<'a, str>,
        usage: Usage,
    },
    UserFailed {
        code: String,
        message: String,
    },
    ResponseCreated(Response),
    AudioDone(Piece<'a>),
    TextDelta(Piece<'a>),
    TextDone(Piece<'a>),
    ItemDone {
        response_id: String,
        item: Item,
    },
    ResponseDone(Response),
    RateLimits {
        reset_seconds: f64,
    },
    Error(ErrorBody),
    /// A piece of audio that is not base64.
    BadAudio,
    /// Known and of no interest, or unknown.
    Other,
}

/// A piece of an item of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    pub(super) response_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) item_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) delta: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) transcript: Cow<'a, str>,
}

/// A conversation item, as far as tools need it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Item {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// A response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response {
    pub(super) id: String,
    pub(super) status: String,
    status_details: Option<StatusDetails>,
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
    usage: Option<ResponseUsage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusDetails {
    reason: Option<String>,
    error: Option<ErrorBody>,
}

/// The body of an error, here and in `status_details`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) event_id: Option<String>,
}

impl ErrorBody {
    /// The code, else the type, else `unknown`.
    pub(super) fn name(&self) -> &str {
        let filled = |text: &'_ Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        match (&self.code, &self.kind) {
            (Some(code), _) if filled(&self.code) => code,
            (_, Some(kind)) if filled(&self.kind) => kind,
            _ => "unknown",
        }
    }

    pub(super) fn text(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResponseUsage {
    input_token_details: InputTokens,
    output_token_details: OutputTokens,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InputTokens {
    text_tokens: u64,
    audio_tokens: u64,
    cached_tokens: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputTokens {
    text_tokens: u64,
    audio_tokens: u64,
}

impl Response {
    /// The event id of ours that asked for it.
    pub(super) fn tag(&self) -> Option<&str> {
        self.metadata.as_ref()?.get(METADATA_KEY)?.as_str()
    }

    /// Why it did not complete: the error's code, else the reason.
    pub(super) fn reason(&self) -> &str {
        let details = self.status_details.as_ref();
        let error = details.and_then(|details| details.error.as_ref()).map(ErrorBody::name);
        error.or_else(|| details.and_then(|details| details.reason.as_deref())).unwrap_or_default()
    }

    pub(super) fn error_text(&self) -> &str {
        let details = self.status_details.as_ref();
        details.and_then(|details| details.error.as_ref()).map(ErrorBody::text).unwrap_or_default()
    }

    pub(super) fn usage(&self) -> Usage {
        let Some(usage) = &self.usage else { return Usage::default() };
        Usage {
            input_text_tokens: usage.input_token_details.text_tokens,
            input_audio_tokens: usage.input_token_details.audio_tokens,
            cached_tokens: usage.input_token_details.cached_tokens,
            output_text_tokens: usage.output_token_details.text_tokens,
            output_audio_tokens: usage.output_token_details.audio_tokens,
            ..Usage::default()
        }
    }
}

/// The event that carries audio.
const AUDIO_DELTA: &str = "response.output_audio.delta";

/// Tells audio from the rest, and decodes it.
pub(super) fn decode(frame: Frame<'_>) -> Decoded {
    #[derive(Deserialize)]
    struct Delta<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow, default)]
        response_id: Cow<'a, str>,
        #[serde(borrow, default)]
        item_id: Cow<'a, str>,
        #[serde(borrow, default)]
        delta: Cow<'a, str>,
    }
    let Frame::Text(text) = frame else { return Decoded::Other };
    let Ok(message) = serde_json::from_str::<Delta<'_>>(text) else { return Decoded::Other };
    if message.kind != AUDIO_DELTA {
        return Decoded::Other;
    }
    match STANDARD.decode_to_vec(message.delta.as_bytes()) {
        Ok(bytes) => Decoded::Audio {
            response_id: message.response_id.into_owned(),
            item_id: message.item_id.into_owned(),
            bytes,
        },
        Err(_) => Decoded::Other,
    }
}

/// Reads a message.
pub(super) fn parse(text: &str) -> Result<ServerEvent<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_str(text)?;
    Ok(match &*head.kind {
        // One that could be decoded came another way: see `decode`.
        AUDIO_DELTA => ServerEvent::BadAudio,
        "response.output_audio.done" => ServerEvent::AudioDone(serde_json::from_str(text)?),
        "response.output_audio_transcript.delta" => ServerEvent::TextDelta(serde_json::from_str(text)?),
        "response.output_audio_transcript.done" => ServerEvent::TextDone(serde_json::from_str(text)?),
        "input_audio_buffer.speech_started" => {
            let Offsets { item_id, audio_start_ms, .. } = read(text)?;
            ServerEvent::SpeechStarted { item_id, audio_ms: audio_start_ms }
        }
        "input_audio_buffer.speech_stopped" => {
            ServerEvent::SpeechStopped { audio_ms: read::<Offsets>(text)?.audio_end_ms }
        }
        "input_audio_buffer.committed" => ServerEvent::Committed,
        "conversation.item.input_audio_transcription.delta" => ServerEvent::UserDelta(serde_json::from_str(text)?),
        "conversation.item.input_audio_transcription.completed" => {
            let completed: Completed<'_> = serde_json::from_str(text)?;
            ServerEvent::UserCompleted {
                usage: completed.usage.map(TranscriptionUsage::into_usage).unwrap_or_default(),
                item_id: completed.item_id,
                transcript: completed.transcript,
            }
        }
        "conversation.item.input_audio_transcription.failed" => {
            let error = read::<WithError>(text)?.error;
            ServerEvent::UserFailed { code: error.name().to_owned(), message: error.text().to_owned() }
        }
        "response.created" => ServerEvent::ResponseCreated(read::<WithResponse>(text)?.response),
        "response.done" => ServerEvent::ResponseDone(read::<WithResponse>(text)?.response),
        "response.output_item.done" => {
            let WithItem { response_id, item } = read(text)?;
            ServerEvent::ItemDone { response_id, item }
        }
        "session.created" => ServerEvent::SessionCreated(read::<WithSession>(text)?.session),
        "session.updated" => ServerEvent::SessionUpdated(read::<WithSession>(text)?.session),
        "rate_limits.updated" => {
            let exhausted = read::<RateLimits>(text)?.rate_limits.into_iter().filter(|limit| limit.remaining <= 0.0);
            ServerEvent::RateLimits { reset_seconds: exhausted.map(|limit| limit.reset_seconds).fold(0.0, f64::max) }
        }
        "error" => ServerEvent::Error(read::<WithError>(text)?.error),
        _ => ServerEvent::Other,
    })
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Offsets {
    item_id: String,
    audio_start_ms: u64,
    audio_end_ms: u64,
}

#[derive(Deserialize)]
struct Completed<'a> {
    #[serde(borrow, default)]
    item_id: Cow<'a, str>,
    #[serde(borrow, default)]
    transcript: Cow<'a, str>,
    usage: Option<TranscriptionUsage>,
}

/// By tokens or by time, depending on the model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TranscriptionUsage {
    total_tokens: u64,
    seconds: f64,
}

impl TranscriptionUsage {
    fn into_usage(self) -> Usage {
        Usage {
            transcription_tokens: self.total_tokens,
            // Saturates; negative and absurd values become 0 and the maximum.
            transcription_ms: (self.seconds * 1_000.0).round() as u64,
            ..Usage::default()
        }
    }
}

#[derive(Deserialize)]
struct WithError {
    #[serde(default)]
    error: ErrorBody,
}

#[derive(Deserialize)]
struct WithResponse {
    #[serde(default)]
    response: Response,
}

#[derive(Deserialize)]
struct WithSession {
    #[serde(default)]
    session: Effective,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WithItem {
    response_id: String,
    item: Item,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RateLimits {
    rate_limits: Vec<RateLimit>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RateLimit {
    remaining: f64,
    reset_seconds: f64,
}
