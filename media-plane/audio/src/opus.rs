//! Opus at 24 kHz mono, typed and safe, over libopus.
//!
//! Flow: [`Decoder`] turns packets (or their absence) into samples, [`Encoder`] turns samples into packets, [`Packet`]
//! reads what a packet says about itself without decoding it. libopus resamples inside the codec, so nothing else is
//! needed between 24 kHz audio and the wire's 48 kHz RTP clock.
//!
//! Not here: RTP, time, order, fades. The binding's raw control requests are unsound and stay unreachable: only the
//! typed setters below exist, and `clippy.toml` forbids the others.

mod decoder;
mod encoder;
mod packet;

pub use decoder::Decoder;
pub use encoder::{COMPLEXITIES, Encoder, EncoderSettings, MaxBandwidth};
pub use packet::Packet;

/// The libopus in use, e.g. `libopus 1.6.1`.
#[must_use]
pub fn version() -> &'static str {
    audiopus::version()
}

/// Samples of the longest Opus packet, 120 ms at 24 kHz (RFC 6716, section 3.2.5).
pub const MAX_PACKET_SAMPLES: usize = 2_880;
/// Largest payload looked at. A UDP packet that is not fragmented carries less.
pub const MAX_PAYLOAD_BYTES: usize = 1_500;
/// Opus counts in steps of 2.5 ms (RFC 6716, section 2.1.4): 60 samples at 24 kHz.
pub const STEP_SAMPLES: usize = 60;

/// Why the codec refused. None of these leaves the codec unusable: the next call may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpusError {
    /// No bytes.
    #[error("opus payload is empty")]
    EmptyPayload,
    /// More than [`MAX_PAYLOAD_BYTES`].
    #[error("opus payload of {bytes} bytes is larger than {MAX_PAYLOAD_BYTES}")]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not an Opus packet (RFC 6716, section 3.4), or one libopus could not decode.
    #[error("opus payload is malformed")]
    Malformed,
    /// The slice for the result is too short.
    #[error("output holds {available} and {needed} are needed")]
    OutputTooSmall {
        /// Samples or bytes needed at least.
        needed: usize,
        /// Samples or bytes given.
        available: usize,
    },
    /// A frame to encode must be 2.5, 5, 10, 20, 40 or 60 ms long.
    #[error("{samples} samples are not an opus frame")]
    FrameLength {
        /// Samples given.
        samples: usize,
    },
    /// A setting outside its range.
    #[error("opus setting {name} is out of range")]
    Setting {
        /// Field of [`EncoderSettings`].
        name: &'static str,
    },
    /// libopus failed without the input being at fault, e.g. out of memory.
    #[error("libopus failed internally")]
    Internal,
}
