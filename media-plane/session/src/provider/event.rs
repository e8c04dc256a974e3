//! What every provider is normalised to.

use voicebridge_audio::playout::EndedItem;

use super::Failure;
use crate::event::{ResponseStatus, Usage};

/// What a provider reports.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderEvent {
    /// The session is configured as asked; audio may flow. Comes once.
    Ready {
        /// The provider's own session id, may be empty.
        session_id: String,
        /// Model in force.
        model: String,
    },
    /// A piece of the AI's voice, mono, at the format's rate, of any length. Late audio of interrupted items never gets here.
    AudioOut {
        /// The item it belongs to.
        item: String,
        /// Samples.
        pcm: Vec<i16>,
    },
    /// No more audio will come for this item.
    AudioDone {
        /// The item.
        item: String,
    },
    /// The caller began to speak: playout is to be silenced.
    SpeechStarted {
        /// The item his words will be in; empty if the provider does not say.
        item: String,
        /// Offset in the audio given to the provider, milliseconds.
        audio_ms: u64,
    },
    /// The caller stopped speaking.
    SpeechStopped {
        /// Offset in the audio given to the provider, milliseconds.
        audio_ms: u64,
    },
    /// What the caller said is part of the conversation. With [`BargeIn::Reversible`] nothing is answered before
    /// [`ProviderCommand::Reply`]; else the provider answers by itself.
    ///
    /// [`BargeIn::Reversible`]: crate::agent::BargeIn::Reversible
    TurnTaken,
    /// The caller's turn counts as over, though its end, or its becoming part of the conversation, was not reported. An
    /// [`Self::Error`] with the reason came before.
    TurnLost,
    /// Words of the caller.
    UserText {
        /// The item.
        item: String,
        /// Words.
        text: String,
        /// How they relate to earlier ones of the item.
        mode: TextMode,
        /// Their language, BCP 47; empty if the provider does not say.
        language: String,
    },
    /// Words of the AI, ahead of its voice.
    AgentText {
        /// The item.
        item: String,
        /// Words.
        text: String,
        /// How they relate to earlier ones of the item.
        mode: TextMode,
    },
    /// A reply began.
    ResponseStarted {
        /// The provider's id.
        response_id: String,
        /// Why there is one.
        purpose: Purpose,
    },
    /// A reply was generated to its end, or not.
    ResponseFinished {
        /// The provider's id.
        response_id: String,
        /// How it ended.
        status: ResponseStatus,
        /// Why, when not completed.
        status_reason: String,
        /// What it cost.
        usage: Usage,
    },
    /// The model wants a tool run; the call is complete and valid.
    ToolCall {
        /// The provider's id of the call.
        call_id: String,
        /// Tool name.
        name: String,
        /// JSON.
        arguments: String,
    },
    /// What was asked for will not come: it was refused for good, or failed before anything of it was heard. An
    /// [`Self::Error`] with the reason came before.
    CreateRefused {
        /// What it was for.
        purpose: Purpose,
    },
    /// An answer or a greeting broke off after a part of it was heard; it does not come again by itself. An
    /// [`Self::Error`] with the reason came before.
    BrokenOff,
    /// Cost outside a response, e.g. of transcription.
    Usage(Usage),
    /// Something went wrong; the session goes on.
    Error {
        /// The provider's own code.
        code: String,
        /// For a person.
        message: String,
    },
    /// The session is of no use any more.
    Failed(Failure),
}

/// How a piece of text relates to earlier ones of the same item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMode {
    /// To be appended.
    Append,
    /// The whole text, authoritative; nothing follows.
    Final,
}

/// What follows the outcome of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTool {
    /// The AI goes on with it.
    Reply,
    /// Nothing: the call ends, or the caller is speaking and will be answered anyway.
    Wait,
}

/// Why there is a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer to the caller, to a text given, or to a tool's outcome.
    Reply,
    /// The first words.
    Greeting,
    /// A text to be said.
    Say,
    /// The last words.
    Farewell,
}

/// What a provider is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderCommand<'a> {
    /// Say the agent's greeting.
    Greet,
    /// Say this text, after what is being said.
    Say(&'a str),
    /// Answer what the caller said. Only with [`BargeIn::Reversible`], after [`ProviderEvent::TurnTaken`].
    ///
    /// [`BargeIn::Reversible`]: crate::agent::BargeIn::Reversible
    Reply,
    /// Take this text as if the caller had said it, and reply.
    InjectText(&'a str),
    /// Playout was silenced: stop generating, and cut the conversation to what was heard. In the order of playout; an
    /// item with nothing heard is to be forgotten.
    Interrupt(&'a [EndedItem]),
    /// Outcome of a tool.
    ToolResult {
        /// As in the call.
        call_id: &'a str,
        /// JSON.
        output: &'a str,
        /// What is to follow.
        then: AfterTool,
    },
    /// Say goodbye in a few words, and use no tool.
    Farewell,
    /// The caller kept the call: what was said of its end does not hold any more.
    CallKept,
}
