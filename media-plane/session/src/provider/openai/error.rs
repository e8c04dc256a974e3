//! Errors told apart: most leave the session open, some mean that no session will ever work.

use std::time::Duration;

use serde::Deserialize;

use super::{KNOWN_MODELS, server::ErrorBody};
use crate::{ports::ProviderClosed, provider::Failure};

/// What an error means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Expected in the course of things.
    Ignore,
    /// Another response is active: ours has to wait.
    Collision,
    /// A rate is used up, which passes by itself.
    RateLimited,
    /// Calls grow too fast; which passes as well.
    SlowDown,
    /// The service has too much to do.
    Overloaded,
    /// The service failed.
    ServerError,
    /// Worth reporting; the session goes on.
    Recoverable,
    /// The account may spend nothing more until somebody raises its limit, or the month ends.
    SpendLimit,
    /// The session is of no use any more.
    Fatal,
}

/// Codes with which a socket reconnects fine and then every generation fails, or nothing works at all.
const FATAL: [&str; 12] = [
    "invalid_api_key",
    "invalid_authentication",
    "insufficient_quota",
    "account_deactivated",
    HARD_LIMIT,
    "billing_not_active",
    "organization_deactivated",
    "model_not_found",
    "beta_api_shape_disabled",
    SESSION_EXPIRED,
    "unsupported_country_region_territory",
    "authentication_error",
];
const HARD_LIMIT: &str = "billing_hard_limit_reached";
const SESSION_EXPIRED: &str = "session_expired";

pub(super) fn is_fatal(code: &str) -> bool {
    FATAL.contains(&code)
}

/// Judges an `error` event.
pub(super) fn classify(error: &ErrorBody) -> ErrorClass {
    class_of(error.name(), error.text())
}

/// Judges a code and its text.
pub(super) fn class_of(code: &str, text: &str) -> ErrorClass {
    match code {
        HARD_LIMIT => ErrorClass::SpendLimit,
        "insufficient_quota" if names_spend_limit(text) => ErrorClass::SpendLimit,
        _ if is_fatal(code) => ErrorClass::Fatal,
        // The server's own voice detection was faster than our cancel, or its commit faster than ours.
        "response_cancel_not_active" | "input_audio_buffer_commit_empty" => ErrorClass::Ignore,
        "conversation_already_has_active_response" => ErrorClass::Collision,
        "rate_limit_exceeded" | "inference_rate_limit_exceeded" | "rate_limit_error" => ErrorClass::RateLimited,
        "slow_down" => ErrorClass::SlowDown,
        "server_is_overloaded" => ErrorClass::Overloaded,
        "server_error" | "internal_error" | "inference_service_unavailable_error" => ErrorClass::ServerError,
        _ if text.starts_with("Cancellation failed") => ErrorClass::Ignore,
        _ => ErrorClass::Recoverable,
    }
}

fn names_spend_limit(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("spend limit") || text.contains("hard limit")
}

/// The pause in a text such as `Please try again in 1m2.5s.` Units are those of Go: h, m, s, ms.
pub(super) fn pause_asked_for(text: &str) -> Option<Duration> {
    let mut rest = text.split_once("try again in ")?.1;
    let mut seconds = None;
    while rest.starts_with(|next: char| next.is_ascii_digit()) {
        let length = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let number: f64 = rest[..length].parse().ok()?;
        let unit: &str = &rest[length..];
        let (each, unit) = if unit.starts_with("ms") {
            (0.001, 2)
        } else if unit.starts_with('s') {
            (1.0, 1)
        } else if unit.starts_with('m') {
            (60.0, 1)
        } else if unit.starts_with('h') {
            (3_600.0, 1)
        } else {
            break;
        };
        *seconds.get_or_insert(0.0) += number * each;
        rest = &rest[length + unit..];
    }
    Duration::try_from_secs_f64(seconds?).ok()
}

