//! Every bound of a session in one place, with what happens at it.

/// Deadlines and sizes of one session. The defaults are what production uses; tests shorten single ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From ANSWER_DELIVERED (immediate mode: from the start) until ICE and DTLS are up.
    /// At the limit: `MEDIA_CONNECTION_TIMEOUT`.
    pub transport_ms: u64,
    /// From the connect webhook until ACCEPTED; the signaller is gone or the caller was never answered.
    /// At the limit: `RING_TIMEOUT`. WhatsApp itself gives up after 30 to 60 s.
    pub accept_ms: u64,
    /// From the start until the provider has confirmed the session's configuration.
    /// At the limit: `PROVIDER_SESSION_FAILED`.
    pub provider_ready_ms: u64,
    /// Without a first sign of life from the caller's side once audio flows: a packet, a report, an answer to a consent
    /// check. At the limit: `MEDIA_TIMEOUT`. The mirror of WhatsApp's own rule, which gives us 20 s.
    pub first_media_ms: u64,
    /// Without a further sign of life. At the limit: `MEDIA_TIMEOUT`.
    pub media_gap_ms: u64,
    /// Without a packet of audio, though the transport is alive: a muted or held handset may send none. At the limit:
    /// `MEDIA_TIMEOUT`. 0: never.
    pub silent_caller_ms: u64,
    /// For the AI to be heard, from the end of the caller's turn. At the limit a soft sound tells the caller that somebody is
    /// there, and once more half-way between the two limits below.
    pub answer_cue_ms: u64,
    /// The same. At the limit an incident tells of the silence, and the answer is asked for.
    pub answer_ask_ms: u64,
    /// The same. At the limit the AI is given up: an apology, `PROVIDER_LOST`. Of first words: a clip is said instead.
    pub answer_ms: u64,
    /// For what is being said when the longest duration is reached. At the limit it is cut, and the goodbye follows.
    pub finish_reply_ms: u64,
    /// For the agent's last words to come, from the moment they are waited for and again from every sign of them. At the
    /// limit what came of them is all there is, and is still played.
    pub farewell_generation_ms: u64,
    /// For the agent's last words as a whole, from the moment they are waited for. Playing is bounded by what is queued;
    /// at this limit it is cut whatever is.
    pub farewell_ms: u64,
    /// For the words of what the caller says over the agent's last words, from its end. At the limit voice decides whether
    /// the call goes on.
    pub last_turn_text_ms: u64,
    /// Voice that keeps a call the agent is hanging up, when no words of it are known.
    pub keep_call_voice_ms: u64,
    /// Times a caller can keep a call by speaking when the agent hangs up; then it ends.
    pub kept_calls: u32,
    /// For the apology after the provider was lost. At the limit it is cut.
    pub apology_ms: u64,
    /// Audio of the AI waiting for playout, bytes of 16-bit PCM at 24 kHz. At the limit the newest audio is refused
    /// and an incident says so; what is already queued is still played.
    pub playout_bytes: usize,
    /// Audio with which a reply starts to play at once, milliseconds, while the provider's pace is not known.
    pub prefill_ms: u32,
    /// How long it waits for that, milliseconds; then a frame is enough. A provider that sends in real time makes its
    /// caller wait for each millisecond of it, one that is faster fills the prefill with its first message. At the limit
    /// playing starts; if that was too early the reply is torn once, and later ones are held back by what was short.
    pub prefill_patience_ms: u32,
    /// Without a further key, milliseconds: the AI is told of the keys pressed so far.
    pub keypad_ms: u64,
    /// Between two statistics events.
    pub statistics_ms: u64,
    /// Incidents reported per session. Further ones are dropped, so that a provider that reports error after error cannot fill the event log.
    pub incidents: u32,
    /// Commands remembered by their ids, with their texts. At the limit the oldest is forgotten: sent again, it is carried
    /// out again.
    pub commands: usize,
    /// Agent items whose words are kept until they were heard. At the limit the oldest is reported as heard so far.
    pub pending_transcripts: usize,
    /// Text kept of one item, bytes. At the limit the rest of its words is dropped.
    pub transcript_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transport_ms: 10_000,
            accept_ms: 60_000,
            provider_ready_ms: 10_000,
            first_media_ms: 20_000,
            media_gap_ms: 60_000,
            silent_caller_ms: 300_000,
            answer_cue_ms: 1_500,
            answer_ask_ms: 4_000,
            answer_ms: 10_000,
            finish_reply_ms: 15_000,
            farewell_generation_ms: 10_000,
            farewell_ms: 60_000,
            last_turn_text_ms: 1_500,
            keep_call_voice_ms: 1_200,
            kept_calls: 2,
            apology_ms: 8_000,
            // Three minutes; the longest reply of 4096 audio tokens is shorter.
            playout_bytes: 180 * 48_000,
            prefill_ms: 40,
            prefill_patience_ms: 5,
            keypad_ms: 1_500,
            statistics_ms: 5_000,
            incidents: 50,
            commands: 64,
            pending_transcripts: 32,
            transcript_bytes: 32 * 1024,
        }
    }
}
