//! Tokens, counted as OpenAI bills them: audio of the user 1 per 100 ms, of the assistant 1 per 50 ms.
//!
//! Text is estimated at four characters a token. What the previous response already read counts as cached, in whole
//! blocks of 64, until something early changes.

use serde_json::{Value, json};

/// Cached tokens come in blocks of this many.
const CACHE_BLOCK: u64 = 64;

/// Tokens of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) text: u64,
    pub(super) audio: u64,
}

impl Tokens {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self { text: self.text + other.text, audio: self.audio + other.audio }
    }

    const fn total(self) -> u64 {
        self.text + self.audio
    }
}

pub(super) fn text_tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

pub(super) const fn user_audio_tokens(ms: u64) -> u64 {
    ms.div_ceil(100)
}

pub(super) const fn assistant_audio_tokens(ms: u64) -> u64 {
    ms.div_ceil(50)
}

/// What the provider remembers of the last prompt.
#[derive(Default)]
pub(super) struct Cache {
    last_input: Tokens,
}

impl Cache {
    /// Something before the end of the prompt changed.
    pub(super) fn bust(&mut self) {
        self.last_input = Tokens::default();
    }

    /// `usage` of a response that read `input` and wrote `output`.
    pub(super) fn usage(&mut self, input: Tokens, output: Tokens) -> Value {
        let block = |tokens: u64| tokens / CACHE_BLOCK * CACHE_BLOCK;
        let cached = Tokens {
            text: block(self.last_input.text.min(input.text)),
            audio: block(self.last_input.audio.min(input.audio)),
        };
        self.last_input = input;
        json!({
            "total_tokens": input.total() + output.total(),
            "input_tokens": input.total(),
            "output_tokens": output.total(),
            "input_token_details": {
                "text_tokens": input.text,
                "audio_tokens": input.audio,
                "image_tokens": 0,
                "cached_tokens": cached.total(),
                "cached_tokens_details": {"text_tokens": cached.text, "audio_tokens": cached.audio, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
        })
    }
}

/// `usage` of a transcription: whisper-1 bills seconds, the others tokens.
pub(super) fn transcription_usage(model: &str, audio_ms: u64, transcript: &str) -> Value {
    if model == "whisper-1" {
        return json!({"type": "duration", "seconds": (audio_ms as f64 / 1_000.0).ceil()});
    }
    let (audio, text) = (user_audio_tokens(audio_ms), text_tokens(transcript));
    json!({
        "type": "tokens",
        "total_tokens": audio + text,
        "input_tokens": audio,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
        "output_tokens": text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_counted_by_its_length() {
        assert_eq!(user_audio_tokens(5_850), 59);
        assert_eq!(assistant_audio_tokens(7_300), 146);
        assert_eq!(text_tokens("12345"), 2);
    }

    #[test]
    fn what_was_read_before_is_cached_until_busted() {
        let mut cache = Cache::default();
        let input = Tokens { text: 130, audio: 70 };
        let output = Tokens { text: 3, audio: 4 };
        assert_eq!(cache.usage(input, output)["input_token_details"]["cached_tokens"], 0);
        let usage = cache.usage(Tokens { text: 140, audio: 200 }, output);
        assert_eq!(
            usage["input_token_details"]["cached_tokens_details"],
            json!({"text_tokens": 128, "audio_tokens": 64, "image_tokens": 0})
        );
        assert_eq!(usage["total_tokens"], 347);
        cache.bust();
        assert_eq!(cache.usage(input, output)["input_token_details"]["cached_tokens"], 0);
    }

    #[test]
    fn whisper_bills_seconds() {
        assert_eq!(transcription_usage("whisper-1", 2_100, "hi")["seconds"], 3.0);
        assert_eq!(transcription_usage("gpt-transcribe", 2_100, "hi there")["total_tokens"], 23);
    }
}
