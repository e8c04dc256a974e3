//! Null, fractions, negative numbers and strange shapes where others are due: a field may be lost, an event never is.

use super::*;

/// A server event as it should be, and fields of it by path.
fn events() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    vec![
        (
            "speech started",
            json!({"type": "input_audio_buffer.speech_started", "audio_start_ms": 5, "item_id": "U"}),
            vec!["/audio_start_ms", "/item_id"],
        ),
        (
            "speech stopped",
            json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 5, "item_id": "U"}),
            vec!["/audio_end_ms", "/item_id"],
        ),
        (
            "caller's words",
            json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "U", "transcript": "yes", "usage": {"type": "tokens", "total_tokens": 5, "seconds": 1.5}}),
            vec!["/usage", "/usage/total_tokens", "/usage/seconds"],
        ),
        (
            "words not understood",
            json!({"type": "conversation.item.input_audio_transcription.failed", "item_id": "U", "error": {"type": "t", "code": "c", "message": "m"}}),
            vec!["/error", "/error/type", "/error/code", "/error/message"],
        ),
        (
            "response begun",
            json!({"type": "response.created", "response": {"id": "R1", "status": "in_progress", "status_details": null, "metadata": {"a": "b"}}}),
            vec!["/response/status", "/response/status_details", "/response/metadata", "/response/metadata/a"],
        ),
        (
            "words",
            json!({"type": "response.output_audio_transcript.delta", "response_id": "R1", "item_id": "A", "delta": "Hel"}),
            vec!["/response_id"],
        ),
        (
            "words done",
            json!({"type": "response.output_audio_transcript.done", "response_id": "R1", "item_id": "A", "transcript": "Hello"}),
            vec!["/response_id"],
        ),
        (
            "audio done",
            json!({"type": "response.output_audio.done", "response_id": "R1", "item_id": "A"}),
            vec!["/response_id"],
        ),
        (
            "tool",
            json!({"type": "response.output_item.done", "response_id": "R1", "item": {"id": "F", "type": "function_call", "status": "completed", "call_id": "c", "name": "n", "arguments": "{}"}}),
            vec!["/response_id", "/item/id", "/item/arguments"],
        ),
        (
            "response over",
            json!({"type": "response.done", "response": {"id": "R1", "status": "completed", "status_details": {"type": "t", "reason": "r", "error": {"code": "c"}}, "metadata": {}, "usage": {"input_token_details": {"text_tokens": 1, "audio_tokens": 2, "cached_tokens": 3}, "output_token_details": {"text_tokens": 4, "audio_tokens": 5}}}}),
            vec![
                "/response/status_details",
                "/response/status_details/reason",
                "/response/status_details/error",
                "/response/status_details/error/code",
                "/response/metadata",
                "/response/usage",
                "/response/usage/input_token_details",
                "/response/usage/output_token_details",
                "/response/usage/input_token_details/text_tokens",
                "/response/usage/output_token_details/audio_tokens",
            ],
        ),
        (
            "limits",
            json!({"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "remaining": 5, "reset_seconds": 1.5}]}),
            vec!["/rate_limits", "/rate_limits/0", "/rate_limits/0/remaining", "/rate_limits/0/reset_seconds"],
        ),
        (
            "error",
            json!({"type": "error", "error": {"type": "t", "code": "c", "message": "m", "event_id": "e"}}),
            vec!["/error", "/error/type", "/error/code", "/error/message", "/error/event_id"],
        ),
    ]
}

