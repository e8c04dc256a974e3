//! What a session reports. The node turns these into the contract's `Event`.

use voicebridge_audio::Time;

/// One thing that happened on a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Gapless from 1 for durable kinds, 0 for transient ones.
    pub sequence: u64,
    /// When, on the driver's clock.
    pub at: Time,
    /// What.
    pub kind: EventKind,
}

/// What happened. Kinds marked transient reach live subscribers only.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A milestone under the name operators know.
    Milestone(Milestone),
    /// The offer was answered.
    OfferAnswered {
        /// Lint findings that did not stop the call.
        warnings: Vec<&'static str>,
        /// As in the rtpmap, e.g. `opus/48000/2`.
        codec: String,
        /// Time spent on the answer.
        duration_ms: u32,
    },
    /// ICE and DTLS are up.
    TransportConnected {
        /// Since ANSWER_DELIVERED, or since the start in immediate mode.
        duration_ms: u32,
    },
    /// The provider confirmed the session.
    ProviderReady {
        /// `openai` or `embedded`.
        provider: &'static str,
        /// Model name.
        model: String,
        /// The provider's own id.
        provider_session_id: String,
        /// Since the session began.
        duration_ms: u32,
    },
    /// The caller began to speak.
    CallerSpeechStarted {
        /// Offset in the audio given to the provider.
        audio_ms: u64,
    },
    /// The caller stopped speaking.
    CallerSpeechStopped {
        /// Offset in the audio given to the provider.
        audio_ms: u64,
    },
    /// Final words of one side; the agent's cut to what was heard.
    Transcript {
        /// Who.
        speaker: Speaker,
        /// The provider's item.
        item_id: String,
        /// Personal data.
        text: String,
        /// Cut by the caller.
        interrupted: bool,
        /// When this side began to say it.
        began: Time,
        /// When it was said.
        ended: Time,
        /// BCP 47, where the provider says.
        language: String,
    },
    /// Transient: a piece of a transcript.
    PartialTranscript {
        /// Who.
        speaker: Speaker,
        /// The provider's item.
        item_id: String,
        /// A piece of the text.
        delta: String,
        /// Unicode code points of the item's text before it.
        offset: u64,
    },
    /// A reply began.
    ResponseStarted {
        /// The provider's id.
        response_id: String,
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
        /// By whose prices.
        models: Models,
    },
    /// The caller interrupted.
    BargedIn {
        /// The item being played.
        item_id: String,
        /// Handed to RTP of this item.
        heard_ms: u64,
        /// Received of this item.
        received_ms: u64,
    },
    /// The reply was held back because the caller made a sound, and went on because it was no interruption.
    BargeInReverted {
        /// The item held back.
        item_id: String,
        /// Handed to RTP of this item before.
        heard_ms: u64,
        /// Length of the pause.
        held_ms: u32,
    },
    /// The caller pressed a key.
    DtmfReceived {
        /// `0` to `9`, `*`, `#`, `A` to `D`. Personal data: people type numbers and codes.
        digit: char,
        /// For so long.
        duration_ms: u32,
    },
    /// The model called a tool.
    ToolCalled {
        /// The provider's id.
        tool_call_id: String,
        /// Tool name.
        name: String,
        /// JSON.
        arguments: String,
    },
    /// Transient, every five seconds.
    Statistics(Statistics),
    /// How good it sounded, every five seconds.
    Quality(Quality),
    /// Something went wrong without ending the call by itself.
    Incident {
        /// Stable reason.
        reason: &'static str,
        /// For a person.
        message: String,
        /// The provider's own code.
        upstream_code: String,
        /// Of the command that was refused; empty when it is about something else.
        command_id: String,
    },
    /// The end; the last event.
    Ended {
        /// Why.
        termination: Termination,
        /// Final counters.
        statistics: Statistics,
        /// Sum over the session.
        usage: Usage,
        /// By whose prices; empty if no AI was ever there.
        models: Models,
        /// Of the whole call; `None` if audio never flowed.
        quality: Option<Box<Quality>>,
        /// Since ACCEPTED; 0 if never accepted.
        duration_ms: u64,
    },
}

impl EventKind {
    /// Bytes of the texts in it, as they came from the caller or a provider.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let texts: &[&str] = match self {
            Self::OfferAnswered { codec, .. } => &[codec],
            Self::ProviderReady { model, provider_session_id, .. } => &[model, provider_session_id],
            Self::Transcript { item_id, text, language, .. } => &[item_id, text, language],
            Self::PartialTranscript { item_id, delta, .. } => &[item_id, delta],
            Self::ResponseStarted { response_id } => &[response_id],
            Self::ResponseFinished { response_id, status_reason, models, .. } => {
                &[response_id, status_reason, &models.model, &models.transcription_model]
            }
            Self::BargedIn { item_id, .. } | Self::BargeInReverted { item_id, .. } => &[item_id],
            Self::ToolCalled { tool_call_id, name, arguments } => &[tool_call_id, name, arguments],
            Self::Incident { message, upstream_code, command_id, .. } => &[message, upstream_code, command_id],
            Self::Ended { termination, models, .. } => &[
                &termination.reason,
                &termination.message,
                &termination.upstream_code,
                &models.model,
                &models.transcription_model,
            ],
            Self::Milestone(_)
            | Self::TransportConnected { .. }
            | Self::CallerSpeechStarted { .. }
            | Self::CallerSpeechStopped { .. }
            | Self::DtmfReceived { .. }
            | Self::Statistics(_)
            | Self::Quality(_) => &[],
        };
        texts.iter().map(|text| text.len()).sum()
    }

    /// Transient events are not stored and carry no sequence.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::PartialTranscript { .. } | Self::Statistics(_))
    }
}

