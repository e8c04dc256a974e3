//! Errors of the provider told apart: ignored, reported, fatal. Its nonsense never stops a call.

use serde_json::json;
use voicebridge_session::{ConnectionInput, Limits, State};

use crate::harness::{Start, World, server_error, session_updated};

#[test]
fn expected_errors_are_not_worth_a_word() {
    let mut world = World::active();
    world.server(&server_error("response_cancel_not_active", "Cancellation failed: no active response found", None));
    world.server(&server_error("input_audio_buffer_commit_empty", "buffer too small", None));
    assert!(world.incidents().is_empty());
}

#[test]
fn others_are_reported_and_survived() {
    let mut world = World::active();
    world.server(&server_error("", "Audio content of 900ms is already shorter than 1200ms", None));
    world.server(&server_error("item_retrieve_invalid_item_id", "no such item", None));
    world.server(&json!({"type": "conversation.item.input_audio_transcription.failed", "item_id": "U1",
        "error": {"type": "transcription_error", "code": "audio_unintelligible", "message": "?"}}));
    assert_eq!(
        world.incidents(),
        [
            ("PROVIDER_ERROR", "invalid_request_error".to_owned()),
            ("PROVIDER_ERROR", "item_retrieve_invalid_item_id".to_owned()),
            ("PROVIDER_ERROR", "transcription_failed".to_owned()),
        ]
    );
    assert!(world.session.termination().is_none());
}

#[test]
fn fatal_ones_end_the_call_before_it_is_answered() {
    for code in
        ["invalid_api_key", "insufficient_quota", "model_not_found", "beta_api_shape_disabled", "session_expired"]
    {
        let mut world = World::call();
        world.opened();
        world.server(&server_error(code, "no", None));
        let (_, reason, upstream) = world.ending();
        assert_eq!((reason.as_str(), upstream.as_str()), ("PROVIDER_SESSION_FAILED", code));
    }
}

#[test]
fn a_configuration_that_is_refused_is_fatal_whatever_the_code() {
    let mut world = World::call();
    world.opened();
    let event_id = world.requests("session.update")[0]["event_id"].as_str().unwrap().to_owned();
    world.server(&server_error("unknown_parameter", "Unknown parameter: 'session.audio.input.foo'.", Some("other")));
    assert!(world.session.termination().is_none());
    world.server(&server_error("unknown_parameter", "Unknown parameter: 'session.audio.input.foo'.", Some(&event_id)));
    assert_eq!(world.ending().2, "unknown_parameter");
}

#[test]
fn fatal_ones_later_are_an_apology_and_the_end() {
    let mut world = World::active();
    world.server(&server_error("insufficient_quota", "You exceeded your current quota", None));
    assert_eq!(world.incidents(), [("PROVIDER_LOST", "insufficient_quota".to_owned())]);
    world.run_ms(8_000);
    assert_eq!(world.ending().1, "PROVIDER_LOST");
    assert!(world.voice_ms(0) > 1_000);
}

#[test]
fn nonsense_is_reported_within_a_bound() {
    let limits = Limits { incidents: 10, ..Limits::default() };
    let mut world = World::active_with(Start { limits, ..Start::default() });
    let odd = [
        "",
        "{",
        "null",
        "[]",
        "42",
        "\"text\"",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"response.created"}"#,
        r#"{"type":"response.created","response":7}"#,
        r#"{"type":"response.done","response":{"id":"X","usage":{"input_token_details":-1}}}"#,
        r#"{"type":"error"}"#,
        r#"{"type":"error","error":null}"#,
        r#"{"type":"session.updated"}"#,
        r#"{"type":"response.output_audio.delta","item_id":"A","delta":"!!!"}"#,
        r#"{"type":"response.output_audio.delta","item_id":"A","delta":"AAA="}"#,
        r#"{"type":"response.output_audio.delta","delta":5}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call"}}"#,
        r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":-5}"#,
        r#"{"type":"input_audio_buffer.speech_started"}"#,
        r#"{"type":"conversation.item.input_audio_transcription.completed","usage":{"seconds":1e300}}"#,
        r#"{"type":"conversation.item.input_audio_transcription.completed","usage":{"seconds":-1}}"#,
        r#"{"type":"rate_limits.updated","rate_limits":[{"remaining":-1,"reset_seconds":1e300}]}"#,
        r#"{"type":"something.new","response":{"id":[1,2]},"item":{"deep":[[[]]]}}"#,
    ];
    for _ in 0..20 {
        for message in odd {
            world.server_text(message);
        }
    }
    assert_eq!(world.incidents().len(), 10);
    world.caller_speaks_ms(500);
    assert!(world.session.termination().is_none());
    assert!(world.ports.rtp.len() >= 26);
}

#[test]
fn a_server_that_leaves_formats_out_is_believed() {
    let mut world = World::call();
    world.opened();
    let mut updated = session_updated();
    updated["session"] = json!({"type": "realtime"});
    world.server(&updated);
    assert!(world.session.provider_ready());
}

#[test]
fn a_message_that_was_too_large_to_be_read_is_told_and_survived() {
    let mut world = World::active();
    world.connection(ConnectionInput::Oversized(5_000_000));
    world.run_ms(100);
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "message_too_large".to_owned())]);
    assert_eq!(world.session.state(), State::Active);
}
