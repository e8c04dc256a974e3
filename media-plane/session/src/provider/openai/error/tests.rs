//! The service's errors as it words them: which class each is, and what is told of it.

use super::*;

#[test]
fn errors_are_told_apart() {
    let check = |code: &str, text: &str, class: ErrorClass, message: &str| {
        let error = ErrorBody {
            kind: Some("invalid_request_error".into()),
            code: (!code.is_empty()).then(|| code.into()),
            message: Some(text.into()),
            event_id: None,
        };
        let name = if code.is_empty() { "invalid_request_error" } else { code };
        let failure = failure(error.name(), error.text(), "gpt-realtime-9");
        assert_eq!((classify(&error), &*failure.code, &*failure.message), (class, name, message), "{code} {text}");
    };
    let models = "the model gpt-realtime-9 does not exist or this key may not use it; models that exist are \
        gpt-realtime-2.1, gpt-realtime-2.1-mini, gpt-realtime-2, gpt-realtime-1.5";
    let key = "OpenAI refused the API key; check OPENAI_API_KEY, OPENAI_ORG_ID and OPENAI_PROJECT_ID";
    let quota = "the OpenAI account has no quota left; check its plan and billing";
    let limit = "the OpenAI account reached its hard spend limit; raise it, or nothing works until the month ends";
    let rate = "the rate limit of the OpenAI account is used up; let fewer calls in";
    check("response_cancel_not_active", "", ErrorClass::Ignore, "OpenAI failed with response_cancel_not_active");
    check(
        "",
        "Cancellation failed: no active response found",
        ErrorClass::Ignore,
        "OpenAI failed with invalid_request_error: Cancellation failed: no active response found",
    );
    check(
        "input_audio_buffer_commit_empty",
        "",
        ErrorClass::Ignore,
        "OpenAI failed with input_audio_buffer_commit_empty",
    );
    check(
        "conversation_already_has_active_response",
        "Wait.",
        ErrorClass::Collision,
        "OpenAI failed with conversation_already_has_active_response: Wait.",
    );
    check(
        "",
        "Audio content of 900ms is already shorter than 1200ms",
        ErrorClass::Recoverable,
        "OpenAI failed with invalid_request_error: Audio content of 900ms is already shorter than 1200ms",
    );
    check(
        "unsupported_content_type",
        "Only model output audio messages can be truncated",
        ErrorClass::Recoverable,
        "OpenAI failed with unsupported_content_type: Only model output audio messages can be truncated",
    );
    check("rate_limit_exceeded", "Please try again in 1.2s.", ErrorClass::RateLimited, rate);
    check("inference_rate_limit_exceeded", "", ErrorClass::RateLimited, rate);
    check(
        "slow_down",
        "",
        ErrorClass::SlowDown,
        "OpenAI asks to slow down: calls grow too fast; let fewer begin at once",
    );
    check("server_is_overloaded", "", ErrorClass::Overloaded, "OpenAI is overloaded at present");
    check("server_error", "", ErrorClass::ServerError, "OpenAI failed with server_error");
    check("model_not_found", "", ErrorClass::Fatal, models);
    check("invalid_api_key", "", ErrorClass::Fatal, key);
    check("invalid_authentication", "", ErrorClass::Fatal, key);
    check("authentication_error", "", ErrorClass::Fatal, key);
    check("insufficient_quota", "", ErrorClass::Fatal, quota);
    check("billing_not_active", "", ErrorClass::Fatal, quota);
    check("billing_hard_limit_reached", "", ErrorClass::SpendLimit, limit);
    check("insufficient_quota", "You reached your hard spend limit.", ErrorClass::SpendLimit, limit);
    check("session_expired", "", ErrorClass::Fatal, "OpenAI ended the session at its longest duration");
    check(
        "beta_api_shape_disabled",
        "",
        ErrorClass::Fatal,
        "the service took our messages for the beta protocol, which is switched off; this is a bug",
    );
    check("account_deactivated", "Sorry.", ErrorClass::Fatal, "OpenAI failed with account_deactivated: Sorry.");
}

