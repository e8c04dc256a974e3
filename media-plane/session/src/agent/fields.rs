//! The fields of an agent file and the rule of each.

use voicebridge_text::language;

use super::{
    Agent, AgentError, AgentErrors, AgentOverlay, BargeIn, Dtmf, Eagerness, EndCall, G711, Reversible, TurnDetection,
    variables,
    yaml::{self, Value, YamlNode},
};

const MAX_INSTRUCTIONS_BYTES: usize = 32 * 1024;
const MAX_GREETING_CHARS: usize = 2_000;
const MAX_DESCRIPTION_CHARS: usize = 1_000;
const MAX_VOICE_CHARS: usize = 100;
/// OpenAI caps a session at 60 minutes; five are left for setting up and for the farewell.
const MAX_DURATION_S: u32 = 3_300;
const MS_PER_S: u32 = 1_000;

const TOP: [&str; 10] = [
    "instructions",
    "voice",
    "greeting",
    "language",
    "turn_detection",
    "barge_in",
    "dtmf",
    "g711",
    "max_duration_s",
    "end_call",
];
const TURN_DETECTION: [&str; 5] = ["type", "threshold", "prefix_padding_ms", "silence_duration_ms", "eagerness"];
const SERVER_VAD_ONLY: [&str; 3] = ["threshold", "prefix_padding_ms", "silence_duration_ms"];
const BARGE_IN: [&str; 5] = ["type", "hold_ms", "sustained_ms", "echo_guard_ms", "protect_greeting_ms"];
const DTMF_FIELDS: [&str; 1] = ["interrupts"];
const G711_FIELDS: [&str; 1] = ["passthrough"];
const END_CALL: [&str; 2] = ["enabled", "description"];

/// An agent with nothing set: what the built-in file is laid over.
pub(super) fn unset() -> Agent {
    Agent {
        instructions: String::new(),
        voice: String::new(),
        greeting: String::new(),
        language: String::new(),
        turn_detection: server_vad_default(),
        barge_in: BargeIn::Immediate,
        dtmf: Dtmf::default(),
        g711: G711::default(),
        max_duration_ms: MS_PER_S,
        end_call: EndCall { enabled: false, description: String::new() },
    }
}

const fn server_vad_default() -> TurnDetection {
    TurnDetection::ServerVad { threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 500 }
}

/// Lays a file over an agent.
pub(super) fn read(base: Agent, text: &str) -> Result<Agent, AgentErrors> {
    let document = yaml::parse(text).map_err(|error| AgentErrors(vec![error]))?;
    let mut errors = AgentMistakes::default();
    let mut agent = base;
    if let Some(top) = errors.map(&document, "", &TOP) {
        errors.text(&top, "instructions", &mut agent.instructions, check_instructions);
        errors.text(&top, "voice", &mut agent.voice, check_voice);
        errors.text(&top, "greeting", &mut agent.greeting, check_greeting);
        errors.text(&top, "language", &mut agent.language, check_language);
        let mut max_duration_s = agent.max_duration_ms / MS_PER_S;
        errors.number(&top, "max_duration_s", &mut max_duration_s, 1, MAX_DURATION_S.into());
        agent.max_duration_ms = max_duration_s * MS_PER_S;
        if let Some(node) = top.get("turn_detection") {
            turn_detection(node, &mut agent.turn_detection, &mut errors);
        }
        if let Some(node) = top.get("barge_in") {
            barge_in(node, &mut agent.barge_in, &mut errors);
        }
        if let Some(map) = top.get("dtmf").and_then(|node| errors.map(node, "dtmf", &DTMF_FIELDS)) {
            errors.flag(&map, "interrupts", &mut agent.dtmf.interrupts);
        }
        if let Some(map) = top.get("g711").and_then(|node| errors.map(node, "g711", &G711_FIELDS)) {
            errors.flag(&map, "passthrough", &mut agent.g711.passthrough);
        }
        if let Some(map) = top.get("end_call").and_then(|node| errors.map(node, "end_call", &END_CALL)) {
            errors.flag(&map, "enabled", &mut agent.end_call.enabled);
            errors.text(&map, "description", &mut agent.end_call.description, check_description);
        }
    }
    errors.into_result(agent)
}