#[test]
fn an_odd_field_never_costs_the_event() {
    let odd = [
        json!(null),
        json!(1.5),
        json!(-3),
        json!(1e300),
        json!("text"),
        json!(true),
        json!([]),
        json!([1]),
        json!({}),
        json!({"x": null}),
    ];
    let mut refused = Vec::new();
    let mut tried = 0;
    for (name, event, fields) in events() {
        for field in fields {
            for value in &odd {
                let mut bench = Bench::ready();
                bench.created("R1", None);
                bench.delta("R1", "A", &[0, 0]);
                bench.events.clear();
                let mut event = event.clone();
                *event.pointer_mut(field).unwrap() = value.clone();
                if event["type"] == "response.created" {
                    event["response"]["id"] = json!("R2");
                }
                bench.server(event.clone());
                tried += 1;
                let lost = bench.errors().iter().any(|(code, _)| code == "malformed_message");
                if lost || bench.failure().is_some() || (bench.events.is_empty() && name != "limits") {
                    refused.push(format!("{name}: {field} = {value}"));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{} of {tried}: {refused:#?}", refused.len());
}

#[test]
fn bad_usage_costs_the_usage_only() {
    let usage = |details: Value| {
        let mut bench = Bench::ready();
        bench.created("R1", None);
        bench.server(json!({"type": "response.done", "response": {"id": "R1", "status": "completed", "usage":
            {"input_token_details": details, "output_token_details": {"audio_tokens": 7}}}}));
        bench.events.iter().find_map(|event| match event {
            ProviderEvent::ResponseFinished { usage, .. } => Some((usage.input_text_tokens, usage.output_audio_tokens)),
            _ => None,
        })
    };
    assert_eq!(usage(json!({"text_tokens": 3})), Some((3, 7)));
    assert_eq!(usage(json!({"text_tokens": 2.6})), Some((3, 7)), "rounded");
    assert_eq!(usage(json!({"text_tokens": -1})), Some((0, 7)));
    assert_eq!(usage(json!({"text_tokens": "3"})), Some((0, 7)), "no number");
    assert_eq!(usage(json!({"text_tokens": 1e300})), Some((u64::MAX, 7)));
    assert_eq!(usage(json!(null)), Some((0, 7)));
    assert_eq!(usage(json!("nonsense")), Some((0, 7)));
}

#[test]
fn a_configuration_that_cannot_be_read_fails_at_once_and_says_so() {
    for text in [
        r#"{"type":"session.updated"}"#,
        r#"{"type":"session.updated","session":null}"#,
        r#"{"type":"session.updated","session":7}"#,
        r#"{"type":"session.updated","session":{"audio":"none"}}"#,
        r#"{"type":"session.updated","session":{"audio":{"output":"pcm"}}}"#,
        r#"{"type":"session.updated","session":{"audio":{"output":{"format":7}}}}"#,
        r#"{"type":"session.updated","session":{"audio":{"output":{"format":{"type":7}}}}}"#,
        r#"{"type":"session.updated","session":{"audio":{"output":{"format":{"type":"audio/pcm","rate":"fast"}}}}}"#,
        r#"{"type":"session.updated","session":{"#,
    ] {
        let mut bench = Bench::opened();
        bench.server_text(text);
        let failure = bench.failure().unwrap_or_else(|| panic!("{text} is believed: {:?}", bench.events));
        assert_eq!(failure.code, "session_unreadable", "{text}");
        assert!(failure.message.contains("session.updated"), "{}", failure.message);
    }
}

#[test]
fn a_configuration_with_odd_fields_that_do_not_matter_is_taken() {
    for session in [
        json!({"id": null, "model": null, "audio": null}),
        json!({"id": "s", "audio": {"input": null, "output": {"format": null}}}),
        json!({"id": "s", "expires_at": "soon", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000.0}}}}),
        json!({"id": "s", "audio": {"output": {"format": {"type": "audio/pcm", "rate": null}}}}),
        json!({"id": "s", "input_audio_format": "pcm16", "output_audio_format": "pcm16"}),
    ] {
        let mut bench = Bench::opened();
        bench.server(json!({"type": "session.updated", "session": session.clone()}));
        assert!(matches!(bench.events.back(), Some(ProviderEvent::Ready { .. })), "{session}: {:?}", bench.events);
    }
}

#[test]
fn formats_under_their_beta_names_are_held_to_as_well() {
    let mut bench = Bench::opened();
    bench.server(json!({"type": "session.updated", "session": {"id": "s", "output_audio_format": "g711_ulaw"}}));
    let failure = bench.failure().unwrap();
    assert_eq!(failure.code, "format_mismatch");
    assert!(failure.message.contains("output_audio_format is g711_ulaw instead of pcm16"), "{}", failure.message);
}

/// Cached text and cached audio have prices of their own.
#[test]
fn cached_tokens_are_told_by_their_kind() {
    let cached = |details: Value| {
        let mut bench = Bench::ready();
        bench.created("R1", None);
        let input = json!({"text_tokens": 100, "audio_tokens": 200, "cached_tokens": 150});
        let mut input = input.as_object().unwrap().clone();
        input.extend(details.as_object().unwrap().clone());
        bench.server(json!({"type": "response.done", "response": {"id": "R1", "status": "completed",
            "usage": {"input_token_details": input}}}));
        bench.events.iter().find_map(|event| match event {
            ProviderEvent::ResponseFinished { usage, .. } => {
                assert_eq!((usage.input_text_tokens, usage.input_audio_tokens), (100, 200));
                Some((usage.cached_text_tokens, usage.cached_audio_tokens))
            }
            _ => None,
        })
    };
    assert_eq!(cached(json!({"cached_tokens_details": {"text_tokens": 64, "audio_tokens": 86}})), Some((64, 86)));
    assert_eq!(cached(json!({})), Some((100, 50)), "from the beginning, where the text is");
    assert_eq!(cached(json!({"cached_tokens": 900, "cached_tokens_details": null})), Some((100, 200)));
    assert_eq!(cached(json!({"cached_tokens": 0})), Some((0, 0)));
}
