//! Shapes of what a client may send, and the complaints about what is not in them.
//!
//! Complaints carry the path of the parameter as the real server writes it: `session.audio.input.format`.

use serde_json::Value;

use crate::ai::protocol::ProtocolError;

/// What a value may be.
pub(super) enum Rule {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// true or false.
    Flag,
    /// A number within bounds.
    Number { min: f64, max: f64 },
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// null, or what the rule says.
    OrNull(&'static Rule),
    /// Elements all of one shape.
    List(&'static Rule),
    /// Only these members, none of which must be there.
    Object(&'static [(&'static str, Rule)]),
    /// The member `type` (or the first name, when it is absent) says which members are allowed.
    Tagged(&'static [(&'static str, &'static [(&'static str, Rule)])]),
    /// A string, or an object of any content.
    TextOrObject,
    /// An integer within bounds, or the string `inf`.
    CountOrInf { min: i64, max: i64 },
}

impl Rule {
    /// The first thing wrong with `value`, which stands at `path`.
    pub(super) fn check(&self, value: &Value, path: &str) -> Result<(), ProtocolError> {
        match self {
            Self::Any => Ok(()),
            Self::Text => expect(value.is_string(), value, path, "a string"),
            Self::Flag => expect(value.is_boolean(), value, path, "a boolean"),
            Self::TextOrObject => expect(value.is_string() || value.is_object(), value, path, "a string or an object"),
            Self::OrNull(rule) => {
                if value.is_null() {
                    Ok(())
                } else {
                    rule.check(value, path)
                }
            }
            Self::Number { min, max } => number(value, path, *min, *max),
            Self::CountOrInf { min, max } => count_or_inf(value, path, *min, *max),
            Self::OneOf(allowed) => one_of(value, path, allowed),
            Self::List(element) => {
                let elements = value.as_array().ok_or_else(|| ProtocolError::invalid_type(path, "an array", value))?;
                let mut indexed = elements.iter().enumerate();
                indexed.try_for_each(|(index, value)| element.check(value, &format!("{path}[{index}]")))
            }
            Self::Object(members) => object(value, path, members),
            Self::Tagged(variants) => tagged(value, path, variants),
        }
    }
}

fn expect(holds: bool, value: &Value, path: &str, expected: &str) -> Result<(), ProtocolError> {
    if holds { Ok(()) } else { Err(ProtocolError::invalid_type(path, expected, value)) }
}

fn number(value: &Value, path: &str, min: f64, max: f64) -> Result<(), ProtocolError> {
    let number = value.as_f64().ok_or_else(|| ProtocolError::invalid_type(path, "a number", value))?;
    if number < min {
        let message = format!(
            "Invalid '{path}': decimal below minimum value. Expected a value >= {min}, but got {number} instead."
        );
        return Err(ProtocolError::new("decimal_below_min_value", message).at(path));
    }
    if number > max {
        let message = format!(
            "Invalid '{path}': decimal above maximum value. Expected a value <= {max}, but got {number} instead."
        );
        return Err(ProtocolError::new("decimal_above_max_value", message).at(path));
    }
    Ok(())
}

fn count_or_inf(value: &Value, path: &str, min: i64, max: i64) -> Result<(), ProtocolError> {
    if value == "inf" || value.as_i64().is_some_and(|count| (min..=max).contains(&count)) {
        return Ok(());
    }
    Err(ProtocolError::invalid_value(
        path,
        format!("Invalid value: {value}. Value must be between {min} and {max}, or 'inf'."),
    ))
}

fn one_of(value: &Value, path: &str, allowed: &[&str]) -> Result<(), ProtocolError> {
    let text = value.as_str().ok_or_else(|| ProtocolError::invalid_type(path, "a string", value))?;
    if allowed.contains(&text) {
        return Ok(());
    }
    let supported: Vec<String> = allowed.iter().map(|value| format!("'{value}'")).collect();
    let message = format!("Invalid value: '{text}'. Supported values are: {}.", supported.join(", "));
    Err(ProtocolError::invalid_value(path, message))
}

fn object(value: &Value, path: &str, members: &[(&str, Rule)]) -> Result<(), ProtocolError> {
    let object = value.as_object().ok_or_else(|| ProtocolError::invalid_type(path, "an object", value))?;
    for (name, value) in object {
        let path = format!("{path}.{name}");
        let (_, rule) = members.iter().find(|(known, _)| known == name).ok_or_else(|| ProtocolError::unknown(&path))?;
        rule.check(value, &path)?;
    }
    Ok(())
}

fn tagged(value: &Value, path: &str, variants: &[(&str, &[(&str, Rule)])]) -> Result<(), ProtocolError> {
    let object = value.as_object().ok_or_else(|| ProtocolError::invalid_type(path, "an object", value))?;
    let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
    let tag = object.get("type").ok_or_else(|| ProtocolError::missing(&format!("{path}.type")))?;
    one_of(tag, &format!("{path}.type"), &names)?;
    let (_, members) = variants.iter().find(|(name, _)| tag == name).expect("one_of let only known tags through");
    for (name, value) in object.iter().filter(|(name, _)| *name != "type") {
        let path = format!("{path}.{name}");
        let (_, rule) = members.iter().find(|(known, _)| known == name).ok_or_else(|| ProtocolError::unknown(&path))?;
        rule.check(value, &path)?;
    }
    Ok(())
}

