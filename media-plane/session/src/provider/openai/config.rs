//! The session's configuration: what we ask for, and whether that is what is in force.

use serde::Deserialize;
use serde_json::{Value, json};

use super::OpenAiSettings;
use crate::agent::{Agent, BargeIn, END_CALL_TOOL, TurnDetection};

/// Everything between decoder and provider is 24 kHz, the only rate the service has for PCM.
const FORMAT_TYPE: &str = "audio/pcm";
const FORMAT_RATE_HZ: u32 = 24_000;

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
pub(super) fn session_update(event_id: &str, agent: &Agent, instructions: &str, settings: &OpenAiSettings) -> String {
    let format = json!({"type": FORMAT_TYPE, "rate": FORMAT_RATE_HZ});
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

/// The part of the effective configuration that must be as asked: a wrong format is static in the caller's ear.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Effective {
    pub(super) id: String,
    pub(super) model: String,
    audio: EffectiveAudio,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EffectiveAudio {
    input: EffectiveSide,
    output: EffectiveSide,
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
    rate: Option<u32>,
}

impl Effective {
    /// What is in force and was not asked for. A server that leaves a format out has nothing to contradict.
    pub(super) fn mismatch(&self) -> Option<String> {
        let sides = [("input", &self.audio.input), ("output", &self.audio.output)];
        sides.into_iter().find_map(|(side, effective)| {
            let format = effective.format.as_ref()?;
            let matches = format.kind == FORMAT_TYPE && format.rate.is_none_or(|rate| rate == FORMAT_RATE_HZ);
            (!matches).then(|| {
                let rate = format.rate.map(|rate| format!(" at {rate} Hz")).unwrap_or_default();
                format!("audio.{side}.format is {}{rate} instead of {FORMAT_TYPE} at {FORMAT_RATE_HZ} Hz", format.kind)
            })
        })
    }
}
