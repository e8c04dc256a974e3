//! Errors told apart: most leave the session open, some mean that no session will ever work.

use serde::Deserialize;

use super::{KNOWN_MODELS, server::ErrorBody};
use crate::{ports::ProviderClosed, provider::Failure};

/// What an error means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Expected in the course of things.
    Ignore,
    /// Another response is active: ours has to wait.
    Collision,
    /// Worth reporting; the session goes on.
    Recoverable,
    /// The session is of no use any more.
    Fatal,
}

/// Codes with which a socket reconnects fine and then every generation fails, or nothing works at all.
const FATAL: [&str; 12] = [
    "invalid_api_key",
    "invalid_authentication",
    "insufficient_quota",
    "account_deactivated",
    "billing_hard_limit_reached",
    "billing_not_active",
    "organization_deactivated",
    "model_not_found",
    "beta_api_shape_disabled",
    "session_expired",
    "unsupported_country_region_territory",
    "authentication_error",
];

/// Codes about rates, which pass by themselves.
const RATE_LIMITS: [&str; 2] = ["rate_limit_exceeded", "inference_rate_limit_exceeded"];

pub(super) fn is_rate_limit(code: &str) -> bool {
    RATE_LIMITS.contains(&code)
}

pub(super) fn is_fatal(code: &str) -> bool {
    FATAL.contains(&code)
}

/// Judges an `error` event.
pub(super) fn classify(error: &ErrorBody) -> Class {
    let code = error.name();
    if is_fatal(code) {
        return Class::Fatal;
    }
    match code {
        // The server's own voice detection was faster than our cancel, or its commit faster than ours.
        "response_cancel_not_active" | "input_audio_buffer_commit_empty" => Class::Ignore,
        "conversation_already_has_active_response" => Class::Collision,
        _ if error.text().starts_with("Cancellation failed") => Class::Ignore,
        _ => Class::Recoverable,
    }
}

/// A failure by code, with what to do about it where that is known.
pub(super) fn failure(code: &str, upstream: &str, model: &str) -> Failure {
    let message = match code {
        "model_not_found" => format!(
            "the model {model} does not exist or this key may not use it; models that exist are {}",
            KNOWN_MODELS.join(", ")
        ),
        "invalid_api_key" | "invalid_authentication" | "authentication_error" => {
            "OpenAI refused the API key; check OPENAI_API_KEY, OPENAI_ORG_ID and OPENAI_PROJECT_ID".to_owned()
        }
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => {
            "the OpenAI account has no quota left; check its plan and billing".to_owned()
        }
        "beta_api_shape_disabled" => {
            "the service took our messages for the beta protocol, which is switched off; this is a bug".to_owned()
        }
        "session_expired" | "closed_1001" => "OpenAI ended the session at its longest duration".to_owned(),
        _ if upstream.is_empty() => format!("OpenAI failed with {code}"),
        _ => format!("OpenAI failed with {code}: {}", shortened(upstream)),
    };
    Failure { code: code.to_owned(), message }
}

/// Why the socket is gone.
pub(super) fn of_closed(closed: ProviderClosed<'_>, model: &str) -> Failure {
    match closed {
        ProviderClosed::Refused { status, body } => {
            let error = body_error(body);
            let code = match (status, error.code.as_deref().filter(|code| !code.is_empty())) {
                (_, Some(code)) => code.to_owned(),
                (401, None) => "invalid_api_key".to_owned(),
                (404, None) if error.text().contains("model") => "model_not_found".to_owned(),
                (status, None) => format!("http_{status}"),
            };
            failure(&code, error.text(), model)
        }
        ProviderClosed::Unreachable(why) => Failure {
            code: "unreachable".to_owned(),
            message: format!("OpenAI could not be reached: {}", shortened(why)),
        },
        ProviderClosed::Closed { code, reason } => {
            // Some refusals come as a close frame whose text is `<type>.<code>` or a sentence around the code.
            let named = FATAL.into_iter().find(|known| reason.contains(known));
            let code = named.map_or_else(|| format!("closed_{code}"), str::to_owned);
            failure(&code, reason, model)
        }
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
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let check = |code: &str, message: &str, expected: Class| {
            let error = ErrorBody {
                kind: Some("invalid_request_error".into()),
                code: (!code.is_empty()).then(|| code.into()),
                message: Some(message.into()),
                event_id: None,
            };
            assert_eq!(classify(&error), expected, "{code} {message}");
        };
        check("response_cancel_not_active", "", Class::Ignore);
        check("", "Cancellation failed: no active response found", Class::Ignore);
        check("input_audio_buffer_commit_empty", "", Class::Ignore);
        check("conversation_already_has_active_response", "", Class::Collision);
        check("", "Audio content of 900ms is already shorter than 1200ms", Class::Recoverable);
        check("unsupported_content_type", "Only model output audio messages can be truncated", Class::Recoverable);
        check("rate_limit_exceeded", "", Class::Recoverable);
        check("model_not_found", "", Class::Fatal);
        check("invalid_api_key", "", Class::Fatal);
        check("insufficient_quota", "", Class::Fatal);
        check("session_expired", "", Class::Fatal);
        check("beta_api_shape_disabled", "", Class::Fatal);
    }

    #[test]
    fn a_closed_socket_says_why() {
        let check = |closed: ProviderClosed<'_>, code: &str, words: &str| {
            let failure = of_closed(closed, "gpt-5-realtime");
            assert_eq!(failure.code, code);
            assert!(failure.message.contains(words), "{}", failure.message);
        };
        let refused = |status, body| ProviderClosed::Refused { status, body };
        check(refused(401, ""), "invalid_api_key", "OPENAI_API_KEY");
        check(
            refused(404, r#"{"error":{"type":"invalid_request_error","code":"model_not_found","message":"no"}}"#),
            "model_not_found",
            "gpt-realtime-2.1-mini",
        );
        check(
            refused(404, r#"{"error":{"message":"The model `gpt-5-realtime` does not exist","code":null}}"#),
            "model_not_found",
            "gpt-5-realtime",
        );
        check(refused(403, "<html>"), "http_403", "http_403");
        check(refused(429, r#"{"error":{"code":"insufficient_quota"}}"#), "insufficient_quota", "quota");
        check(refused(503, ""), "http_503", "http_503");
        check(ProviderClosed::Unreachable("no route to host"), "unreachable", "no route");
        let close = |code, reason| ProviderClosed::Closed { code, reason };
        check(close(1001, "Your session hit the maximum duration of 60 minutes."), "closed_1001", "longest duration");
        check(close(1006, ""), "closed_1006", "closed_1006");
        check(close(4000, "invalid_request_error.model_not_found"), "model_not_found", "gpt-realtime-1.5");
    }

    #[test]
    fn texts_of_the_far_side_are_bounded() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(1_000)).chars().count(), 303);
    }
}
