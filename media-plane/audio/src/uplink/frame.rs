//! What the uplink gives: pieces of audio, and counters.

/// Where audio came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSource {
    /// From a packet: its own audio, or its in-band FEC.
    Received,
    /// Made up from what came before.
    Concealed,
    /// Zeros, but for what a resampler still has to say.
    Silence,
}

/// A piece of continuous audio.
#[derive(Clone, Copy, Debug)]
pub struct UplinkFrame<'a> {
    /// Mono at the uplink's rate (24 kHz unless it is a native one), 1 to 480 samples, normally 480.
    pub pcm: &'a [i16],
    /// Where it came from.
    pub source: FrameSource,
}

/// Takes the audio in order.
pub type Sink<'s> = dyn FnMut(UplinkFrame<'_>) + 's;

/// Counters since the beginning. Of the sequence numbers passed, each is received, late, discarded or lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkStatistics {
    /// Packets in order or reordered in time, duplicates excluded.
    pub packets_received: u64,
    /// Sequence numbers that never came.
    pub packets_lost: u64,
    /// Packets whose time was given away already.
    pub packets_late: u64,
    /// Packets that came before.
    pub packets_duplicate: u64,
    /// Packets without usable audio (empty, oversize, undecodable), and those of a clock not followed (yet).
    pub packets_discarded: u64,
    /// Times the clock was anchored anew.
    pub reanchored: u64,
    /// Audio forwarded from packets, milliseconds.
    pub received_ms: u64,
    /// The part of it that in-band FEC brought.
    pub recovered_ms: u64,
    /// Audio made up.
    pub concealed_ms: u64,
    /// Silence.
    pub silence_ms: u64,
    /// What the sender sent and the listener did not get: concealed, or silence in place of what was lost or late. A
    /// sender that is quiet is not missing. Known when the next packet comes.
    pub missing_ms: u64,
    /// Interarrival jitter (RFC 3550, section 6.4.1), milliseconds.
    pub jitter_ms: u32,
    /// How long a gap is waited for at present, milliseconds.
    pub reorder_window_ms: u32,
}