/// Milestones a session itself reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// `VOICE_BRIDGE_SESSION_CREATED`
    SessionCreated,
    /// `AI_READY`; in the log `OPENAI_SESSION_CREATED`
    ProviderSessionCreated,
    /// `MEDIA_BRIDGE_ACTIVE`
    BridgeActive,
}

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseStatus {
    /// To its end.
    Completed,
    /// Stopped: by the caller or a command.
    Cancelled,
    /// Broken off.
    Incomplete,
    /// The provider could not make it.
    Failed,
    /// The provider said something else.
    Other,
}

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The WhatsApp user.
    Caller,
    /// The AI.
    Agent,
}

/// The one ending of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// In one word.
    pub result: TerminationResult,
    /// Stable, upper-case; one page each in docs/errors.
    pub reason: String,
    /// One sentence for a person. No personal data.
    pub message: String,
    /// Meta's or the provider's own code, or empty.
    pub upstream_code: String,
}

impl Termination {
    /// A conversation that ended normally.
    pub(crate) fn completed(reason: &str, message: &str) -> Self {
        Self {
            result: TerminationResult::Completed,
            reason: reason.to_owned(),
            message: message.to_owned(),
            upstream_code: String::new(),
        }
    }

    /// Something broke.
    pub(crate) fn failed(reason: &str, message: &str, upstream_code: &str) -> Self {
        Self {
            result: TerminationResult::Failed,
            reason: reason.to_owned(),
            message: message.to_owned(),
            upstream_code: upstream_code.to_owned(),
        }
    }
}

/// Who or what ended a call, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminationResult {
    /// A conversation that ended normally.
    Completed,
    /// The caller gave up before it was answered.
    Abandoned,
    /// Turned down before it was answered.
    Rejected,
    /// Something broke.
    Failed,
}

/// Who is paid for a session. Each has a price of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// `openai` or `embedded`.
    pub provider: &'static str,
    /// The one that speaks, as the provider names it.
    pub model: String,
    /// The one that writes down what the caller says; empty: none, or at no price of its own.
    pub transcription_model: String,
}

/// What a session cost at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens.
    pub input_text_tokens: u64,
    /// Tokens.
    pub input_audio_tokens: u64,
    /// Tokens, a part of the input ones of text.
    pub cached_text_tokens: u64,
    /// Tokens, a part of the input ones of audio.
    pub cached_audio_tokens: u64,
    /// Tokens.
    pub output_text_tokens: u64,
    /// Tokens.
    pub output_audio_tokens: u64,
    /// Tokens of the separate transcription model.
    pub transcription_tokens: u64,
    /// Audio billed by the separate transcription model.
    pub transcription_ms: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let Self {
            input_text_tokens,
            input_audio_tokens,
            cached_text_tokens,
            cached_audio_tokens,
            output_text_tokens,
            output_audio_tokens,
            transcription_tokens,
            transcription_ms,
        } = other;
        // Counts of the far side: saturating, so that no number of theirs can stop a call.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.input_text_tokens, input_text_tokens);
        add(&mut self.input_audio_tokens, input_audio_tokens);
        add(&mut self.cached_text_tokens, cached_text_tokens);
        add(&mut self.cached_audio_tokens, cached_audio_tokens);
        add(&mut self.output_text_tokens, output_text_tokens);
        add(&mut self.output_audio_tokens, output_audio_tokens);
        add(&mut self.transcription_tokens, transcription_tokens);
        add(&mut self.transcription_ms, transcription_ms);
    }
}

/// How good both directions sounded over a period.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Length of the period.
    pub period_ms: u64,
    /// From the caller to the AI.
    pub uplink: DirectionQuality,
    /// From the AI to the caller; of the network there only what the far side reports.
    pub downlink: DirectionQuality,
    /// Receiver reports that came in the period.
    pub reports: u32,
    /// What spoilt it most, in words; empty if nothing did.
    pub cause: String,
}

/// How good one direction sounded over a period.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionQuality {
    /// Packets lost on the network.
    pub loss_percent: f32,
    /// Interarrival jitter.
    pub jitter_ms: u32,
    /// Between us and the relay, if known.
    pub round_trip_ms: Option<u32>,
    /// Audio the listener did not get, as far as we know: uplink concealed or silent, downlink dry playout.
    pub missing_ms: u64,
    /// Audio held back by us.
    pub buffer_ms: u32,
    /// Mean opinion score by the E-model (ITU-T G.107.1), 1 to 4.5: an estimate.
    pub mos: f32,
    /// What spoilt it most, in words; empty if nothing did.
    pub cause: String,
}

/// Counters of both directions since the session began; field meanings as in the contract's `MediaStatistics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Statistics {
    pub packets_received: u64,
    pub packets_lost: u64,
    pub packets_late: u64,
    pub packets_duplicate: u64,
    pub packets_discarded: u64,
    pub received_ms: u64,
    pub concealed_ms: u64,
    pub silence_ms: u64,
    pub jitter_ms: u32,
    pub packets_sent: u64,
    pub played_ms: u64,
    pub underruns: u64,
    pub longest_send_gap_ms: u32,
}
