//! What a session begins with.

use voicebridge_audio::{codec::Codec, opus::OpusError};

use super::SignallingMode;
use crate::{
    agent::Agent,
    limits::Limits,
    provider::{AudioFormat, Provider},
    sdp::Negotiated,
};

/// What a session begins with.
pub struct Setup<'a> {
    /// How the AI behaves.
    pub agent: Agent,
    /// The AI.
    pub provider: Box<dyn Provider>,
    /// What to do before being told of a stage.
    pub mode: SignallingMode,
    /// What was agreed on with the caller.
    pub negotiated: &'a Negotiated,
    /// Bounds.
    pub limits: Limits,
    /// Random; RTP numbers begin with it.
    pub seed: u64,
    /// Since the connect webhook, milliseconds: the time to accept counts from there.
    pub elapsed_ms: u64,
    /// What linting and answering took, milliseconds; for the event only.
    pub answer_ms: u32,
}

/// A session that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The codec could not be set up.
    #[error("the audio codec could not be set up")]
    Opus(#[from] OpusError),
}

/// How audio goes to the AI and comes from it: the caller's G.711 as it is when the agent wants that and the AI can.
pub(crate) fn format(agent: &Agent, codec: Codec, provider: &dyn Provider) -> AudioFormat {
    match codec {
        Codec::G711(law) if agent.g711.passthrough && provider.capabilities().speaks_g711 => AudioFormat::G711(law),
        Codec::G711(_) | Codec::Opus => AudioFormat::Pcm,
    }
}
