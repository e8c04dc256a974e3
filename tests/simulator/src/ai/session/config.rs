//! The session's configuration: defaults, what a `session.update` may change, and what is in force.

use serde_json::{Value, json};

use super::schema::SESSION;
use crate::ai::{protocol::ProtocolError, wire::Format};

/// Fields of the protocol's beta that stood directly in the session.
const BETA_FIELDS: [&str; 9] = [
    "modalities",
    "voice",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
    "max_response_output_tokens",
    "temperature",
];
const VOICES: [&str; 10] = ["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"];
/// Models that reason; the others refuse the settings for it.
const REASONING_MODELS: [&str; 2] = ["gpt-realtime-2", "gpt-realtime-2.1"];
/// Models with settings for several languages and keywords.
const MULTILINGUAL_TRANSCRIPTION: [&str; 2] = ["gpt-transcribe", "gpt-live-transcribe"];

/// What is in force.
pub(super) struct Config {
    model: String,
    effective: Value,
}

/// How turns of the caller are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TurnDetection {
    /// 0 to 1, higher needs louder speech.
    pub(super) threshold: f64,
    pub(super) prefix_padding_ms: u64,
    pub(super) silence_duration_ms: u64,
    pub(super) idle_timeout_ms: Option<u64>,
    pub(super) create_response: bool,
    pub(super) interrupt_response: bool,
}

