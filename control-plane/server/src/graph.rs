//! Meta's Graph API: the four things one can say about a user-initiated call.
//!
//! What is repeated when, and what a refusal means:
//!
//! | action | nobody answers, 5xx, `is_transient` | 429 or a code of a rate | a refusal of the repetition of what nobody answered |
//! |---|---|---|---|
//! | `pre_accept` | once more | until the time is up | a refusal: the call is turned down |
//! | `accept` | once more | until the time is up | it was done: Graph says so of a call in progress |
//! | `reject`, `terminate` | once more | until the time is up | it was done: the call is over at Meta |
//!
//! All four may be repeated: they name the call and say how it is to be. A pause that an answer asks for (`Retry-After`) is
//! kept if it ends before the time given does; else the answer stands.
//! Error bodies are read and kept: `error_data.details` is where Meta says what is wrong with an SDP.
//! Success is Meta's word for it, `"success": true`. A 2xx with `"success": false` or an error is a refusal. A 2xx that
//! says neither, or is no JSON, is taken for what the status says, because dropping a call that Meta has answered would be
//! worse; it is logged as a warning and noted in the call's `GraphAnswered`. The token and the SDP reach neither logs nor errors. Source: Meta, "Calling API reference" and "Error codes".

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use voicebridge_core::{
    call_life::{GraphAction, GraphOutcome},
    identity::Wacid,
};

use crate::{config::GraphAccess, store::Lease};

/// Pause before the first repetition; doubles up to the last, unless the answer asks for more.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Of a request that nobody answered, or that failed at Meta.
const REPETITIONS: usize = 1;
/// Of one that came too often, in the time given.
const RATE_REPETITIONS: usize = 8;
/// Codes of a rate, whatever the status: of the app, of the permissions, of the business, of the number, of calls.
const RATE_CODES: [i64; 5] = [4, 613, 80_007, 130_429, 138_005];
/// More of a body is not read: Meta's are below 2 KB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// What a 2xx lacked that was taken as success all the same.
const NO_JSON: &str = "taken as success: the answer was no JSON";
const NO_SUCCESS: &str = "taken as success: the answer did not say so";
/// A refusal that was taken as success.
const DONE_BEFORE: &str = "taken as success: the first request was not answered and its repetition refused";
/// Longest piece of Meta's text that is kept.
const MAX_DETAILS_CHARS: usize = 500;

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Graph {
    http: reqwest::Client,
    /// With version.
    url: String,
    phone_number_id: Option<String>,
    authorization: HeaderValue,
    /// Under which it may ask.
    lease: Arc<Lease>,
}

/// The client could not be made, or the URL not be used.
#[derive(Debug, thiserror::Error)]
pub enum GraphSetupError {
    /// TLS set-up failed.
    #[error("the HTTP client could not be made")]
    Client(#[from] reqwest::Error),
    /// Characters no header can carry.
    #[error("WHATSAPP_ACCESS_TOKEN holds characters that an HTTP header cannot carry")]
    Token(#[from] http::header::InvalidHeaderValue),
}

/// How a request came out, retry included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status of the last attempt; 0 when there was none.
    pub status: u16,
    /// From the first attempt to the last answer.
    pub duration_ms: u32,
    /// Meta's error, when it sent one.
    pub error: Option<GraphError>,
    /// Why there was no HTTP answer: `timeout` or `connection`.
    pub silence: Option<&'static str>,
    /// What was missing in an answer that was taken as success.
    pub doubt: Option<&'static str>,
    /// How long Meta asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether Meta may have done it although nobody answered.
    pub may_be_done: bool,
}

/// Whether a refusal of a repetition means that the request before it, which nobody answered, was done.
const fn refusal_means_done(action: GraphAction) -> bool {
    match action {
        GraphAction::PreAccept => false,
        GraphAction::Accept | GraphAction::Reject | GraphAction::Terminate => true,
    }
}

/// Meta's error object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GraphError {
    /// E.g. 100, 138003; 0 when missing.
    pub code: i64,
    /// More precise, e.g. 2494010; 0 when missing.
    pub error_subcode: i64,
    /// For developers.
    pub message: String,
    /// `error_data.details` after reading.
    #[serde(rename = "error_data", deserialize_with = "details")]
    pub details: String,
    /// For Meta's support.
    pub fbtrace_id: String,
    /// Meta suggests trying again.
    pub is_transient: bool,
}

