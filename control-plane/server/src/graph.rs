//! Meta's Graph API: the four things one can say about a user-initiated call.
//!
//! One request, a time-out, and one retry when the failure looks transient (no connection, time-out, 5xx, or Meta's own
//! `is_transient`). Error bodies are read and kept: `error_data.details` is where Meta says what is wrong with an SDP.
//! Success is Meta's word for it, `"success": true`. A 2xx with `"success": false` or an error is a refusal. A 2xx that
//! says neither, or is no JSON, is taken for what the status says, because dropping a call that Meta has answered would be
//! worse; it is logged as a warning and noted in the call's `GraphAnswered`. The token and the SDP reach neither logs nor errors. Source: Meta, "Calling API reference" and "Error codes".

use std::time::{Duration, Instant};

use backon::{ConstantBuilder, Retryable as _};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use voicebridge_core::{
    call_life::{GraphAction, GraphOutcome},
    identity::CallId,
};

use crate::config::GraphAccess;

/// Pause before the one retry.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// More of a body is not read: Meta's are below 2 KB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// What a 2xx lacked that was taken as success all the same.
const NO_JSON: &str = "taken as success: the answer was no JSON";
const NO_SUCCESS: &str = "taken as success: the answer did not say so";
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
            (_, Some(silence)) => GraphOutcome::Unreachable { code: silence.to_owned() },
            (None, None) if (200..300).contains(&self.status) => GraphOutcome::Ok,
            (Some(error), None) if error.code != 0 => {
                GraphOutcome::Refused { code: error.code.to_string(), details: error.text().to_owned() }
            }
            (_, None) if self.status >= 500 => GraphOutcome::Unreachable { code: self.status.to_string() },
            (error, None) => GraphOutcome::Refused {
                code: self.status.to_string(),
                details: error.as_ref().map_or("no reason given", GraphError::text).to_owned(),
            },
        }
    }

    fn is_transient(&self) -> bool {
        self.silence.is_some() || self.status >= 500 || self.error.as_ref().is_some_and(|error| error.is_transient)
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
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            // A redirect would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, url: graph_url.to_owned(), phone_number_id: access.phone_number_id.clone(), authorization })
    }

    /// The number a call is spoken of under: its own, or the one of the settings.
    pub fn number<'a>(&'a self, of_call: &'a str) -> Option<&'a str> {
        if of_call.is_empty() { self.phone_number_id.as_deref() } else { Some(of_call) }
    }

    /// Says one thing about a call of a number. `answer` goes with `pre_accept` and `accept`.
    pub async fn act(&self, number: &str, call_id: &CallId, action: GraphAction, answer: Option<&str>) -> Answer {
        let url = format!("{}/{number}/calls", self.url);
        let request = Request {
            messaging_product: "whatsapp",
            call_id: call_id.as_str(),
            action: action.word(),
            session: answer.map(|sdp| Session { sdp_type: "answer", sdp }),
        };
        let begun = Instant::now();
        let attempt = || async {
            let answer = self.attempt(&url, &request).await;
            if answer.is_transient() { Err(answer) } else { Ok(answer) }
        };
        let once_more = ConstantBuilder::new().with_delay(RETRY_DELAY).with_max_times(1);
        let (Ok(mut answer) | Err(mut answer)) = attempt
            .retry(once_more)
            .notify(|answer: &Answer, _| {
                tracing::warn!(
                    action = action.word(),
                    status = answer.status,
                    silence = answer.silence,
                    "graph asked again"
                );
            })
            .await;
        answer.duration_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        answer
    }

    async fn attempt(&self, url: &str, request: &Request<'_>) -> Answer {
        let silent = |error: &reqwest::Error| Answer {
            status: 0,
            duration_ms: 0,
            error: None,
            silence: Some(if error.is_timeout() { "timeout" } else { "connection" }),
            doubt: None,
        };
        let sent = self.http.post(url).header(AUTHORIZATION, self.authorization.clone()).json(request).send().await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return silent(&error),
        };
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= MAX_BODY_BYTES => bytes.extend_from_slice(&chunk),
                Ok(_) => break,
                Err(error) => return silent(&error),
            }
        }
        let status = response.status().as_u16();
        read(status, &bytes)
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
    Answer { status, duration_ms: 0, error, silence: None, doubt }
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
