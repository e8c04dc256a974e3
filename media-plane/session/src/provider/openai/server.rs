//! Server events, read. The type is read first and only then the fields of the types we act on, so that an unknown event
//! of any shape is ignored instead of refused; odd fields are read as well as can be ([`lenient`]).
//!
//! Names of the beta protocol are taken for those of today: deployments of other makers still use them.

mod shapes;

use std::borrow::Cow;

use base64_simd::STANDARD;
use serde::Deserialize;
use voicebridge_text::surrogates;

use super::{config::Effective, lenient};
use crate::{event::Usage, ports::Frame, provider::Decoded};
use shapes::{Completed, Offsets, RateLimits, WithCreated, WithError, WithItem, WithResponse, WithSession};
pub(super) use shapes::{ConversationItem, Created, ErrorBody, Piece, Response};

/// The events we act on.
#[derive(Debug)]
pub(super) enum ServerEvent {
    SessionCreated(Created),
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
    UserDelta(Piece),
    UserCompleted {
        item_id: String,
        transcript: String,
        /// Empty if it was not told.
        language: String,
        usage: Usage,
    },
    UserFailed {
        code: String,
        message: String,
    },
    ResponseCreated(Response),
    /// Audio that is none: the rest is decoded off the media thread.
    BadAudio,
    AudioDone(Piece),
    TextDelta(Piece),
    TextDone(Piece),
    ItemDone {
        response_id: String,
        item: ConversationItem,
    },
    ResponseDone(Response),
    RateLimits {
        reset_seconds: f64,
    },
    Error(ErrorBody),
    /// Known and of no interest, or unknown.
    Other,
}

/// The events that carry audio.
const AUDIO_DELTA: &str = "response.output_audio.delta";
const BETA_AUDIO_DELTA: &str = "response.audio.delta";

/// Tells audio from the rest, and decodes it.
pub(super) fn decode(frame: Frame<'_>) -> Decoded {
    let Frame::Text(text) = frame else { return Decoded::Other };
    if let Some(audio) = read_audio_at_the_end(text) {
        return audio;
    }
    let audio = match read_audio(text) {
        Err(_) => surrogates::mended(text).and_then(|mended| read_audio(&mended).ok()?),
        Ok(audio) => audio,
    };
    audio.unwrap_or(Decoded::Other)
}

/// How the service writes a delta: its voice is the last field.
const AUDIO_FIELD: &str = r#""delta":""#;

/// A delta as the service writes it, without looking at each byte of its voice: whatever is not base64 from there to the
/// end of the object is left to a reader of JSON, and so is all else.
fn read_audio_at_the_end(text: &str) -> Option<Decoded> {
    let (head, rest) = text.split_once(AUDIO_FIELD)?;
    let bytes = STANDARD.decode_to_vec(rest.strip_suffix(r#""}"#)?).ok()?;
    match read_audio(&format!(r#"{head}{AUDIO_FIELD}"}}"#)).ok()?? {
        Decoded::Audio { response_id, item_id, .. } => Some(Decoded::Audio { response_id, item_id, bytes }),
        Decoded::Other => None,
    }
}

fn read_audio(text: &str) -> Result<Option<Decoded>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Delta<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(default, deserialize_with = "lenient::or_default")]
        response_id: String,
        #[serde(default, deserialize_with = "lenient::or_default")]
        item_id: String,
        #[serde(borrow, default)]
        delta: Cow<'a, str>,
    }
    let Delta { kind, response_id, item_id, delta } = serde_json::from_str(text)?;
    if kind != AUDIO_DELTA && kind != BETA_AUDIO_DELTA {
        return Ok(None);
    }
    let bytes = STANDARD.decode_to_vec(delta.as_bytes()).ok();
    Ok(bytes.map(|bytes| Decoded::Audio { response_id, item_id, bytes }))
}

/// The name of today for one of the beta protocol.
fn renamed(kind: &str) -> Option<&'static str> {
    Some(match kind {
        BETA_AUDIO_DELTA => AUDIO_DELTA,
        "response.audio.done" => "response.output_audio.done",
        "response.audio_transcript.delta" => "response.output_audio_transcript.delta",
        "response.audio_transcript.done" => "response.output_audio_transcript.done",
        _ => return None,
    })
}

/// A message that was read.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) event: ServerEvent,
    /// It bears a name of the beta protocol.
    pub(super) beta: bool,
}

/// The type of the message that says what configuration is in force.
pub(super) const SESSION_UPDATED: &str = "session.updated";

/// Reads a message.
pub(super) fn parse(text: &str) -> Result<Message, serde_json::Error> {
    read_message(text).or_else(|error| surrogates::mended(text).map_or(Err(error), |mended| read_message(&mended)))
}

fn read_message(text: &str) -> Result<Message, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let Head { kind } = serde_json::from_str(text)?;
    let renamed = renamed(&kind);
    Ok(Message { event: read_event(renamed.unwrap_or(&kind), text)?, beta: renamed.is_some() })
}

fn read_event(kind: &str, text: &str) -> Result<ServerEvent, serde_json::Error> {
    Ok(match kind {
        // One that could be decoded came another way: see `decode`.
        AUDIO_DELTA => ServerEvent::BadAudio,
        "response.output_audio.done" => ServerEvent::AudioDone(read(text)?),
        "response.output_audio_transcript.delta" => ServerEvent::TextDelta(read(text)?),
        "response.output_audio_transcript.done" => ServerEvent::TextDone(read(text)?),
        "input_audio_buffer.speech_started" => {
            let Offsets { item_id, audio_start_ms, .. } = read(text)?;
            ServerEvent::SpeechStarted { item_id, audio_ms: audio_start_ms }
        }
        "input_audio_buffer.speech_stopped" => {
            ServerEvent::SpeechStopped { audio_ms: read::<Offsets>(text)?.audio_end_ms }
        }
        "input_audio_buffer.committed" => ServerEvent::Committed,
        "conversation.item.input_audio_transcription.delta" => ServerEvent::UserDelta(read(text)?),
        "conversation.item.input_audio_transcription.completed" => {
            let Completed { item_id, transcript, languages, usage } = read(text)?;
            let language = languages.into_iter().next().unwrap_or_default().code;
            ServerEvent::UserCompleted { item_id, transcript, language, usage: usage.into_usage() }
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
        "session.created" => ServerEvent::SessionCreated(read::<WithCreated>(text)?.session),
        SESSION_UPDATED => ServerEvent::SessionUpdated(read::<WithSession>(text)?.session),
        "rate_limits.updated" => {
            let limits = read::<RateLimits>(text)?.rate_limits.into_iter();
            let exhausted = limits.filter(|limit| limit.remaining.is_some_and(|remaining| remaining <= 0.0));
            ServerEvent::RateLimits { reset_seconds: exhausted.map(|limit| limit.reset_seconds).fold(0.0, f64::max) }
        }
        "error" => ServerEvent::Error(read::<WithError>(text)?.error),
        _ => ServerEvent::Other,
    })
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}