impl Answer {
    /// What it means for the call.
    #[must_use]
    pub fn outcome(&self) -> GraphOutcome {
        match (&self.error, self.silence) {
            _ if self.doubt == Some(DONE_BEFORE) => GraphOutcome::Ok,
            (_, Some(silence)) => GraphOutcome::Unreachable { code: silence.to_owned() },
            (None, None) if (200..300).contains(&self.status) => GraphOutcome::Ok,
            (Some(error), None) if error.code != 0 => GraphOutcome::Refused { code: error.code.to_string() },
            (_, None) if self.status >= 500 => GraphOutcome::Unreachable { code: self.status.to_string() },
            (_, None) => GraphOutcome::Refused { code: self.status.to_string() },
        }
    }

    fn is_transient(&self) -> bool {
        self.silence.is_some() || self.status >= 500 || self.error.as_ref().is_some_and(|error| error.is_transient)
    }

    fn is_of_a_rate(&self) -> bool {
        self.status == 429 || self.error.as_ref().is_some_and(|error| RATE_CODES.contains(&error.code))
    }

    /// Meta looked at the request and does not do it. 401 and the like are about us, not about the call.
    fn is_refusal(&self) -> bool {
        matches!(self.status, 400 | 409) && self.silence.is_none() && !self.is_of_a_rate() && !self.is_transient()
    }

    /// No request was made.
    #[must_use]
    pub const fn not_asked(why: &'static str) -> Self {
        Self {
            status: 0,
            duration_ms: 0,
            error: None,
            silence: Some(why),
            doubt: None,
            retry_after: None,
            may_be_done: false,
        }
    }
}

impl GraphError {
    /// The most telling text there is.
    #[must_use]
    pub fn text(&self) -> &str {
        if self.details.is_empty() { &self.message } else { &self.details }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    messaging_product: &'static str,
    call_id: &'a str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Session<'a>>,
}

#[derive(Serialize)]
struct Session<'a> {
    // Meta's parameter table says "offer" here and means the caller's; ours is an answer, and nothing else is taken.
    sdp_type: &'static str,
    sdp: &'a str,
}

