//! The agent: how the AI behaves on a call. Read from a YAML file, overlaid by what the call's request says.
//!
//! Flow: [`Agent::parse`] lays the fields of a file over the built-in default (`default-agent.yaml`, which documents
//! every field) and reports all mistakes at once, each with its line; [`Agent::overlay`] lays the few fields a request
//! may set over that, and fills the placeholders of [`variables`].
//!
//! What this does not do: read files, know which voices or languages a provider has.

mod fields;
pub mod variables;
mod yaml;

use std::fmt;

use variables::Variables;

/// The default agent file, as shipped.
pub const DEFAULT_AGENT_YAML: &str = include_str!("default-agent.yaml");

/// How the AI behaves on one call. Valid by construction: see the default file for each field's rule.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Agent {
    /// System instructions for the model.
    pub instructions: String,
    /// Provider voice, e.g. `marin`.
    pub voice: String,
    /// What the AI says first. Empty: it waits for the caller.
    pub greeting: String,
    /// BCP 47 tag of the language the caller is expected to speak. Empty: the model decides.
    pub language: String,
    /// When the caller's turn begins and ends.
    pub turn_detection: TurnDetection,
    /// What happens when the caller speaks while the AI does.
    pub barge_in: BargeIn,
    /// What keys the caller presses do.
    pub dtmf: Dtmf,
    /// What is different on calls in G.711.
    pub g711: G711,
    /// Longest conversation, milliseconds.
    pub max_duration_ms: u32,
    /// The tool by which the AI hangs up.
    pub end_call: EndCall,
}

/// When the caller's turn begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TurnDetection {
    /// By loudness and silence.
    ServerVad {
        /// 0 to 1; higher wants louder speech.
        threshold: f64,
        /// Audio kept from before the detected start, milliseconds.
        prefix_padding_ms: u32,
        /// Silence that ends a turn, milliseconds.
        silence_duration_ms: u32,
    },
    /// By whether the words sound finished.
    SemanticVad {
        /// How soon it answers.
        eagerness: Eagerness,
    },
}

/// What keys the caller presses do, beside being told to the AI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dtmf {
    /// They interrupt what is being said.
    pub interrupts: bool,
}

/// What is different on calls in G.711.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct G711 {
    /// Audio passes between caller and AI as it is, with a provider that can; else it is brought up to 24 kHz and back.
    pub passthrough: bool,
}

/// What happens when the caller speaks while the AI does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BargeIn {
    /// The reply is over at once, by the provider's own decision.
    Immediate,
    /// The reply pauses, and is over once our own voice detection has heard the caller speak on; else it goes on.
    Reversible(Reversible),
}

/// How a reply is held until it is clear whether the caller interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reversible {
    /// Longest pause, milliseconds.
    pub hold_ms: u32,
    /// Voice that counts as an interruption, milliseconds.
    pub sustained_ms: u32,
    /// A start of speech so soon after the AI's voice began may be its echo: only voice within the pause counts then.
    pub echo_guard_ms: u32,
    /// So much of the first reply cannot be interrupted.
    pub protect_greeting_ms: u32,
}

impl Default for Reversible {
    fn default() -> Self {
        Self { hold_ms: 300, sustained_ms: 200, echo_guard_ms: 400, protect_greeting_ms: 0 }
    }
}

/// How soon semantic turn detection answers: it waits at most 8, 4 or 2 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Eagerness {
    /// Waits up to 8 s.
    Low,
    /// Waits up to 4 s.
    Medium,
    /// Waits up to 2 s.
    High,
    /// The provider's choice, today the same as medium.
    Auto,
}

impl Eagerness {
    /// As the provider and the file spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Auto => "auto",
        }
    }
}

/// The tool by which the AI hangs up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EndCall {
    /// Whether the AI has it.
    pub enabled: bool,
    /// When to use it, for the model.
    pub description: String,
}

/// Name of the hang-up tool.
pub const END_CALL_TOOL: &str = "end_call";

/// What a request may set; empty and zero leave the agent file's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentOverlay {
    /// System instructions.
    pub instructions: String,
    /// Provider voice.
    pub voice: String,
    /// First words.
    pub greeting: String,
    /// BCP 47 tag.
    pub language: String,
    /// Longest conversation, milliseconds.
    pub max_duration_ms: u32,
    /// For the placeholders in instructions and greeting.
    pub variables: Variables,
}

impl Default for Agent {
    fn default() -> Self {
        fields::read(fields::unset(), DEFAULT_AGENT_YAML).expect("the built-in agent file is valid; a test parses it")
    }
}

impl Agent {
    /// Reads an agent file over the built-in default: fields that are not in the file keep the default's value.
    ///
    /// # Errors
    /// Every mistake of the file, by line.
    pub fn parse(yaml: &str) -> Result<Self, AgentErrors> {
        fields::read(Self::default(), yaml)
    }

    /// Lays what a request says over this agent and fills the placeholders of its texts, those without a value too.
    ///
    /// # Errors
    /// Every field of the request that breaks its rule; they carry no line.
    pub fn overlay(mut self, overlay: &AgentOverlay) -> Result<Self, AgentErrors> {
        fields::overlay(&mut self, overlay)?;
        Ok(self)
    }

    /// The language alone, without region or script: `pt` of `pt-BR`. Empty when the model decides.
    #[must_use]
    pub fn primary_language(&self) -> String {
        self.language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
    }
}

/// All mistakes of an agent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentErrors(pub Vec<AgentError>);

/// One mistake of an agent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentError {
    /// 1-based line, 0 when it comes from a request.
    pub line: u32,
    /// The field, e.g. `turn_detection.threshold`; empty when the file as a whole is meant.
    pub field: String,
    /// The rule it breaks.
    pub message: String,
}

impl fmt::Display for AgentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(formatter, "line {}: ", self.line)?;
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        formatter.write_str(&self.message)
    }
}

impl fmt::Display for AgentErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for AgentErrors {}

#[cfg(test)]
mod tests;