impl Config {
    pub(super) fn new(model: &str, id: &str, expires_at: u64) -> Self {
        let effective = json!({
            "type": "realtime",
            "object": "realtime.session",
            "id": id,
            "model": model,
            "expires_at": expires_at,
            "instructions": "You are a helpful assistant.",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": Format::Pcm.effective(),
                    "noise_reduction": null,
                    "transcription": null,
                    "turn_detection": server_vad(),
                },
                "output": {"format": Format::Pcm.effective(), "voice": "alloy", "speed": 1.0},
            },
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "include": null,
            "tracing": null,
            "prompt": null,
        });
        Self { model: model.to_owned(), effective }
    }

    /// As `session.created` and `session.updated` show it.
    pub(super) const fn effective(&self) -> &Value {
        &self.effective
    }

    /// Applies what is present in `update`, or nothing of it.
    pub(super) fn update(&mut self, update: &Value, audio_was_said: bool) -> Result<(), ProtocolError> {
        self.check(update, audio_was_said)?;
        merge_session(&mut self.effective, update);
        Ok(())
    }

    fn check(&self, update: &Value, audio_was_said: bool) -> Result<(), ProtocolError> {
        let beta = |field: &&&str| update.get(**field).is_some();
        if let Some(field) = BETA_FIELDS.iter().find(beta) {
            return Err(ProtocolError::beta_shape(Some(&format!("session.{field}"))));
        }
        if update.is_object() && update.get("type").is_none() {
            return Err(ProtocolError::missing("session.type"));
        }
        SESSION.check(update, "session")?;
        if let Some(model) = update.get("model").filter(|model| *model != self.model.as_str()) {
            return Err(ProtocolError::invalid_value(
                "session.model",
                format!("The model of a session cannot be changed to {model}."),
            ));
        }
        check_modalities(update.get("output_modalities"), "session.output_modalities")?;
        self.check_voice(update.pointer("/audio/output/voice"), audio_was_said)?;
        check_transcription(update.pointer("/audio/input/transcription"))?;
        self.check_reasoning(update)
    }

    fn check_voice(&self, voice: Option<&Value>, audio_was_said: bool) -> Result<(), ProtocolError> {
        let Some(voice) = voice else { return Ok(()) };
        if let Some(name) = voice.as_str().filter(|name| !VOICES.contains(name)) {
            let supported = VOICES.map(|voice| format!("'{voice}'")).join(", ");
            let message = format!("Invalid value: '{name}'. Supported values are: {supported}.");
            return Err(ProtocolError::invalid_value("session.audio.output.voice", message));
        }
        if audio_was_said && self.effective.pointer("/audio/output/voice") != Some(voice) {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            return Err(ProtocolError::new("cannot_update_voice", message).at("session.audio.output.voice"));
        }
        Ok(())
    }

    fn check_reasoning(&self, update: &Value) -> Result<(), ProtocolError> {
        let reasons = REASONING_MODELS
            .iter()
            .any(|model| self.model.strip_prefix(model).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')));
        let setting = ["reasoning", "parallel_tool_calls"].into_iter().find(|name| update.get(name).is_some());
        match setting {
            Some(name) if !reasons => {
                let message = format!("Unsupported parameter: 'session.{name}' is not supported with this model.");
                Err(ProtocolError::new("unsupported_parameter", message).at(format!("session.{name}")))
            }
            _ => Ok(()),
        }
    }

    /// `None` when the client commits turns itself.
    pub(super) fn turn_detection(&self) -> Option<TurnDetection> {
        let detection = self.effective.pointer("/audio/input/turn_detection")?.as_object()?;
        let number = |name: &str| detection.get(name).and_then(Value::as_f64);
        let flag = |name: &str| detection.get(name).and_then(Value::as_bool).unwrap_or(true);
        let ms = |name: &str, default: f64| number(name).unwrap_or(default) as u64;
        let semantic_silence_ms = match detection.get("eagerness").and_then(Value::as_str) {
            Some("low") => 800.0,
            Some("high") => 300.0,
            _ => 500.0,
        };
        Some(TurnDetection {
            threshold: number("threshold").unwrap_or(0.5),
            prefix_padding_ms: ms("prefix_padding_ms", 300.0),
            silence_duration_ms: ms("silence_duration_ms", semantic_silence_ms),
            idle_timeout_ms: number("idle_timeout_ms").map(|ms| ms as u64),
            create_response: flag("create_response"),
            interrupt_response: flag("interrupt_response"),
        })
    }

    /// How the caller's audio comes.
    pub(super) fn input_format(&self) -> Format {
        Format::of(&self.effective["audio"]["input"]["format"])
    }

    /// How the AI's audio goes.
    pub(super) fn output_format(&self) -> Format {
        Format::of(&self.effective["audio"]["output"]["format"])
    }

    /// The transcription model, when the caller's words are wanted.
    pub(super) fn transcription_model(&self) -> Option<&str> {
        self.effective.pointer("/audio/input/transcription/model")?.as_str()
    }

    pub(super) fn instructions(&self) -> &str {
        self.effective["instructions"].as_str().unwrap_or_default()
    }

    pub(super) fn tools(&self) -> &Value {
        &self.effective["tools"]
    }

    pub(super) fn text_only(&self) -> bool {
        self.effective["output_modalities"] == json!(["text"])
    }
}

fn server_vad() -> Value {
    json!({
        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200,
        "idle_timeout_ms": null, "create_response": true, "interrupt_response": true,
    })
}

fn semantic_vad() -> Value {
    json!({"type": "semantic_vad", "eagerness": "auto", "create_response": true, "interrupt_response": true})
}

/// Exactly one of the two; never both.
pub(super) fn check_modalities(modalities: Option<&Value>, path: &str) -> Result<(), ProtocolError> {
    match modalities.and_then(Value::as_array).map(Vec::as_slice) {
        None | Some([_]) => Ok(()),
        Some(_) => {
            let found = modalities.unwrap_or(&Value::Null);
            let message = format!("Invalid modalities: {found}. Supported combinations are: ['text'] and ['audio'].");
            Err(ProtocolError::invalid_value(path, message))
        }
    }
}

fn check_transcription(transcription: Option<&Value>) -> Result<(), ProtocolError> {
    let path = "session.audio.input.transcription";
    let Some(transcription) = transcription.and_then(Value::as_object) else { return Ok(()) };
    let Some(model) = transcription.get("model").and_then(Value::as_str) else {
        return Err(ProtocolError::missing(&format!("{path}.model")));
    };
    let special = ["languages", "keywords"].into_iter().find(|name| transcription.contains_key(*name));
    match special {
        Some(name) if !MULTILINGUAL_TRANSCRIPTION.contains(&model) => {
            let message = format!("Unsupported parameter: '{path}.{name}' is not supported with '{model}'.");
            Err(ProtocolError::new("unsupported_parameter", message).at(format!("{path}.{name}")))
        }
        _ => Ok(()),
    }
}