/// Lays a request over an agent.
pub(super) fn overlay(agent: &mut Agent, overlay: &AgentOverlay) -> Result<(), AgentErrors> {
    let mut errors = AgentMistakes::default();
    let texts: [(&str, &String, &mut String, Check); 4] = [
        ("instructions", &overlay.instructions, &mut agent.instructions, check_instructions),
        ("voice", &overlay.voice, &mut agent.voice, check_voice),
        ("greeting", &overlay.greeting, &mut agent.greeting, check_greeting),
        ("language", &overlay.language, &mut agent.language, check_language),
    ];
    for (field, given, target, check) in texts {
        if given.is_empty() {
            continue;
        }
        match check(given) {
            Ok(()) => target.clone_from(given),
            Err(message) => errors.add(0, field, message),
        }
    }
    let most_ms = MAX_DURATION_S * MS_PER_S;
    match overlay.max_duration_ms {
        0 => {}
        given_ms if (MS_PER_S..=most_ms).contains(&given_ms) => agent.max_duration_ms = given_ms,
        _ => errors.add(0, "max_duration_ms", format!("must be {MS_PER_S} to {most_ms}")),
    }
    let filled: [(&str, &mut String, Check); 2] = [
        ("instructions", &mut agent.instructions, check_instructions),
        ("greeting", &mut agent.greeting, check_greeting),
    ];
    for (field, text, check) in filled {
        let whole = variables::fill(text, &overlay.variables);
        match check(&whole) {
            Ok(()) => *text = whole,
            Err(message) => errors.add(0, field, format!("with its variables {message}")),
        }
    }
    errors.into_result(())
}

fn turn_detection(node: &YamlNode, target: &mut TurnDetection, errors: &mut AgentMistakes) {
    let Some(map) = errors.map(node, "turn_detection", &TURN_DETECTION) else { return };
    let semantic = match map.get("type").map(|node| (node, &node.value)) {
        None => matches!(target, TurnDetection::SemanticVad { .. }),
        Some((_, Value::Text(kind))) if kind == "server_vad" => false,
        Some((_, Value::Text(kind))) if kind == "semantic_vad" => true,
        Some((node, _)) => {
            errors.add(node.line, "turn_detection.type", "must be server_vad or semantic_vad".into());
            return;
        }
    };
    if semantic {
        for field in SERVER_VAD_ONLY {
            if let Some(node) = map.get(field) {
                errors.add(node.line, &format!("turn_detection.{field}"), "belongs to server_vad only".into());
            }
        }
        let mut eagerness = match *target {
            TurnDetection::SemanticVad { eagerness } => eagerness,
            TurnDetection::ServerVad { .. } => Eagerness::Auto,
        };
        if let Some(node) = map.get("eagerness") {
            match &node.value {
                Value::Text(word) if word == "low" => eagerness = Eagerness::Low,
                Value::Text(word) if word == "medium" => eagerness = Eagerness::Medium,
                Value::Text(word) if word == "high" => eagerness = Eagerness::High,
                Value::Text(word) if word == "auto" => eagerness = Eagerness::Auto,
                _ => errors.add(node.line, "turn_detection.eagerness", "must be low, medium, high or auto".into()),
            }
        }
        *target = TurnDetection::SemanticVad { eagerness };
        return;
    }
    if let Some(node) = map.get("eagerness") {
        errors.add(node.line, "turn_detection.eagerness", "belongs to semantic_vad only".into());
    }
    if matches!(target, TurnDetection::SemanticVad { .. }) {
        *target = server_vad_default();
    }
    if let TurnDetection::ServerVad { threshold, prefix_padding_ms, silence_duration_ms } = target {
        if let Some(node) = map.get("threshold") {
            let given = match node.value {
                Value::Float(number) => Some(number),
                Value::Integer(number) => Some(number as f64),
                _ => None,
            };
            match given.filter(|number| (0.0..=1.0).contains(number)) {
                Some(number) => *threshold = number,
                None => errors.add(node.line, "turn_detection.threshold", "must be a number from 0 to 1".into()),
            }
        }
        errors.number(&map, "prefix_padding_ms", prefix_padding_ms, 0, 2_000);
        errors.number(&map, "silence_duration_ms", silence_duration_ms, 100, 5_000);
    }
}

fn barge_in(node: &YamlNode, target: &mut BargeIn, errors: &mut AgentMistakes) {
    let Some(map) = errors.map(node, "barge_in", &BARGE_IN) else { return };
    let reversible = match map.get("type").map(|node| (node, &node.value)) {
        None => matches!(target, BargeIn::Reversible(_)),
        Some((_, Value::Text(kind))) if kind == "immediate" => false,
        Some((_, Value::Text(kind))) if kind == "reversible" => true,
        Some((node, _)) => {
            errors.add(node.line, "barge_in.type", "must be immediate or reversible".into());
            return;
        }
    };
    if !reversible {
        for field in &BARGE_IN[1..] {
            if let Some(node) = map.get(field) {
                errors.add(node.line, &map.path(field), "belongs to reversible only".into());
            }
        }
        *target = BargeIn::Immediate;
        return;
    }
    let mut hold = match *target {
        BargeIn::Reversible(hold) => hold,
        BargeIn::Immediate => Reversible::default(),
    };
    let before = errors.0.len();
    errors.number(&map, "hold_ms", &mut hold.hold_ms, 100, 1_000);
    errors.number(&map, "sustained_ms", &mut hold.sustained_ms, 40, 1_000);
    errors.number(&map, "echo_guard_ms", &mut hold.echo_guard_ms, 0, 2_000);
    errors.number(&map, "protect_greeting_ms", &mut hold.protect_greeting_ms, 0, 30_000);
    // An echo has to be heard out within the pause.
    if errors.0.len() == before && hold.sustained_ms > hold.hold_ms {
        let line = map.get("sustained_ms").or(map.get("hold_ms")).map_or(node.line, |node| node.line);
        errors.add(line, "barge_in.sustained_ms", "must not be longer than hold_ms".into());
    }
    *target = BargeIn::Reversible(hold);
}

