//! What server events look like, as far as we act on them.

use serde::Deserialize;

use super::super::{config::Effective, lenient};
use crate::event::{ResponseStatus, Usage};

/// What a session begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Created {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) id: String,
    /// Seconds since 1970; 0 when not told.
    #[serde(deserialize_with = "lenient::count")]
    pub(in super::super) expires_at: u64,
}

/// A piece of an item of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Piece {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) response_id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) item_id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) delta: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) transcript: String,
}

/// A conversation item, as far as tools need it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct ConversationItem {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) id: String,
    #[serde(rename = "type", deserialize_with = "lenient::or_default")]
    pub(in super::super) kind: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) status: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) call_id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) name: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) arguments: String,
}

/// A response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Response {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(in super::super) id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    status: String,
    #[serde(deserialize_with = "lenient::or_default")]
    status_details: StatusDetails,
    #[serde(deserialize_with = "lenient::or_default")]
    metadata: Metadata,
    #[serde(deserialize_with = "lenient::or_default")]
    usage: ResponseUsage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    /// See [`super::request::METADATA_KEY`].
    #[serde(deserialize_with = "lenient::filled")]
    voicebridge_event_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusDetails {
    #[serde(deserialize_with = "lenient::filled")]
    reason: Option<String>,
    #[serde(deserialize_with = "lenient::or_default")]
    error: Option<ErrorBody>,
}

/// The body of an error, here and in `status_details`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct ErrorBody {
    #[serde(rename = "type", deserialize_with = "lenient::filled")]
    pub(in super::super) kind: Option<String>,
    #[serde(deserialize_with = "lenient::filled")]
    pub(in super::super) code: Option<String>,
    #[serde(deserialize_with = "lenient::filled")]
    pub(in super::super) message: Option<String>,
    #[serde(deserialize_with = "lenient::filled")]
    pub(in super::super) event_id: Option<String>,
}

impl ErrorBody {
    /// The code, else the type, else `unknown`.
    pub(in super::super) fn name(&self) -> &str {
        self.code.as_deref().or(self.kind.as_deref()).unwrap_or("unknown")
    }

    pub(in super::super) fn text(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResponseUsage {
    #[serde(deserialize_with = "lenient::or_default")]
    input_token_details: InputTokens,
    #[serde(deserialize_with = "lenient::or_default")]
    output_token_details: OutputTokens,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InputTokens {
    #[serde(deserialize_with = "lenient::count")]
    text_tokens: u64,
    #[serde(deserialize_with = "lenient::count")]
    audio_tokens: u64,
    #[serde(deserialize_with = "lenient::count")]
    cached_tokens: u64,
    #[serde(deserialize_with = "lenient::or_default")]
    cached_tokens_details: Option<CachedTokens>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CachedTokens {
    #[serde(deserialize_with = "lenient::count")]
    text_tokens: u64,
    #[serde(deserialize_with = "lenient::count")]
    audio_tokens: u64,
}

impl InputTokens {
    /// Of the two kinds, those billed as cached. A prompt is cached from its beginning on, where instructions and tools are:
    /// without details text comes first.
    fn cached(&self) -> CachedTokens {
        match &self.cached_tokens_details {
            Some(CachedTokens { text_tokens, audio_tokens }) => {
                CachedTokens { text_tokens: *text_tokens, audio_tokens: *audio_tokens }
            }
            None => {
                let text_tokens = self.cached_tokens.min(self.text_tokens);
                CachedTokens { text_tokens, audio_tokens: (self.cached_tokens - text_tokens).min(self.audio_tokens) }
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputTokens {
    #[serde(deserialize_with = "lenient::count")]
    text_tokens: u64,
    #[serde(deserialize_with = "lenient::count")]
    audio_tokens: u64,
}

impl Response {
    /// The event id of ours that asked for it.
    pub(in super::super) fn tag(&self) -> Option<&str> {
        self.metadata.voicebridge_event_id.as_deref()
    }

    /// How it ended, once it has.
    pub(in super::super) fn status(&self) -> ResponseStatus {
        match &*self.status {
            "completed" => ResponseStatus::Completed,
            "cancelled" => ResponseStatus::Cancelled,
            "incomplete" => ResponseStatus::Incomplete,
            "failed" => ResponseStatus::Failed,
            _ => ResponseStatus::Other,
        }
    }

    /// Why it did not complete: the error's code, else the reason.
    pub(in super::super) fn reason(&self) -> &str {
        let details = &self.status_details;
        let error = details.error.as_ref().map(ErrorBody::name);
        error.or(details.reason.as_deref()).unwrap_or_default()
    }

    pub(in super::super) fn error_text(&self) -> &str {
        self.status_details.error.as_ref().map(ErrorBody::text).unwrap_or_default()
    }

    pub(in super::super) fn usage(&self) -> Usage {
        let ResponseUsage { input_token_details, output_token_details } = &self.usage;
        let cached = input_token_details.cached();
        Usage {
            input_text_tokens: input_token_details.text_tokens,
            input_audio_tokens: input_token_details.audio_tokens,
            cached_text_tokens: cached.text_tokens,
            cached_audio_tokens: cached.audio_tokens,
            output_text_tokens: output_token_details.text_tokens,
            output_audio_tokens: output_token_details.audio_tokens,
            ..Usage::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Offsets {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) item_id: String,
    #[serde(deserialize_with = "lenient::count")]
    pub(super) audio_start_ms: u64,
    #[serde(deserialize_with = "lenient::count")]
    pub(super) audio_end_ms: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Completed {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) item_id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) transcript: String,
    /// Those recognised, by newer models.
    #[serde(deserialize_with = "lenient::list")]
    pub(super) languages: Vec<Language>,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) usage: TranscriptionUsage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Language {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) code: String,
}

/// By tokens or by time, depending on the model.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TranscriptionUsage {
    #[serde(deserialize_with = "lenient::count")]
    total_tokens: u64,
    #[serde(deserialize_with = "lenient::or_default")]
    seconds: f64,
}

impl TranscriptionUsage {
    pub(super) fn into_usage(self) -> Usage {
        Usage {
            transcription_tokens: self.total_tokens,
            // Saturates; negative and absurd values become 0 and the maximum.
            transcription_ms: (self.seconds * 1_000.0).round() as u64,
            ..Usage::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WithError {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) error: ErrorBody,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WithResponse {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) response: Response,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WithCreated {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) session: Created,
}

/// Without a session it confirms nothing.
#[derive(Deserialize)]
pub(super) struct WithSession {
    pub(super) session: Effective,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WithItem {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) response_id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) item: ConversationItem,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimits {
    #[serde(deserialize_with = "lenient::list")]
    pub(super) rate_limits: Vec<ReportedLimit>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ReportedLimit {
    /// `None`: not told.
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) remaining: Option<f64>,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) reset_seconds: f64,
}