/// A failure by code, with what to do about it where that is known.
pub(super) fn failure(code: &str, upstream: &str, model: &str) -> Failure {
    let message = match class_of(code, upstream) {
        ErrorClass::SpendLimit => {
            "the OpenAI account reached its hard spend limit; raise it, or nothing works until the month ends"
                .to_owned()
        }
        ErrorClass::RateLimited => "the rate limit of the OpenAI account is used up; let fewer calls in".to_owned(),
        ErrorClass::SlowDown => "OpenAI asks to slow down: calls grow too fast; let fewer begin at once".to_owned(),
        ErrorClass::Overloaded => "OpenAI is overloaded at present".to_owned(),
        _ => explained(code, upstream, model),
    };
    Failure { code: code.to_owned(), message }
}

fn explained(code: &str, upstream: &str, model: &str) -> String {
    match code {
        "model_not_found" => format!(
            "the model {model} does not exist or this key may not use it; models that exist are {}",
            KNOWN_MODELS.join(", ")
        ),
        "invalid_api_key" | "invalid_authentication" | "authentication_error" => {
            "OpenAI refused the API key; check OPENAI_API_KEY, OPENAI_ORG_ID and OPENAI_PROJECT_ID".to_owned()
        }
        "insufficient_quota" | "billing_not_active" => {
            "the OpenAI account has no quota left; check its plan and billing".to_owned()
        }
        "beta_api_shape_disabled" => {
            "the service took our messages for the beta protocol, which is switched off; this is a bug".to_owned()
        }
        SESSION_EXPIRED => "OpenAI ended the session at its longest duration".to_owned(),
        _ if upstream.is_empty() => format!("OpenAI failed with {code}"),
        _ => format!("OpenAI failed with {code}: {}", shortened(upstream)),
    }
}

/// Why the socket is gone. `expired`: the session has reached the end the service had named, if it had.
pub(super) fn of_closed(closed: ProviderClosed<'_>, expired: Option<bool>, model: &str) -> Failure {
    match closed {
        ProviderClosed::Refused { status, body } => {
            let error = body_error(body);
            let code = match (status, error.code.as_deref()) {
                (_, Some(code)) => code.to_owned(),
                (401, None) => "invalid_api_key".to_owned(),
                (404, None) if error.text().contains("model") => "model_not_found".to_owned(),
                (429, None) if names_spend_limit(error.text()) => HARD_LIMIT.to_owned(),
                (status, None) => format!("http_{status}"),
            };
            failure(&code, error.text(), model)
        }
        ProviderClosed::Unreachable(why) => Failure {
            code: "unreachable".to_owned(),
            message: format!("OpenAI could not be reached: {}", shortened(why)),
        },
        ProviderClosed::Closed { code, reason } => of_close_frame(code, reason, expired, model),
    }
}

/// Codes of RFC 6455, section 7.4.1, and of IANA's registry of WebSocket close codes.
fn of_close_frame(code: u16, reason: &str, expired: Option<bool>, model: &str) -> Failure {
    // Some refusals come as a close frame whose text is `<type>.<code>` or a sentence around the code.
    if let Some(named) = FATAL.into_iter().find(|known| reason.contains(known)) {
        return failure(named, reason, model);
    }
    let what = match code {
        1001 if expired.unwrap_or_else(|| reason.contains("maximum duration")) => {
            return failure(SESSION_EXPIRED, reason, model);
        }
        1001 => "is going away",
        1011 => "had an error of its own",
        1012 => "restarts",
        1013 => "has too much to do at present",
        _ => return failure(&format!("closed_{code}"), reason, model),
    };
    let told = if reason.is_empty() { String::new() } else { format!(": {}", shortened(reason)) };
    Failure {
        code: format!("closed_{code}"),
        message: format!("OpenAI closed the connection, its server {what}{told}"),
    }
}

fn body_error(body: &str) -> ErrorBody {
    #[derive(Deserialize)]
    struct Body {
        error: ErrorBody,
    }
    serde_json::from_str::<Body>(body).map(|body| body.error).unwrap_or_default()
}

/// Texts of the far side end up in logs and terminations: bounded.
pub(super) fn shortened(text: &str) -> String {
    const CHARS: usize = 300;
    if text.chars().count() <= CHARS {
        return text.to_owned();
    }
    text.chars().take(CHARS).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests;