type Check = fn(&str) -> Result<(), String>;

fn check_instructions(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".into());
    }
    at_most(text.len(), MAX_INSTRUCTIONS_BYTES, "bytes")
}

fn check_voice(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".into());
    }
    at_most(text.chars().count(), MAX_VOICE_CHARS, "characters")
}

fn check_greeting(text: &str) -> Result<(), String> {
    at_most(text.chars().count(), MAX_GREETING_CHARS, "characters")
}

fn check_description(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".into());
    }
    at_most(text.chars().count(), MAX_DESCRIPTION_CHARS, "characters")
}

fn check_language(text: &str) -> Result<(), String> {
    let is_good = text.is_empty() || language::is_tag(text);
    if is_good { Ok(()) } else { Err("must be a BCP 47 language tag such as pt or pt-BR".into()) }
}

fn at_most(size: usize, limit: usize, unit: &str) -> Result<(), String> {
    if size <= limit { Ok(()) } else { Err(format!("must have at most {limit} {unit}, has {size}")) }
}

/// The mistakes found so far.
#[derive(Default)]
struct AgentMistakes(Vec<AgentError>);

/// A mapping with known fields only.
struct Map<'a> {
    prefix: &'a str,
    entries: Vec<(&'a str, &'a YamlNode)>,
}

impl<'a> Map<'a> {
    fn get(&self, field: &str) -> Option<&'a YamlNode> {
        self.entries.iter().find(|(key, _)| *key == field).map(|(_, node)| *node)
    }

    fn path(&self, field: &str) -> String {
        if self.prefix.is_empty() { field.to_owned() } else { format!("{}.{field}", self.prefix) }
    }
}

impl AgentMistakes {
    fn add(&mut self, line: u32, field: &str, message: String) {
        self.0.push(AgentError { line, field: field.to_owned(), message });
    }

    fn into_result<T>(mut self, value: T) -> Result<T, AgentErrors> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|error| error.line);
        Err(AgentErrors(self.0))
    }

    /// The node as a mapping; reports fields that are not among the known ones.
    fn map<'a>(&mut self, node: &'a YamlNode, prefix: &'a str, known: &[&str]) -> Option<Map<'a>> {
        let mut map = Map { prefix, entries: Vec::new() };
        match &node.value {
            Value::Null => {}
            Value::Map(entries) => {
                for (key, line, value) in entries {
                    if known.contains(&key.as_str()) {
                        map.entries.push((key, value));
                    } else {
                        let message = format!("unknown field; known are {}", known.join(", "));
                        self.add(*line, &map.path(key), message);
                    }
                }
            }
            other => {
                self.add(node.line, prefix, format!("expected a mapping, found {}", other.kind()));
                return None;
            }
        }
        Some(map)
    }

    fn text(&mut self, map: &Map<'_>, field: &str, target: &mut String, check: Check) {
        let Some(node) = map.get(field) else { return };
        match &node.value {
            Value::Text(text) => match check(text) {
                Ok(()) => target.clone_from(text),
                Err(message) => self.add(node.line, &map.path(field), message),
            },
            other => self.add(node.line, &map.path(field), format!("expected a text, found {}", other.kind())),
        }
    }

    fn flag(&mut self, map: &Map<'_>, field: &str, target: &mut bool) {
        let Some(node) = map.get(field) else { return };
        match node.value {
            Value::Bool(value) => *target = value,
            ref other => {
                self.add(node.line, &map.path(field), format!("expected true or false, found {}", other.kind()));
            }
        }
    }

    fn number(&mut self, map: &Map<'_>, field: &str, target: &mut u32, least: i64, most: i64) {
        let Some(node) = map.get(field) else { return };
        match node.value {
            Value::Integer(number) if (least..=most).contains(&number) => *target = number as u32,
            _ => self.add(node.line, &map.path(field), format!("must be a whole number from {least} to {most}")),
        }
    }
}
