//! The session's configuration: what we ask for, and whether that is what is in force.

use serde::Deserialize;
use serde_json::{Value, json};
use voicebridge_audio::g711::Law;

use super::{OpenAiSettings, lenient};
use crate::{
    agent::{Agent, BargeIn, END_CALL_TOOL, TurnDetection},
    provider::AudioFormat,
};

/// The only rate the service has for PCM. Of G.711 none is given: there is one.
const PCM_RATE_HZ: u32 = 24_000;
const G711_RATE_HZ: u32 = 8_000;

const fn format_type(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Pcm => "audio/pcm",
        AudioFormat::G711(Law::Mu) => "audio/pcmu",
        AudioFormat::G711(Law::A) => "audio/pcma",
    }
}

const fn beta_format(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Pcm => "pcm16",
        AudioFormat::G711(Law::Mu) => "g711_ulaw",
        AudioFormat::G711(Law::A) => "g711_alaw",
    }
}

fn format_json(format: AudioFormat) -> Value {
    match format {
        AudioFormat::Pcm => json!({"type": format_type(format), "rate": PCM_RATE_HZ}),
        AudioFormat::G711(_) => json!({"type": format_type(format)}),
    }
}

/// The agent's instructions, with a line on the language when one is expected.
pub(super) fn instructions(agent: &Agent) -> String {
    let instructions = agent.instructions.trim_end();
    if agent.language.is_empty() {
        return instructions.to_owned();
    }
    format!(
        "{instructions}\nThe caller is expected to speak the language with the BCP 47 tag {}; speak it unless the caller \
         uses another one.",
        agent.language
    )
}

/// `session.update` with every field that matters: defaults of the service have changed before.
pub(super) fn session_update(
    event_id: &str,
    agent: &Agent,
    format: AudioFormat,
    instructions: &str,
    settings: &OpenAiSettings,
) -> String {
    let format = format_json(format);
    json!({
        "type": "session.update",
        "event_id": event_id,
        "session": {
            "type": "realtime",
            "instructions": instructions,
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": format,
                    "noise_reduction": {"type": "near_field"},
                    "transcription": transcription(agent, settings),
                    "turn_detection": turn_detection(agent),
                },
                "output": {"format": format, "voice": agent.voice},
            },
            "tools": tools(agent),
            "tool_choice": "auto",
        },
    })
    .to_string()
}

fn transcription(agent: &Agent, settings: &OpenAiSettings) -> Value {
    let model = &settings.transcription_model;
    let language = agent.primary_language();
    // `languages` is for the newer two only, `language` for the others; a two-letter code in both cases.
    match (language.len() == 2, model.as_str()) {
        (true, "gpt-transcribe" | "gpt-live-transcribe") => json!({"model": model, "languages": [language]}),
        (true, _) => json!({"model": model, "language": language}),
        (false, _) => json!({"model": model}),
    }
}

fn turn_detection(agent: &Agent) -> Value {
    // Half-disabled combinations of the last two are a known trap: both or neither. Without them voice detection still
    // reports and commits what the caller says; interrupting and answering is ours.
    let decides = agent.barge_in == BargeIn::Immediate;
    match agent.turn_detection {
        TurnDetection::ServerVad { threshold, prefix_padding_ms, silence_duration_ms } => json!({
            "type": "server_vad",
            "threshold": threshold,
            "prefix_padding_ms": prefix_padding_ms,
            "silence_duration_ms": silence_duration_ms,
            "create_response": decides,
            "interrupt_response": decides,
        }),
        TurnDetection::SemanticVad { eagerness } => json!({
            "type": "semantic_vad",
            "eagerness": eagerness.as_str(),
            "create_response": decides,
            "interrupt_response": decides,
        }),
    }
}

fn tools(agent: &Agent) -> Value {
    if !agent.end_call.enabled {
        return json!([]);
    }
    json!([{
        "type": "function",
        "name": END_CALL_TOOL,
        "description": agent.end_call.description,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": false},
    }])
}

/// The part of the effective configuration that must be as asked: a wrong format is heard as noise. So what
/// is odd here is an error; null is as good as missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Effective {
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    pub(super) model: String,
    audio: Option<EffectiveAudio>,
    /// Where the beta protocol names the formats.
    input_audio_format: Option<String>,
    output_audio_format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EffectiveAudio {
    input: Option<EffectiveSide>,
    output: Option<EffectiveSide>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EffectiveSide {
    format: Option<EffectiveFormat>,
}

#[derive(Debug, Deserialize)]
struct EffectiveFormat {
    #[serde(rename = "type")]
    kind: String,
    rate: Option<f64>,
}

impl Effective {
    /// What is in force and was not asked for. A server that leaves out a format has nothing to contradict 24 kHz PCM,
    /// its default; anything else it has to confirm.
    pub(super) fn mismatch(&self, asked: AudioFormat) -> Option<String> {
        let audio = self.audio.as_ref();
        let sides = [
            ("input", audio.and_then(|audio| audio.input.as_ref()), &self.input_audio_format),
            ("output", audio.and_then(|audio| audio.output.as_ref()), &self.output_audio_format),
        ];
        sides.into_iter().find_map(|(side, effective, beta)| {
            match (effective.and_then(|effective| effective.format.as_ref()), beta) {
                (None, None) if asked == AudioFormat::Pcm => None,
                (None, None) => Some(format!("audio.{side}.format is not {}, as far as it says", format_type(asked))),
                (Some(format), _) if format.is(asked) => None,
                (Some(format), _) => Some(format!("audio.{side}.format is {format} instead of {}", format_type(asked))),
                (None, Some(beta)) if beta == beta_format(asked) => None,
                (None, Some(beta)) => Some(format!("{side}_audio_format is {beta} instead of {}", beta_format(asked))),
            }
        })
    }
}

impl EffectiveFormat {
    fn is(&self, asked: AudioFormat) -> bool {
        let rate_hz = match asked {
            AudioFormat::Pcm => PCM_RATE_HZ,
            AudioFormat::G711(_) => G711_RATE_HZ,
        };
        self.kind == format_type(asked) && self.rate.is_none_or(|rate| rate == f64::from(rate_hz))
    }
}

impl std::fmt::Display for EffectiveFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.kind)?;
        match self.rate {
            Some(rate) => write!(formatter, " at {rate} Hz"),
            None => Ok(()),
        }
    }
}