/// An agreed shape of formats; which of them this server speaks is decided elsewhere.
pub(super) const FORMAT: Rule = Rule::Tagged(&[
    ("audio/pcm", &[("rate", Rule::Number { min: 24_000.0, max: 24_000.0 })]),
    ("audio/pcmu", &[]),
    ("audio/pcma", &[]),
]);

pub(super) const TOOLS: Rule = Rule::List(&Rule::Tagged(&[
    ("function", &[("name", Rule::Text), ("description", Rule::Text), ("parameters", Rule::Any)]),
    (
        "mcp",
        &[
            ("server_label", Rule::Text),
            ("server_url", Rule::Text),
            ("connector_id", Rule::Text),
            ("authorization", Rule::Text),
            ("headers", Rule::Any),
            ("allowed_tools", Rule::Any),
            ("require_approval", Rule::Any),
            ("server_description", Rule::Text),
        ],
    ),
]));

pub(super) const MODALITIES: Rule = Rule::List(&Rule::OneOf(&["audio", "text"]));
pub(super) const MAX_OUTPUT_TOKENS: Rule = Rule::CountOrInf { min: 1, max: 4_096 };
pub(super) const REASONING: Rule =
    Rule::Object(&[("effort", Rule::OneOf(&["minimal", "low", "medium", "high", "xhigh"]))]);

/// `session` of `session.update`.
pub(super) const SESSION: Rule = Rule::Object(&[
    ("type", Rule::OneOf(&["realtime"])),
    ("model", Rule::Text),
    ("instructions", Rule::Text),
    ("output_modalities", MODALITIES),
    ("audio", Rule::Object(&[("input", INPUT), ("output", OUTPUT)])),
    ("tools", TOOLS),
    ("tool_choice", Rule::TextOrObject),
    ("parallel_tool_calls", Rule::Flag),
    ("reasoning", REASONING),
    ("max_output_tokens", MAX_OUTPUT_TOKENS),
    ("truncation", Rule::TextOrObject),
    ("include", Rule::OrNull(&Rule::List(&Rule::OneOf(&["item.input_audio_transcription.logprobs"])))),
    ("tracing", Rule::OrNull(&Rule::TextOrObject)),
    ("prompt", Rule::OrNull(&Rule::Any)),
]);

const INPUT: Rule = Rule::Object(&[
    ("format", FORMAT),
    ("noise_reduction", Rule::OrNull(&Rule::Object(&[("type", Rule::OneOf(&["near_field", "far_field"]))]))),
    ("transcription", Rule::OrNull(&TRANSCRIPTION)),
    ("turn_detection", Rule::OrNull(&TURN_DETECTION)),
]);

const TRANSCRIPTION: Rule = Rule::Object(&[
    (
        "model",
        Rule::OneOf(&[
            "gpt-transcribe",
            "gpt-live-transcribe",
            "gpt-realtime-whisper",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "gpt-4o-transcribe-diarize",
            "whisper-1",
        ]),
    ),
    ("language", Rule::Text),
    ("languages", Rule::List(&Rule::Text)),
    ("keywords", Rule::List(&Rule::Text)),
    ("prompt", Rule::Text),
    ("delay", Rule::OneOf(&["minimal", "low", "medium", "high", "xhigh"])),
]);

const TURN_DETECTION: Rule = Rule::Tagged(&[
    (
        "server_vad",
        &[
            ("threshold", Rule::Number { min: 0.0, max: 1.0 }),
            ("prefix_padding_ms", Rule::Number { min: 0.0, max: 5_000.0 }),
            ("silence_duration_ms", Rule::Number { min: 0.0, max: 10_000.0 }),
            ("idle_timeout_ms", Rule::OrNull(&Rule::Number { min: 5_000.0, max: 30_000.0 })),
            ("create_response", Rule::Flag),
            ("interrupt_response", Rule::Flag),
        ],
    ),
    (
        "semantic_vad",
        &[
            ("eagerness", Rule::OneOf(&["low", "medium", "high", "auto"])),
            ("create_response", Rule::Flag),
            ("interrupt_response", Rule::Flag),
        ],
    ),
]);

const OUTPUT: Rule =
    Rule::Object(&[("format", FORMAT), ("voice", Rule::TextOrObject), ("speed", Rule::Number { min: 0.25, max: 1.5 })]);

/// `response` of `response.create`.
pub(super) const RESPONSE: Rule = Rule::Object(&[
    ("output_modalities", MODALITIES),
    ("instructions", Rule::Text),
    ("audio", Rule::Object(&[("output", OUTPUT)])),
    ("tools", TOOLS),
    ("tool_choice", Rule::TextOrObject),
    ("parallel_tool_calls", Rule::Flag),
    ("reasoning", REASONING),
    ("max_output_tokens", MAX_OUTPUT_TOKENS),
    ("conversation", Rule::OneOf(&["auto", "none"])),
    ("metadata", Rule::OrNull(&Rule::Any)),
    ("input", Rule::List(&Rule::Any)),
]);