impl Graph {
    /// `graph_url` carries the version.
    ///
    /// # Errors
    /// TLS cannot be set up, or the token is no header value.
    pub fn new(graph_url: &str, access: &GraphAccess, timeout: Duration) -> Result<Self, GraphSetupError> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", access.access_token.expose_secret()))?;
        authorization.set_sensitive(true);
        voicebridge_telemetry::install_tls();
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            // A redirect would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        let (url, phone_number_id) = (graph_url.to_owned(), access.phone_number_id.clone());
        Ok(Self { http, url, phone_number_id, authorization, lease: Arc::new(Lease::unlimited()) })
    }

    /// The same, which asks nothing while this lease is not held.
    #[must_use]
    pub fn under(self, lease: Arc<Lease>) -> Self {
        Self { lease, ..self }
    }

    /// The number a call is spoken of under: its own, or the one of the settings.
    pub fn number<'a>(&'a self, of_call: &'a str) -> Option<&'a str> {
        if of_call.is_empty() { self.phone_number_id.as_deref() } else { Some(of_call) }
    }

    /// Says one thing about a call of a number, and repeats it as the table says, never beyond `until`. `answer` goes with
    /// `pre_accept` and `accept`.
    pub async fn act(
        &self,
        number: &str,
        wacid: &Wacid,
        action: GraphAction,
        answer: Option<&str>,
        until: Instant,
    ) -> Answer {
        let url = format!("{}/{number}/calls", self.url);
        let request = Request {
            messaging_product: "whatsapp",
            call_id: wacid.as_str(),
            action: action.word(),
            session: answer.map(|sdp| Session { sdp_type: "answer", sdp }),
        };
        let begun = Instant::now();
        // Whether an attempt before the last may have been done.
        let (mut may_be_done, mut failures) = (false, 0);
        let attempt = || async {
            if tokio::time::timeout_at(until.into(), self.lease.held()).await.is_err() {
                return Err(Answer::not_asked("not-owner"));
            }
            let answer = self.attempt(&url, &request).await;
            if answer.is_transient() || answer.is_of_a_rate() { Err(answer) } else { Ok(answer) }
        };
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LAST_PAUSE)
            .with_max_times(RATE_REPETITIONS);
        let (Ok(mut answer) | Err(mut answer)) = attempt
            .retry(pauses)
            .when(|answer: &Answer| {
                may_be_done |= answer.may_be_done;
                failures += usize::from(!answer.is_of_a_rate());
                failures <= REPETITIONS
            })
            .adjust(|answer, pause| {
                let pause = answer.retry_after.max(pause)?;
                (Instant::now() + pause < until).then_some(pause)
            })
            .notify(|answer, pause| {
                let (status, silence) = (answer.status, answer.silence);
                tracing::warn!(action = action.word(), status, silence, ?pause, "graph is asked again");
            })
            .await;
        if may_be_done && answer.is_refusal() && refusal_means_done(action) {
            answer.doubt = Some(DONE_BEFORE);
        }
        answer.duration_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        answer
    }

    async fn attempt(&self, url: &str, request: &Request<'_>) -> Answer {
        let silent = |error: &reqwest::Error| Answer {
            may_be_done: !error.is_connect(),
            ..Answer::not_asked(if error.is_timeout() { "timeout" } else { "connection" })
        };
        let sent = self.http.post(url).header(AUTHORIZATION, self.authorization.clone()).json(request).send().await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return silent(&error),
        };
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= MAX_BODY_BYTES => bytes.extend_from_slice(&chunk),
                Ok(_) => break,
                Err(error) => return silent(&error),
            }
        }
        let status = response.status().as_u16();
        let retry_after = retry_after.map(Duration::from_secs);
        Answer { retry_after, may_be_done: status >= 500, ..read(status, &bytes) }
    }
}

/// What an answer's body says.
fn read(status: u16, bytes: &[u8]) -> Answer {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    let field = |name| body.as_ref().and_then(|body| body.get(name)).filter(|value| !value.is_null());
    let success = field("success").and_then(Value::as_bool);
    let refused =
        || GraphError { message: "success was false".to_owned(), code: i64::from(status), ..GraphError::default() };
    let error = field("error").map(read_error).or_else(|| (success == Some(false)).then(refused)).map(shorten);
    let doubt = match (&body, success, &error) {
        _ if !(200..300).contains(&status) => None,
        (None, ..) => Some(NO_JSON),
        (Some(_), None, None) => Some(NO_SUCCESS),
        _ => None,
    };
    Answer { status, duration_ms: 0, error, silence: None, doubt, retry_after: None, may_be_done: false }
}

/// Meta's error object; anything else in its place is kept as text.
fn read_error(value: &Value) -> GraphError {
    GraphError::deserialize(value).unwrap_or_else(|_| GraphError {
        message: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        ..GraphError::default()
    })
}

fn shorten(mut error: GraphError) -> GraphError {
    for text in [&mut error.message, &mut error.details, &mut error.fbtrace_id] {
        if let Some((at, _)) = text.char_indices().nth(MAX_DETAILS_CHARS) {
            text.truncate(at);
        }
    }
    error
}

/// `error_data` is an object with `details`, a plain string in older versions, or absent.
fn details<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.get("details").unwrap_or(&value).as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