#[test]
fn a_refused_upgrade_says_why() {
    let check = |status: u16, body: &str, code: &str, message: &str| {
        let failure = of_closed(ProviderClosed::Refused { status, body }, None, "gpt-5-realtime");
        assert_eq!((&*failure.code, &*failure.message), (code, message), "{status} {body}");
    };
    let key = "OpenAI refused the API key; check OPENAI_API_KEY, OPENAI_ORG_ID and OPENAI_PROJECT_ID";
    let model = "the model gpt-5-realtime does not exist or this key may not use it; models that exist are \
        gpt-realtime-2.1, gpt-realtime-2.1-mini, gpt-realtime-2, gpt-realtime-1.5";
    let limit = "the OpenAI account reached its hard spend limit; raise it, or nothing works until the month ends";
    check(401, "", "invalid_api_key", key);
    check(
        404,
        r#"{"error":{"type":"invalid_request_error","code":"model_not_found","message":"no"}}"#,
        "model_not_found",
        model,
    );
    check(
        404,
        r#"{"error":{"message":"The model `gpt-5-realtime` does not exist","code":null}}"#,
        "model_not_found",
        model,
    );
    check(403, "<html>", "http_403", "OpenAI failed with http_403");
    check(
        429,
        r#"{"error":{"code":"insufficient_quota"}}"#,
        "insufficient_quota",
        "the OpenAI account has no quota left; check its plan and billing",
    );
    check(429, r#"{"error":{"code":"billing_hard_limit_reached"}}"#, "billing_hard_limit_reached", limit);
    check(429, r#"{"error":{"message":"Hard spend limit reached."}}"#, "billing_hard_limit_reached", limit);
    check(
        429,
        r#"{"error":{"code":"slow_down"}}"#,
        "slow_down",
        "OpenAI asks to slow down: calls grow too fast; let fewer begin at once",
    );
    check(
        429,
        r#"{"error":{"code":"rate_limit_exceeded"}}"#,
        "rate_limit_exceeded",
        "the rate limit of the OpenAI account is used up; let fewer calls in",
    );
    check(
        503,
        r#"{"error":{"code":"server_is_overloaded"}}"#,
        "server_is_overloaded",
        "OpenAI is overloaded at present",
    );
    check(503, "", "http_503", "OpenAI failed with http_503");
    let failure = of_closed(ProviderClosed::Unreachable("no route to host"), None, "m");
    assert_eq!((&*failure.code, &*failure.message), ("unreachable", "OpenAI could not be reached: no route to host"));
}

#[test]
fn a_closed_socket_says_why() {
    let hour = "Your session hit the maximum duration of 60 minutes.";
    let check = |close: u16, reason: &str, expired: Option<bool>, code: &str, message: &str| {
        let failure = of_closed(ProviderClosed::Closed { code: close, reason }, expired, "m");
        assert_eq!((&*failure.code, &*failure.message), (code, message), "{close} {reason} {expired:?}");
    };
    let at_the_hour = "OpenAI ended the session at its longest duration";
    check(1001, "", Some(true), "session_expired", at_the_hour);
    check(1001, hour, None, "session_expired", at_the_hour);
    let going = "OpenAI closed the connection, its server is going away";
    check(1001, "", None, "closed_1001", going);
    check(1001, "", Some(false), "closed_1001", going);
    check(1001, hour, Some(false), "closed_1001", &format!("{going}: {hour}"));
    check(1011, "", Some(false), "closed_1011", "OpenAI closed the connection, its server had an error of its own");
    check(
        1011,
        "keepalive ping timeout",
        Some(true),
        "closed_1011",
        "OpenAI closed the connection, its server had an error of its own: keepalive ping timeout",
    );
    check(1012, "", None, "closed_1012", "OpenAI closed the connection, its server restarts");
    check(1013, "", None, "closed_1013", "OpenAI closed the connection, its server has too much to do at present");
    check(1006, "", None, "closed_1006", "OpenAI failed with closed_1006");
    check(4001, "session_expired", None, "session_expired", at_the_hour);
    check(
        4000,
        "invalid_request_error.model_not_found",
        None,
        "model_not_found",
        "the model m does not exist or this key may not use it; models that exist are gpt-realtime-2.1, \
         gpt-realtime-2.1-mini, gpt-realtime-2, gpt-realtime-1.5",
    );
}

#[test]
fn a_pause_is_read_from_the_text() {
    let check = |text: &str, millis: Option<u64>| {
        assert_eq!(pause_asked_for(text).map(|pause| pause.as_millis() as u64), millis, "{text}");
    };
    check("Rate limit reached for the model. Please try again in 1.2s.", Some(1_200));
    check("Please try again in 826ms. Visit https://platform.openai.com", Some(826));
    check("Please try again in 6m0s.", Some(360_000));
    check("Please try again in 1h2m3.5s", Some(3_723_500));
    check("Please try again in 20s", Some(20_000));
    check("Please try again in 5 minutes", None);
    check("Please try again in a while", None);
    check("Please try again in 1.2.3s", None);
    check("Please try again in ", None);
    check("Please try again later", None);
    check("try again in 99999999999999999999999999h", None);
}

#[test]
fn texts_of_the_far_side_are_bounded() {
    assert_eq!(shortened("short"), "short");
    assert_eq!(shortened(&"é".repeat(1_000)).chars().count(), 303);
}
