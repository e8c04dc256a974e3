//! The audio path of one call, pure: no socket, clock, task or random source. Time is an argument.
//!
//! Uplink: RTP payload -> order and clock -> decode, conceal or silence -> 24 kHz frames for the AI.
//! Downlink: 24 kHz audio of the AI -> per-item playout queue and ledger -> one 20 ms frame a tick -> the codec.
//! Beside them: keypad tones, policies for FEC and complexity, and how good it all sounded.

pub mod codec;
pub mod dtmf;
pub mod g711;
pub mod governor;
pub mod level;
pub mod opus;
pub mod pacer;
pub mod playout;
pub mod protection;
pub mod quality;
mod ramp;
pub mod resample;
pub mod time;
pub mod uplink;
pub mod vad;

pub use time::Time;

/// Sample rate of everything between the decoder and the provider, Hz.
pub const SAMPLE_RATE_HZ: u32 = 24_000;
/// Length of a frame in both directions, milliseconds.
pub const FRAME_MS: u64 = 20;
/// Samples of a frame.
pub const FRAME_SAMPLES: usize = 480;
/// Opus always counts RTP time in 48 kHz units (RFC 7587, section 4.1).
pub const RTP_CLOCK_HZ: u32 = 48_000;
/// RTP clock units of a frame.
pub const FRAME_RTP_UNITS: u32 = 960;