/// Objects are merged member by member; formats, transcription and lists are replaced whole, and a turn detection
/// brings the defaults of its type.
fn merge_session(effective: &mut Value, update: &Value) {
    for (name, value) in members(update) {
        match name {
            "audio" => merge_audio(&mut effective["audio"], value),
            _ => effective[name] = value.clone(),
        }
    }
}

fn merge_audio(effective: &mut Value, update: &Value) {
    for (side, settings) in members(update) {
        for (name, value) in members(settings) {
            let place = &mut effective[side][name];
            match name {
                "turn_detection" => merge_turn_detection(place, value),
                "format" => *place = Format::of(value).effective(),
                _ => *place = value.clone(),
            }
        }
    }
}

fn merge_turn_detection(effective: &mut Value, update: &Value) {
    if update.is_null() {
        *effective = Value::Null;
        return;
    }
    if effective.get("type") != update.get("type") {
        *effective = if update["type"] == "semantic_vad" { semantic_vad() } else { server_vad() };
    }
    for (name, value) in members(update) {
        effective[name] = value.clone();
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use voicebridge_audio::g711::Law;

    use super::*;

    fn config() -> Config {
        Config::new("gpt-realtime-2.1", "sess_1", 1)
    }

    /// The code and parameter an update is refused with.
    #[track_caller]
    fn refused(update: Value, code: &str, param: &str) {
        let mut config = config();
        let before = config.effective().clone();
        let error = config.update(&update, false).expect_err("refused");
        assert_eq!((error.code, error.param.as_deref()), (Some(code), Some(param)), "{}", error.message);
        assert_eq!(*config.effective(), before, "nothing of a refused update is applied");
    }

    fn realtime(members: Value) -> Value {
        let mut update = members;
        update["type"] = json!("realtime");
        update
    }

    #[test]
    fn only_what_is_present_changes() {
        let mut config = config();
        let detection = json!({"type": "server_vad", "silence_duration_ms": 500});
        let update = json!({"instructions": "Be brief.", "audio": {"input": {"turn_detection": detection}}});
        config.update(&realtime(update), false).expect("valid");
        assert_eq!(config.instructions(), "Be brief.");
        let detection = config.turn_detection().expect("on");
        assert_eq!((detection.silence_duration_ms, detection.prefix_padding_ms), (500, 300));
        assert_eq!(config.effective()["audio"]["output"]["voice"], "alloy");
        assert_eq!(config.transcription_model(), None);
    }

    #[test]
    fn null_clears_and_another_type_brings_its_own_defaults() {
        let mut config = config();
        let semantic = json!({"audio": {"input": {
            "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
            "transcription": {"model": "gpt-transcribe", "languages": ["pt"]},
        }}});
        config.update(&realtime(semantic), false).expect("valid");
        assert_eq!(config.turn_detection().map(|detection| detection.silence_duration_ms), Some(300));
        assert_eq!(config.effective()["audio"]["input"]["turn_detection"].get("threshold"), None);
        assert_eq!(config.transcription_model(), Some("gpt-transcribe"));
        let off = json!({"audio": {"input": {"turn_detection": null, "transcription": null}}});
        config.update(&realtime(off), false).expect("valid");
        assert_eq!((config.turn_detection(), config.transcription_model()), (None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused(json!({"instructions": "x"}), "missing_required_parameter", "session.type");
        refused(json!({"type": "conversation"}), "invalid_value", "session.type");
        refused(realtime(json!({"colour": 1})), "unknown_parameter", "session.colour");
        refused(realtime(json!({"audio": {"input": {"rate": 8}}})), "unknown_parameter", "session.audio.input.rate");
        refused(realtime(json!({"instructions": 7})), "invalid_type", "session.instructions");
        refused(realtime(json!({"model": "gpt-realtime-2"})), "invalid_value", "session.model");
        refused(
            realtime(json!({"output_modalities": ["audio", "text"]})),
            "invalid_value",
            "session.output_modalities",
        );
        refused(realtime(json!({"max_output_tokens": 5000})), "invalid_value", "session.max_output_tokens");
        refused(
            realtime(json!({"audio": {"output": {"speed": 2}}})),
            "decimal_above_max_value",
            "session.audio.output.speed",
        );
        refused(
            realtime(json!({"audio": {"output": {"voice": "robot"}}})),
            "invalid_value",
            "session.audio.output.voice",
        );
        refused(
            realtime(json!({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}})),
            "decimal_below_min_value",
            "session.audio.input.format.rate",
        );
        refused(
            realtime(json!({"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8_000}}}})),
            "unknown_parameter",
            "session.audio.input.format.rate",
        );
        refused(
            realtime(json!({"audio": {"output": {"format": {"type": "audio/opus"}}}})),
            "invalid_value",
            "session.audio.output.format.type",
        );
        refused(
            realtime(
                json!({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "idle_timeout_ms": 6000}}}}),
            ),
            "unknown_parameter",
            "session.audio.input.turn_detection.idle_timeout_ms",
        );
        refused(
            realtime(json!({"audio": {"input": {"transcription": {"model": "whisper-1", "languages": ["pt"]}}}})),
            "unsupported_parameter",
            "session.audio.input.transcription.languages",
        );
        refused(
            realtime(json!({"tools": [{"type": "function", "name": "end_call", "meta": 1}]})),
            "unknown_parameter",
            "session.tools[0].meta",
        );
    }

    #[test]
    fn each_direction_has_its_format() {
        let mut config = config();
        assert_eq!((config.input_format(), config.output_format()), (Format::Pcm, Format::Pcm));
        let of = |input: &str, output: &str| {
            realtime(json!({"audio": {"input": {"format": {"type": input}}, "output": {"format": {"type": output}}}}))
        };
        config.update(&of("audio/pcmu", "audio/pcma"), false).expect("valid");
        assert_eq!((config.input_format(), config.output_format()), (Format::G711(Law::Mu), Format::G711(Law::A)));
        assert_eq!(config.effective()["audio"]["output"]["format"], json!({"type": "audio/pcma"}));
        config.update(&realtime(json!({"instructions": "x"})), false).expect("valid");
        assert_eq!(config.output_format(), Format::G711(Law::A), "what is not mentioned stays");
        config.update(&of("audio/pcm", "audio/pcm"), false).expect("valid");
        assert_eq!(config.effective()["audio"]["input"]["format"], json!({"type": "audio/pcm", "rate": 24_000}));
    }

    #[test]
    fn the_beta_shape_is_refused_for_good() {
        for field in BETA_FIELDS {
            let error = config().update(&realtime(json!({field: "x"})), false).expect_err("refused");
            assert_eq!((error.code, error.fatal), (Some("beta_api_shape_disabled"), true), "{field}");
        }
    }

    #[test]
    fn the_voice_is_locked_once_heard() {
        let mut config = config();
        let voice = |name: &str| realtime(json!({"audio": {"output": {"voice": name}}}));
        config.update(&voice("marin"), false).expect("before any audio");
        config.update(&voice("marin"), true).expect("the same voice is no change");
        let error = config.update(&voice("cedar"), true).expect_err("locked");
        assert_eq!(error.code, Some("cannot_update_voice"));
    }

    #[test]
    fn reasoning_is_for_models_that_reason() {
        let update = realtime(json!({"reasoning": {"effort": "low"}}));
        for (model, accepted) in
            [("gpt-realtime-2.1-mini", true), ("gpt-realtime-2", true), ("gpt-realtime-1.5", false)]
        {
            let outcome = Config::new(model, "sess_1", 1).update(&update, false);
            assert_eq!(outcome.is_ok(), accepted, "{model}");
        }
    }
}
