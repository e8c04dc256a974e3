//! The counters of a call, summed and as JSON. Names and meanings are the contract's, in camel case.

use serde_json::{Value, json};
use voicebridge_proto::types::v1::{MediaStatistics, Usage};

pub(super) fn add_usage(total: Usage, more: &Usage) -> Usage {
    Usage {
        input_text_tokens: total.input_text_tokens.saturating_add(more.input_text_tokens),
        input_audio_tokens: total.input_audio_tokens.saturating_add(more.input_audio_tokens),
        cached_text_tokens: total.cached_text_tokens.saturating_add(more.cached_text_tokens),
        cached_audio_tokens: total.cached_audio_tokens.saturating_add(more.cached_audio_tokens),
        output_text_tokens: total.output_text_tokens.saturating_add(more.output_text_tokens),
        output_audio_tokens: total.output_audio_tokens.saturating_add(more.output_audio_tokens),
        transcription_tokens: total.transcription_tokens.saturating_add(more.transcription_tokens),
        transcription_ms: total.transcription_ms.saturating_add(more.transcription_ms),
        provider: latest(total.provider, &more.provider),
        model: latest(total.model, &more.model),
        transcription_model: latest(total.transcription_model, &more.transcription_model),
    }
}

/// A call has one of each, told with every reply.
fn latest(known: String, told: &str) -> String {
    if told.is_empty() { known } else { told.to_owned() }
}

pub(super) fn usage(usage: &Usage) -> Value {
    json!({
        "inputTextTokens": usage.input_text_tokens,
        "inputAudioTokens": usage.input_audio_tokens,
        "cachedTextTokens": usage.cached_text_tokens,
        "cachedAudioTokens": usage.cached_audio_tokens,
        "outputTextTokens": usage.output_text_tokens,
        "outputAudioTokens": usage.output_audio_tokens,
        "transcriptionTokens": usage.transcription_tokens,
        "transcriptionMs": usage.transcription_ms,
        "provider": usage.provider,
        "model": usage.model,
        "transcriptionModel": usage.transcription_model,
    })
}

pub(super) fn statistics(statistics: &MediaStatistics) -> Value {
    json!({
        "packetsReceived": statistics.packets_received,
        "packetsLost": statistics.packets_lost,
        "packetsLate": statistics.packets_late,
        "packetsDuplicate": statistics.packets_duplicate,
        "packetsDiscarded": statistics.packets_discarded,
        "receivedMs": statistics.received_ms,
        "concealedMs": statistics.concealed_ms,
        "silenceMs": statistics.silence_ms,
        "jitterMs": statistics.jitter_ms,
        "packetsSent": statistics.packets_sent,
        "playedMs": statistics.played_ms,
        "underruns": statistics.underruns,
        "longestSendGapMs": statistics.longest_send_gap_ms,
    })
}
