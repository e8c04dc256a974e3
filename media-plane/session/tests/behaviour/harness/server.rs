//! Events of a Realtime server, as JSON.

use serde_json::{Value, json};

use super::tone;

/// Samples of a millisecond at 24 kHz.
const MS: usize = 24;

fn base64_tone(ms: usize) -> String {
    let bytes: Vec<u8> = (0..ms * MS).flat_map(|index| tone(index).to_le_bytes()).collect();
    base64_simd::STANDARD.encode_to_string(bytes)
}

pub(crate) fn session_created() -> Value {
    json!({"type": "session.created", "event_id": "e1", "session": {"id": "sess_1", "type": "realtime", "model": "gpt-realtime-2.1"}})
}

pub(crate) fn session_updated() -> Value {
    let pcm = json!({"type": "audio/pcm", "rate": 24_000});
    session_updated_with(&pcm, &pcm)
}

/// With these formats in force.
pub(crate) fn session_updated_with(input: &Value, output: &Value) -> Value {
    json!({"type": "session.updated", "event_id": "e2", "session": {
    "id": "sess_1", "type": "realtime", "model": "gpt-realtime-2.1", "expires_at": 1_790_003_600,
    "audio": {
        "input": {"format": input, "turn_detection": {"type": "server_vad"}},
        "output": {"format": output, "voice": "marin"},
    }}})
}

pub(crate) fn response_created(id: &str) -> Value {
    json!({"type": "response.created", "event_id": "e", "response": {"id": id, "status": "in_progress", "metadata": null}})
}

/// A response that carries our metadata, as the real service repeats it.
pub(crate) fn response_created_for(id: &str, request: &Value) -> Value {
    let metadata = &request["response"]["metadata"];
    json!({"type": "response.created", "event_id": "e", "response": {"id": id, "status": "in_progress", "metadata": metadata}})
}

pub(crate) fn audio_delta(response: &str, item: &str, ms: usize) -> Value {
    delta(response, item, &base64_tone(ms))
}

/// Audio of an AI that speaks G.711.
pub(crate) fn g711_delta(response: &str, item: &str, bytes: &[u8]) -> Value {
    delta(response, item, &base64_simd::STANDARD.encode_to_string(bytes))
}

fn delta(response: &str, item: &str, base64: &str) -> Value {
    json!({"type": "response.output_audio.delta", "event_id": "e", "response_id": response, "item_id": item,
        "output_index": 0, "content_index": 0, "delta": base64})
}

pub(crate) fn audio_done(response: &str, item: &str) -> Value {
    json!({"type": "response.output_audio.done", "event_id": "e", "response_id": response, "item_id": item})
}

pub(crate) fn text_delta(response: &str, item: &str, words: &str) -> Value {
    json!({"type": "response.output_audio_transcript.delta", "event_id": "e", "response_id": response, "item_id": item, "delta": words})
}

pub(crate) fn text_done(response: &str, item: &str, words: &str) -> Value {
    json!({"type": "response.output_audio_transcript.done", "event_id": "e", "response_id": response, "item_id": item, "transcript": words})
}

pub(crate) fn response_done(id: &str, status: &str) -> Value {
    json!({"type": "response.done", "event_id": "e", "response": {"id": id, "status": status, "status_details": null,
        "output": [], "usage": {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
            "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0}},
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91}}}})
}

pub(crate) fn response_failed(id: &str, code: &str) -> Value {
    json!({"type": "response.done", "event_id": "e", "response": {"id": id, "status": "failed",
        "status_details": {"type": "failed", "error": {"type": "server_error", "code": code, "message": "no luck"}}, "output": []}})
}

pub(crate) fn tool_call(response: &str, name: &str) -> Value {
    json!({"type": "response.output_item.done", "event_id": "e", "response_id": response, "output_index": 1,
        "item": {"id": "F1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": name, "arguments": "{}"}})
}

pub(crate) fn speech_started(audio_start_ms: u64) -> Value {
    json!({"type": "input_audio_buffer.speech_started", "event_id": "e", "audio_start_ms": audio_start_ms, "item_id": "U1"})
}

pub(crate) fn speech_stopped(audio_end_ms: u64) -> Value {
    json!({"type": "input_audio_buffer.speech_stopped", "event_id": "e", "audio_end_ms": audio_end_ms, "item_id": "U1"})
}

pub(crate) fn committed() -> Value {
    json!({"type": "input_audio_buffer.committed", "event_id": "e", "previous_item_id": null, "item_id": "U1"})
}

pub(crate) fn user_words(words: &str) -> Value {
    json!({"type": "conversation.item.input_audio_transcription.completed", "event_id": "e", "item_id": "U1",
        "content_index": 0, "transcript": words})
}

pub(crate) fn server_error(code: &str, message: &str, event_id: Option<&str>) -> Value {
    json!({"type": "error", "event_id": "e",
        "error": {"type": "invalid_request_error", "code": code, "message": message, "param": null, "event_id": event_id}})
}
